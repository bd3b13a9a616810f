"""Python's own values: laws, canonical order, records by name, what is refused, and comparison by path."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import uuid
from collections import Counter, OrderedDict, defaultdict
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts import Encoded, Tolerance, codec_for, compare, content_digest, load, save
from mainspring.artifacts.values import ValuesCodec
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws, check_immutability, digest_in_fresh_process


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: float
    y: float


class Fit(msgspec.Struct):
    name: str
    score: float
    table: Any = None


class Frozen(msgspec.Struct, frozen=True):
    name: str


@dataclasses.dataclass
class Split:
    train: list[int]
    test: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.size = len(self.train) + len(self.test)


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    name: str
    when: dt.date


def values() -> list[Any]:
    paris = ZoneInfo("Europe/Paris")
    frame = pl.DataFrame({"a": [1, 2]})
    return [
        None, True, False, 0, 1, 1.0, 0.5, math.nan, math.inf, -math.inf, 1e22, 5e-324, 2**63, 2**64, -(2**70), 1j,
        "", "a", "é", "\udcff", "\0", "nan", b"", b"a", bytearray(b"a"),
        [], [1], (), (1,), [[1]], {}, {"a": 1}, {"a": 2}, {"b": 1}, {1: 2}, {"1": 2}, {"$": 1}, {"$": "leaf", "v": 0},
        {"a": 1, "b": 2}, {"b": 2, "a": 1}, {1, 2, "a"}, {"x", "y", "z"}, frozenset([1]), {None, True, 2.5},
        OrderedDict(a=1), Counter("aab"), range(3), range(0, 6, 2),
        dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2020, 1, 1, tzinfo=paris),
        dt.datetime(2020, 10, 25, 2, 30, tzinfo=paris), dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=paris),
        dt.date(2020, 1, 1), dt.time(1), dt.time(1, tzinfo=dt.UTC), dt.timedelta(1, 2, 3), dt.timezone(dt.timedelta(hours=1)),
        Decimal("1.0"), Decimal("1.00"), Decimal("NaN"), uuid.UUID(int=1), Colour.RED, Colour.BLUE, Mode.READ | Mode.WRITE,
        Point(1.0, 2.0), Fit("a", 0.5), Frozen("a"), Split([1], [2]), Setting("a", dt.date(2020, 1, 1)),
        np.float64(1.5), np.float32(1.5), np.int32(3), np.int64(3), np.bool_(True), np.str_("x"), np.datetime64("2020-01-01"),
        {True: 2}, {1.0: 2}, {(1,): 2}, {(True,): 2}, {math.nan: 2}, {b"1": 2}, {None: 2},
        dt.timezone(dt.timedelta(0), "FOO"), dt.UTC,
        dt.timezone(dt.timedelta(0), ""), dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=1), "X Y\nus")),
        dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("Asia/Damascus")), dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("Europe/Vilnius")),
        complex(math.nan, 1), complex(1, math.nan), np.datetime64("2020"), np.datetime64("NaT"), np.datetime64("NaT", "D"),
        np.timedelta64(1), np.timedelta64(1, "D"), np.float16(1.5), np.complex64(1.5),
        {"train": frame, "n": 3}, {"train": frame, "test": frame}, (frame, frame), Fit("a", 0.5, frame), [np.arange(3)],
        [np.arange(3), np.arange(3)],
        0.0, -0.0, [0.0], [-0.0], complex(0.0, 0.0), complex(0.0, -0.0), {0.0}, {-0.0}, np.float64(0.0), np.float64(-0.0),
    ]  # fmt: skip


def test_values_keep_the_laws(blobs: FolderBlobs) -> None:
    check_codec_laws(None, values(), blobs)


def _name(value: object) -> str:
    """A name that is the same in every process: how a set shows itself isn't."""
    return f"{sorted(map(repr, value))}"[:30] if isinstance(value, (set, frozenset)) else f"{value!r:.30}"


@pytest.mark.parametrize("value", values(), ids=_name)
def test_types_come_back(value: Any, blobs: FolderBlobs) -> None:
    check_immutability(value)
    again = load(save(value, blobs)[1], blobs)
    assert type(again) is type(value)


