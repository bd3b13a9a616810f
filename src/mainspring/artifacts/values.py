"""The codec of Python's own values: scalars, containers and records, with leaves that have codecs of their own.

Without leaves its name is `json` and everything is in one blob. With leaves (frames in a dict, say) it is `bundle`, and the
blob lists where each leaf's bytes are.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.artifacts._compare import compare_trees
from mainspring.artifacts._tree import Reader, Writer, to_text
from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.registry import codec_for, codec_named, content_digest, save_value
from mainspring.errors import CodecError, shorten


class _Stored(msgspec.Struct):
    tree: Any
    leaves: list[Encoded] = []


class ValuesCodec:
    """Takes what `_tree` takes. `immutable` is a fact about the value at hand, so there is an instance of each kind."""

    recipe = 1
    types: tuple[str, ...] = ()

    def __init__(self, name: str, *, immutable: bool) -> None:
        self.name, self.immutable = name, immutable

    def digest(self, value: Any) -> str:
        """Over the canonical text, with the content digests of the leaves."""
        leaves: list[str] = []

        def leaf(item: object, _path: str) -> int:
            leaves.append(content_digest(item))
            return len(leaves) - 1

        return self._digest(Writer(leaf, canonical=True).write(value), leaves)

    def encode(self, value: Any, blobs: BlobAccess) -> Encoded:
        """One blob of JSON text, and one or more for each leaf."""
        return self.save(value, blobs)[1]

    def save(self, value: Any, blobs: BlobAccess) -> tuple[str, Encoded]:
        """Digest and encode; every leaf is digested and written once."""
        saved: dict[int, int] = {}
        digests: list[str] = []
        leaves: list[Encoded] = []

        def leaf(item: object, path: str) -> int:
            # A leaf that stands in several places is one; the two walks meet the same leaves in the same order.
            if id(item) not in saved:
                try:
                    digest, encoded = save_value(item, blobs)
                except CodecError as error:
                    raise CodecError(f"At {path}: {error}") from error
                saved[id(item)] = len(leaves)
                digests.append(digest)
                leaves.append(encoded)
            return saved[id(item)]

        tree = Writer(leaf, canonical=False).write(value)
        order: list[str] = []

        def met(item: object, path: str) -> int:
            order.append(digests[leaf(item, path)])
            return len(order) - 1

        digest = self._digest(Writer(met, canonical=True).write(value), order)
        data = to_text(_Stored(tree, leaves))
        refers = dict.fromkeys(blob for encoded in leaves for blob in (encoded.blob, *encoded.blobs))
        size = len(data) + sum(encoded.size_bytes for encoded in leaves)
        return digest, Encoded(self.name, blobs.put(data), size, tuple(refers))

    def _digest(self, tree: Any, leaves: list[str]) -> str:
        return meaning_digest("values", self.recipe, to_text(tree), to_text(leaves))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Any:
        """A new value; a leaf that stood in several places is one object again."""
        data = blobs.read(encoded.blob)
        try:
            stored = msgspec.json.decode(data, type=_Stored)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored value: {error}.") from error
        values: dict[int, Any] = {}

        def leaf(number: int) -> Any:
            if number not in values:
                inner = stored.leaves[number]
                values[number] = codec_named(inner.codec).decode(inner, blobs)
            return values[number]

        try:
            return Reader(leaf).read(stored.tree)
        except (IndexError, RecursionError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, CodecError):
                raise
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored value: {error}.") from error

    def preview(self, value: Any) -> Preview:
        """The value's own text, shortened."""
        kind = type(value).__qualname__
        if isinstance(value, str):
            return Preview(
                "text",
                shorten(_clean(value[:200]), 100),
                {"type": kind, "characters": len(value), "text": _clean(value)[:2000]},
            )
        text = _clean(_bounded_repr(value))
        detail: dict[str, Any] = {"type": kind, "text": text[:4000]}
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            detail["length"] = len(value)
        if isinstance(value, dict):
            detail["keys"] = [_clean(shorten(key, 60)) for key, _ in zip(value, range(100), strict=False)]
            summary = f"{kind} of {len(value):,} entries: {text}"
        elif isinstance(value, (list, tuple, set, frozenset)):
            summary = f"{kind} of {len(value):,} items: {text}"
        else:
            summary = text
        return Preview("json", shorten(summary, 100), detail)

    def compare(self, old: Any, new: Any, tolerance: Tolerance) -> Comparison:
        """The first differing path, e.g. `$.a[3]`."""
        return compare_trees(old, new, tolerance, _compare_leaf)


def _compare_leaf(old: Any, new: Any, tolerance: Tolerance) -> Comparison:
    codec = codec_for(old)
    if not isinstance(codec, ValuesCodec):
        return codec.compare(old, new, tolerance)
    if codec.digest(old) == codec.digest(new):
        return EQUAL
    return Comparison("values", f"{shorten(old)} → {shorten(new)}.")


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _bounded_repr(value: Any) -> str:
    from reprlib import Repr

    short = Repr()
    short.maxdict = short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = 30
    short.maxstring = short.maxother = short.maxlong = 200
    short.maxlevel = 4
    return short.repr(value)
