"""The codec of Python's own values: scalars, containers and records, with leaves that have codecs of their own.

Without leaves its name is `json` and everything is in one blob. With leaves (frames in a dict, say) it is `bundle`, and the
blob lists where each leaf's bytes are.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, TypeVar

import msgspec

from mainspring.artifacts._compare import compare_trees
from mainspring.artifacts._tree import Reader, Writer, to_text
from mainspring.artifacts.codec import (
    EQUAL,
    BlobAccess,
    Comparison,
    Encoded,
    EncodesMany,
    Preview,
    Tolerance,
    meaning_digest,
)
from mainspring.artifacts.registry import codec_for, codec_named, content_digest, save_value
from mainspring.errors import CodecError, shorten

T = TypeVar("T")
_LONGEST_TEXT = 200
_LONGEST_ITEMS = 56  # with a name before it, and the count behind, in a line of 80
_BRACKETS: tuple[tuple[type, tuple[str, str]], ...] = (
    (list, ("[", "]")), (tuple, ("(", ")")), (frozenset, ("frozenset({", "})")), (set, ("{", "}")), (dict, ("{", "}")),
)  # fmt: skip


class _Stored(msgspec.Struct, omit_defaults=True):
    """A tree and its leaves; one that stands in a pack with others is the pack's number and its own in it."""

    tree: Any
    leaves: list[Encoded | tuple[int, int]] = []
    packs: list[Encoded] = []


class _Leaves:
    """The leaves of a value, each once, in the order in which they are met, and where they are stored."""

    def __init__(self) -> None:
        self.items: list[tuple[object, str]] = []
        self.digests: list[str] = []
        self.leaves: list[Encoded | tuple[int, int]] = []
        self.packs: list[Encoded] = []
        self._numbers: dict[int, int] = {}

    @property
    def encoded(self) -> list[Encoded]:
        """All that was stored."""
        return [*(leaf for leaf in self.leaves if isinstance(leaf, Encoded)), *self.packs]

    def number(self, item: object, path: str) -> int:
        """The number of a leaf, at its first place or another."""
        if id(item) not in self._numbers:
            self._numbers[id(item)] = len(self.items)
            self.items.append((item, path))
        return self._numbers[id(item)]

    def save(self, blobs: BlobAccess) -> None:
        """Digest and write each; those that come in crowds together."""
        crowds: dict[str, list[int]] = {}
        found: dict[int, tuple[str, Encoded | tuple[int, int]]] = {}
        for number, (item, path) in enumerate(self.items):
            codec = _at(path, codec_for, item)
            if isinstance(codec, EncodesMany):
                crowds.setdefault(codec.name, []).append(number)
            else:
                found[number] = _at(path, save_value, item, blobs)
        for numbers in crowds.values():
            digests, encoded = self._pack(numbers, blobs)
            for place, (number, digest) in enumerate(zip(numbers, digests, strict=True)):
                found[number] = digest, (len(self.packs), place)
            self.packs.append(encoded)
        self.digests = [found[number][0] for number in range(len(self.items))]
        self.leaves = [found[number][1] for number in range(len(self.items))]

    def _pack(self, numbers: list[int], blobs: BlobAccess) -> tuple[list[str], Encoded]:
        values = [self.items[number][0] for number in numbers]
        codec = codec_for(values[0])
        assert isinstance(codec, EncodesMany)
        try:
            return codec.encode_many(values, blobs)
        except CodecError:
            for number in numbers:
                item, path = self.items[number]
                _at(path, codec.digest, item)  # which one it is
            raise


def _at(path: str, call: Callable[..., T], *arguments: Any) -> T:
    """What a call gives for a leaf, whose place an error tells."""
    try:
        return call(*arguments)
    except CodecError as error:
        raise CodecError(f"At {path}: {error}") from error


def _decoded(encoded: Encoded, blobs: BlobAccess) -> Any:
    return codec_named(encoded.codec).decode(encoded, blobs)


