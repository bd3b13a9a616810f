"""What a codec is: the meaning (content digest), bytes, preview and comparison of one kind of value.

Invariant: equal content digests mean that a program can't tell the values apart by what they say; decoding gives back a
value of the same content digest. `mainspring.testing.codecs` checks the laws.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
from blake3 import blake3

ComparisonKind = Literal["equal", "within_tolerance", "row_order", "floats", "schema", "values", "type"]


class BlobAccess(Protocol):
    """The part of a blob store that codecs use; a `BlobStore` satisfies it."""

    def put(self, data: bytes | Path) -> str:
        """Keep these bytes, or this file's, and return their BLAKE3 digest."""
        ...

    def read(self, digest: str) -> bytes:
        """The verified bytes of a blob."""
        ...

    def path(self, digest: str) -> Path:
        """A local, read-only, verified file with a blob's bytes."""
        ...


class Encoded(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a value's bytes are. `blobs` names every further blob that `blob` refers to, so that none is collected.

    `brings` are the classes of the value and of what is in it, and the functions that it holds, as `module:qualname`.
    """

    codec: str
    blob: str
    size_bytes: int
    blobs: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()


class Preview(msgspec.Struct, frozen=True):
    """What a person sees of a value: a kind (`table`, `text`, `json`, …), one line, and a small JSON-able detail."""

    kind: str
    summary: str
    detail: dict[str, Any]


class Tolerance(msgspec.Struct, frozen=True):
    """How far a float may be off: `|new − old| ≤ atol + rtol · |old|`."""

    rtol: float = 0.0
    atol: float = 0.0

    @property
    def is_exact(self) -> bool:
        """Whether it allows nothing."""
        return self.rtol == 0.0 and self.atol == 0.0


class Comparison(msgspec.Struct, frozen=True):
    """How two values relate: the kind, one sentence with counts or the first differing place, the largest absolute error."""

    kind: ComparisonKind
    detail: str
    largest_error: float | None = None

    @property
    def is_verified(self) -> bool:
        """Whether the values are equal, or within the tolerance that was asked for."""
        return self.kind in ("equal", "within_tolerance")


EQUAL = Comparison("equal", "The values are equal.", 0.0)


class Codec(Protocol):
    """Turns values of some types into blobs and back.

    `types` are `module.qualname` strings, matched along a value's method resolution order, so that nothing is imported
    to find a codec. `recipe` counts up whenever digests or bytes change. `immutable` says that a value may be handed on by
    reference. A codec whose digest belongs to one encoding also has `save`, see `SavesAtOnce`.
    """

    @property
    def name(self) -> str:
        """The name that is stored with the bytes."""
        ...

    @property
    def recipe(self) -> int:
        """The version of what it does."""
        ...

    @property
    def immutable(self) -> bool:
        """Whether no holder of a value can change it."""
        ...

    @property
    def types(self) -> tuple[str, ...]:
        """The types it takes, as `module.qualname`."""
        ...

    def digest(self, value: Any) -> str:
        """The content digest: 64 hexadecimal digits over the meaning, the codec's family and its recipe."""
        ...

    def encode(self, value: Any, blobs: BlobAccess) -> Encoded:
        """Write the value's bytes."""
        ...

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Any:
        """A new value from its bytes.

        Raises:
            CodecError: the bytes are not what this codec writes, or ask for something that it doesn't load.
        """
        ...

    def preview(self, value: Any) -> Preview:
        """A look at the value."""
        ...

    def compare(self, old: Any, new: Any, tolerance: Tolerance) -> Comparison:
        """How the new value differs from the old one."""
        ...


@runtime_checkable
class SavesAtOnce(Protocol):
    """A codec that digests and encodes in one pass: because it is cheaper, or because the digest belongs to the encoding."""

    def save(self, value: Any, blobs: BlobAccess) -> tuple[str, Encoded]:
        """The content digest and where the bytes are."""
        ...


@runtime_checkable
class EncodesMany(Protocol):
    """A codec of values that come in crowds, as the tensors of a state do: several stand in one blob."""

    def digest(self, value: Any) -> str:
        """The content digest of one."""
        ...

    def encode_many(self, values: Sequence[Any], blobs: BlobAccess) -> tuple[list[str], Encoded]:
        """The content digests of the values, and their bytes; what they name decodes to the list of them."""
        ...


@runtime_checkable
class PreviewsStored(Protocol):
    """A codec of values that are costly to look at: the preview is taken from the stored bytes."""

    def preview_stored(self, encoded: Encoded, blobs: BlobAccess) -> Preview:
        """A look at the value that was stored."""
        ...


@runtime_checkable
class TakesUnordered(Protocol):
    """A codec of values with rows, which can be brought into a canonical order."""

    def in_canonical_order(self, value: Any) -> Any:
        """The same rows in an order that only their values decide."""
        ...


def meaning_digest(family: str, recipe: int, *parts: bytes | str) -> str:
    """The digest of some parts under a codec's family and recipe; every part is prefixed with its length.

    >>> meaning_digest("text", 1, "ab", "c") == meaning_digest("text", 1, "a", "bc")
    False
    """
    hasher = blake3(f"mainspring {family} {recipe}\n".encode())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()