atoms = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())) | st.binary()
    | st.decimals() | st.dates() | st.times() | st.datetimes(timezones=st.none() | st.timezones()) | st.timedeltas()
    | st.uuids() | st.complex_numbers()
)  # fmt: skip
hashable = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
trees = st.recursive(
    atoms | st.sets(hashable) | st.frozensets(hashable),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@given(trees)
def test_generated_values_keep_the_laws(shared_blobs: FolderBlobs, value: Any) -> None:
    check_codec_laws(None, [value], shared_blobs)


def meaning(value: Any) -> Any:
    """An obvious form in which two values are equal exactly if they mean the same."""
    if isinstance(value, dict):
        return ("dict", [(meaning(key), meaning(item)) for key, item in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, [meaning(item) for item in value])
    if isinstance(value, (set, frozenset)):
        return (type(value).__name__, sorted(repr(meaning(item)) for item in value))
    if isinstance(value, float):
        return ("float", repr(value))
    if isinstance(value, complex):
        return ("complex", repr(value.real), repr(value.imag))
    if isinstance(value, (dt.datetime, dt.time)):
        return (type(value).__name__, repr(value))
    return (type(value).__name__, repr(value))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, -0.0, 1.0, math.nan])
    | st.sampled_from(["", "1", "a"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", 1]), inner, max_size=2)
        | st.tuples(inner)
    ),
    max_leaves=4,
)


@given(plain, plain)
def test_digests_are_equal_exactly_if_meanings_are(one: Any, other: Any) -> None:
    same = meaning(one) == meaning(other)
    assert (content_digest(one) == content_digest(other)) == same
    assert (compare(one, other).kind == "equal") == same


def test_fresh_processes_with_other_hash_seeds_agree() -> None:
    expression = "{'names': {'x', 'y', 'z', 'w'}, 'nested': frozenset({('a', 1), ('b', 2)})}"
    seen = {digest_in_fresh_process(expression, hash_seed=seed) for seed in (1, 2, 3)}
    assert seen == {content_digest({"names": {"x", "y", "z", "w"}, "nested": frozenset({("a", 1), ("b", 2)})})}


def test_what_is_immutable_depends_on_what_is_inside() -> None:
    frame = pl.DataFrame({"a": [1]})
    immutable = [
        1,
        "a",
        (1, ("b", None)),
        Frozen("a"),
        Setting("a", dt.date(2020, 1, 1)),
        (frame, 1),
        frozenset([1]),
        np.float64(1),
    ]
    mutable = [[1], {"a": 1}, ([1],), Fit("a", 1.0), Split([1]), (np.arange(3),), {"a": frame}, bytearray(b"")]
    assert [codec_for(value).immutable for value in immutable] == [True] * len(immutable)
    assert [codec_for(value).immutable for value in mutable] == [False] * len(mutable)


def test_a_dataclass_comes_back_without_running_its_code(blobs: FolderBlobs) -> None:
    split = Split([1, 2])
    split.size = 7
    again = load(save(split, blobs)[1], blobs)
    assert (again, again.size) == (split, 7)


def test_a_leaf_in_two_places_is_stored_once_and_one_object_again(blobs: FolderBlobs) -> None:
    array = np.arange(1000)
    _, encoded, _ = save({"a": array, "b": array}, blobs)
    again = load(encoded, blobs)
    assert again["a"] is again["b"]
    assert len(encoded.blobs) == 1


def test_a_leaf_has_the_same_meaning_wherever_it_is_shared() -> None:
    array = np.arange(3)
    assert content_digest([array, array]) == content_digest([array, array.copy()])


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (object(), "builtins.object"),
        ([1, object()], r"\$\[1\]"),
        ({"a": [1, lambda: 0]}, r"\$\.a\[1\].*function"),
        (defaultdict(int), r"defaultdict`\. Return `dict\(…\)` of it"),
        (Fit("a", 1.0, object()), r"\$\.table"),
        ({np}, "module"),
        ([np.longdouble(1)], r"\$\[0\].*longdouble"),
        (type("Rate", (float,), {})(1.0), "Rate"),
        (dt.datetime(2020, 1, 1, tzinfo=type("Zone", (dt.tzinfo,), {"utcoffset": lambda *_: None})()), "time zone"),
    ],
)
def test_what_no_codec_takes_is_named_with_its_place(value: Any, place: str, blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match=place):
        save(value, blobs)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CodecError, match="contains itself"):
        content_digest(loop)


def test_a_class_that_cannot_be_found_again_is_refused(blobs: FolderBlobs) -> None:
    class Local(msgspec.Struct):
        a: int

    with pytest.raises(CodecError, match="top level of a module"):
        save(Local(1), blobs)