class ValuesCodec:
    """Takes what `_tree` takes. `immutable` is a fact about the value at hand, so there is an instance of each kind."""

    recipe = 2
    types: tuple[str, ...] = ()

    def __init__(self, name: str, *, immutable: bool) -> None:
        self.name, self.immutable = name, immutable

    def digest(self, value: Any) -> str:
        """Over the canonical text, with the content digests of the leaves."""
        leaves: list[str] = []

        def leaf(item: object, _path: str) -> int:
            leaves.append(content_digest(item))
            return len(leaves) - 1

        return self._digest(Writer(leaf).write(value), leaves)

    def encode(self, value: Any, blobs: BlobAccess) -> Encoded:
        """One blob of JSON text, and one or more for each leaf."""
        return self.save(value, blobs)[1]

    def save(self, value: Any, blobs: BlobAccess) -> tuple[str, Encoded]:
        """Digest and encode; every leaf is digested and written once."""
        found = _Leaves()
        tree = Writer(found.number).write(value)
        found.save(blobs)
        order: list[str] = []

        def met(item: object, path: str) -> int:
            order.append(found.digests[found.number(item, path)])
            return len(order) - 1

        # A leaf that stands in several places is one; the two walks meet the same leaves in the same order.
        digest = self._digest(Writer(met).write(value) if found.items else tree, order)
        data = to_text(_Stored(tree, found.leaves, found.packs))
        inner = found.encoded
        refers = dict.fromkeys(blob for encoded in inner for blob in (encoded.blob, *encoded.blobs))
        size = len(data) + sum(encoded.size_bytes for encoded in inner)
        brings = tuple(sorted({name for encoded in inner for name in encoded.brings}))
        return digest, Encoded(self.name, blobs.put(data), size, tuple(refers), brings)

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
        packs: dict[int, Any] = {}

        def leaf(number: int) -> Any:
            if number not in values:
                inner = stored.leaves[number]
                values[number] = _decoded(inner, blobs) if isinstance(inner, Encoded) else packed(*inner)
            return values[number]

        def packed(pack: int, place: int) -> Any:
            if pack not in packs:
                packs[pack] = _decoded(stored.packs[pack], blobs)
            return packs[pack][place]

        try:
            return Reader(leaf).read(stored.tree)
        except (IndexError, RecursionError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, CodecError):
                raise
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored value: {error}.") from error

    def preview(self, value: Any) -> Preview:
        """The value's own text, shortened; of a container the first items and how many more there are."""
        kind = type(value).__qualname__
        if isinstance(value, str):
            return Preview(
                "text",
                shorten(_clean(value[:400]), _LONGEST_TEXT),
                {"type": kind, "characters": len(value), "text": _clean(value)[:2000]},
            )
        text = _clean(str(value) if _says_itself(type(value)) else _bounded_repr(value))
        detail: dict[str, Any] = {"type": kind, "text": text[:4000]}
        summary = shorten(text, _LONGEST_TEXT)
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            detail["length"] = len(value)
            summary = shorten(_clean(_first_items(value)), _LONGEST_TEXT)
        if isinstance(value, dict):
            detail["keys"] = [_clean(shorten(key, 60)) for key, _ in zip(value, range(100), strict=False)]
        return Preview("json", summary, detail)

    def compare(self, old: Any, new: Any, tolerance: Tolerance) -> Comparison:
        """The first differing path, e.g. `$.a[3]`."""
        if self.digest(old) == self.digest(new):
            return EQUAL
        return compare_trees(old, new, tolerance, _compare_leaf)


def text_without_paths(value: object) -> str:
    """What a value shows as text, with that of each leaf; a path is kept by its content, and shows nothing."""
    shown: list[str] = []

    def leaf(item: object, _path: str) -> int:
        if not isinstance(item, PurePath):
            shown.append(repr(item))
        return 0

    return "\n".join([to_text(Writer(leaf).write(value)).decode(), *shown])


def _compare_leaf(old: Any, new: Any, tolerance: Tolerance) -> Comparison:
    codec = codec_for(old)
    if not isinstance(codec, ValuesCodec):
        return codec.compare(old, new, tolerance)
    if codec.digest(old) == codec.digest(new):
        return EQUAL
    return Comparison("values", f"{shorten(old)} → {shorten(new)}.")


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


class _Bounded(reprlib.Repr):
    """Text of values within bounds; a NumPy number is the number it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 30
        self.maxstring = self.maxother = self.maxlong = 200
        self.maxlevel = 4

    def repr1(self, x: Any, level: int) -> str:
        """The text of one value."""
        if type(x).__module__ == "numpy" and not getattr(x, "shape", True):
            x = x.item()
        return super().repr1(x, level)


def _bounded_repr(value: Any) -> str:
    return _Bounded().repr(value)


def _says_itself(cls: type) -> bool:
    """Whether a Struct has words of its own for people, beside the text that every Struct has."""
    if not issubclass(cls, msgspec.Struct):
        return False
    own = [vars(base) for base in cls.__mro__ if base is not object and not base.__module__.startswith("msgspec")]
    return any("__str__" in each for each in own) and not any("__repr__" in each for each in own)


def _first_items(value: Any) -> str:
    """A container's first items, as many as fit a line of a terminal, and how many there are besides.

    >>> _first_items([1, 2]), _first_items({"a": 1}), _first_items(()), _first_items((1,))
    ('[1, 2]', "{'a': 1}", '()', '(1,)')
    >>> _first_items(list(range(1000)))
    '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, … 984 more]'
    """
    if not value:
        return repr(value)
    bounded = _Bounded()
    opening, closing = next(brackets for kind, brackets in _BRACKETS if isinstance(value, kind))
    shown: list[str] = []
    room = _LONGEST_ITEMS - len(opening) - len(closing)
    for item in _ordered(value) if isinstance(value, (set, frozenset)) else value:
        part = f"{bounded.repr(item)}: {bounded.repr(value[item])}" if isinstance(value, dict) else bounded.repr(item)
        room -= len(part) + 2
        if shown and room < 0:
            break
        shown.append(part)
    left = len(value) - len(shown)
    rest = [f"… {left:,} more"] if left else []
    comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
    return f"{opening}{', '.join([*shown, *rest])}{comma}{closing}"


def _ordered(values: Any) -> list[Any]:
    try:
        return sorted(values)
    except TypeError:
        return list(values)
