"""Records: what was set beside the fields, what is refused, and which of them are handed on by reference."""

from __future__ import annotations

import collections
import dataclasses
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import pytest

from mainspring.artifacts import Encoded, codec_for, compare, content_digest, load, save
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws


@dataclasses.dataclass
class Sum:
    items: list[int]

    def __post_init__(self) -> None:
        self.total = sum(self.items)

    @cached_property
    def largest(self) -> int:
        return max(self.items)


class Named(Sum):
    """No dataclass itself, with an attribute of its own."""

    def __init__(self, items: list[int], name: str) -> None:
        super().__init__(items)
        self.name = name


@dataclasses.dataclass(frozen=True)
class Open:
    n: int

    def bump(self) -> None:
        self.__dict__["n"] += 1


@dataclasses.dataclass(frozen=True, slots=True)
class Closed:
    n: int


class Wider(Closed):
    pass


class Slotted:
    __slots__ = ("__hidden", "seen")

    def set(self, hidden: int) -> None:
        self.__hidden = hidden
        self.seen = hidden

    def hidden(self) -> int:
        return self.__hidden


@dataclasses.dataclass
class OverSlots(Slotted):
    n: int


class Pair(NamedTuple):
    a: int
    b: int


class OtherPair(NamedTuple):
    a: int
    b: int


class Noted(collections.namedtuple("Noted", "a b")):  # noqa: SLOT002  # the old spelling, with a `__dict__`
    pass


class Loose(msgspec.Struct, dict=True):
    n: int

    def __post_init__(self) -> None:
        self.n += 1


class FrozenLoose(msgspec.Struct, frozen=True, dict=True):
    n: int


@dataclasses.dataclass
class Rows(list):
    n: int


@dataclasses.dataclass
class Table(dict):
    n: int


@dataclasses.dataclass
class Failure(Exception):
    reason: str


@dataclasses.dataclass
class Count(int):
    n: int = 0


def with_attribute(value: Any, **attributes: Any) -> Any:
    vars(value).update(attributes)
    return value


def slotted(n: int, hidden: int) -> OverSlots:
    value = OverSlots(n)
    value.set(hidden)
    return value


def test_records_keep_the_laws(blobs: FolderBlobs) -> None:
    values = [
        Sum([1, 2]), with_attribute(Sum([1, 2]), total=4), with_attribute(Sum([1, 2]), note="x"), Named([1, 2], "a"),
        Named([1, 2], "b"), Open(1), Closed(1), Wider(1), with_attribute(Wider(1), m=1), slotted(1, 2), slotted(1, 3),
        OverSlots(1), Pair(1, 2), OtherPair(1, 2), (1, 2), {"a": 1, "b": 2}, Noted(1, 2), with_attribute(Noted(1, 2), c=3),
        Loose(1), Loose(2), with_attribute(Loose(1), m=1), FrozenLoose(1),
    ]  # fmt: skip
    check_codec_laws(None, values, blobs, same=lambda old, new: _state(old) == _state(new))


def _state(value: Any) -> Any:
    return (value if isinstance(value, (tuple, dict)) else None, getattr(value, "__dict__", None), repr(value))


def test_what_is_set_beside_the_fields_comes_back(blobs: FolderBlobs) -> None:
    assert load(save(Sum([1, 2]), blobs)[1], blobs).total == 3
    assert load(save(slotted(1, 5), blobs)[1], blobs).hidden() == 5
    assert load(save(Loose(1), blobs)[1], blobs).n == 2


def test_a_cached_property_is_no_part_of_a_value(blobs: FolderBlobs) -> None:
    value = Sum([1, 2])
    before = content_digest(value)
    assert value.largest == 2
    assert content_digest(value) == before
    assert "largest" not in vars(load(save(value, blobs)[1], blobs))


def test_what_is_set_beside_the_fields_is_compared() -> None:
    assert compare(Named([1], "a"), Named([1], "b")).detail == "At $.name: a → b."


def test_an_attribute_without_a_stored_form_is_named(blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match=r"\$\.lock"):
        save(with_attribute(Sum([1]), lock=object()), blobs)


@pytest.mark.parametrize("value", [Rows(1), Table(1), Failure("x"), Count()], ids=lambda value: type(value).__name__)
def test_a_record_that_holds_more_than_attributes_is_refused(value: Any, blobs: FolderBlobs) -> None:
    base = type(value).__mro__[1].__name__
    with pytest.raises(CodecError, match=f"derives from `{base}`"):
        content_digest(value)
    blob = blobs.put(
        msgspec.json.encode({"tree": {"$": "record", "c": f"{__name__}:{type(value).__name__}", "v": {}}, "leaves": []})
    )
    with pytest.raises(CodecError):
        load(Encoded("json", blob, 1), blobs)


def test_only_what_nobody_can_change_is_handed_on_by_reference() -> None:
    immutable: list[Any] = [Closed(1), Pair(1, 2), (Closed(1), Pair(1, 2))]
    mutable: list[Any] = [Open(1), Wider(1), Noted(1, 2), Loose(1), FrozenLoose(1), Closed([1])]  # type: ignore[arg-type]  # a list on purpose
    assert [codec_for(value).immutable for value in immutable] == [True] * len(immutable)
    assert [codec_for(value).immutable for value in mutable] == [False] * len(mutable)