@pytest.mark.parametrize(
    "name",
    ["os:system", "subprocess:Popen", "antigravity:x", "sklearn.svm:SVC", "no_such_module_at_all:X", "builtins:eval",
     "collections:OrderedDict", f"{__name__}:values", "..x:Y", ":", ""],
)  # fmt: skip
def test_no_other_name_is_ever_loaded(name: str, blobs: FolderBlobs) -> None:
    blob = blobs.put(msgspec.json.encode({"tree": {"$": "record", "c": name, "v": {}}, "leaves": []}))
    with pytest.raises(CodecError):
        load(Encoded("json", blob, 1), blobs)


def test_a_record_whose_fields_changed_says_so(blobs: FolderBlobs) -> None:
    tree = {"$": "record", "c": f"{__name__}:Frozen", "v": {"old": 1}}
    blob = blobs.put(msgspec.json.encode({"tree": tree, "leaves": []}))
    with pytest.raises(CodecError, match=r"has the fields .*name.*stored value has .*old"):
        load(Encoded("json", blob, 1), blobs)


def test_comparison_names_the_first_differing_path() -> None:
    assert compare({"a": [0, 1, 2, 3]}, {"a": [0, 1, 2, 4]}).detail == "At $.a[3]: 3 → 4."
    assert compare([1], [1.0]).kind == "type"
    assert compare({"a": 1, "b": 2}, {"b": 2, "a": 1}).kind == "row_order"
    assert compare({"a": 1}, {}).detail == "At $ the key 'a' is gone."
    assert compare([1, 2], [1]).kind == "values"
    close = compare({"auc": 0.5}, {"auc": 0.5 + 1e-9})
    assert (close.kind, round(close.largest_error or 0, 12)) == ("floats", 1e-9)
    assert compare({"auc": 0.5}, {"auc": 0.5 + 1e-9}, Tolerance(rtol=1e-6)).kind == "within_tolerance"
    assert compare({"auc": 0.5, "n": 1}, {"auc": 0.6, "n": 2}, Tolerance(atol=1)).kind == "values"
    assert compare(Fit("a", 1.0), Fit("b", 1.0)).detail == "At $.name: a → b."
    frames = [{"t": pl.DataFrame({"a": [1, n]})} for n in (2, 3)]
    assert compare(frames[0], frames[1]).detail == "At $.t: 1 of 2 rows differ in column `a`, first row 1: 2 → 3."
    assert compare(np.float64(1.0), np.float64(2.0)).largest_error == 1.0


def test_floats_of_numpy_are_held_to_the_tolerance() -> None:
    for kind in (np.float16, np.float32, np.float64, np.complex64, np.complex128):
        old, new = {"m": kind(1.0)}, {"m": kind(1.001)}
        assert compare(old, new).kind == "floats"
        assert compare(old, new, Tolerance(rtol=1e-2)).kind == "within_tolerance"
        assert compare(old, new, Tolerance(rtol=1e-6)).kind == "floats"
    assert compare([np.float32(1)], [np.float32(math.nan)], Tolerance(rtol=1)).kind == "values"
    assert compare([np.longlong(1)], [np.int64(1)]).kind == "equal"
    assert compare([np.int64(1)], [np.int64(2)], Tolerance(rtol=9)).kind == "values"


def test_stored_digests_are_still_the_same() -> None:
    value = {"a": [1, 2.5, None, True, "é", (1,), {3, 4}], "b": dt.date(2020, 1, 1), "c": np.float32(0.1), "d": b"x"}
    assert content_digest(value) == STORED, "digests have changed: count the recipe up, and say so in the changelog"


STORED = "b28ac24f840c0f2a9693f495aca95d070a585bfbe88aea99c96857b19939643e"


@pytest.mark.parametrize(
    ("value", "summary"),
    [
        (np.float64(4.3078), "4.3078"),
        (np.int32(3), "3"),
        ([np.float64(1.5), 2], "[1.5, 2]"),
        ([], "[]"),
        ({"b": 2}, "{'b': 2}"),
        ({3, 1, 2}, "{1, 2, 3}"),
        (frozenset({1}), "frozenset({1})"),
        ({1: "x" * 300, 2: "y"}, None),
        (list(range(46)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, … 30 more]"),
    ],
)
def test_a_preview_is_what_a_person_would_write_and_counts_what_it_leaves_out(value: Any, summary: str | None) -> None:
    shown = ValuesCodec("json", immutable=False).preview(value).summary
    assert shown == summary or (summary is None and len(shown) <= 200)
