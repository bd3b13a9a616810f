"""pandas in depth: every index, missing mark and category comes back, and whatever a program can see counts."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts import Tolerance, compare, content_digest, in_canonical_order, load, save
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws

BOTH = (True, False)
HOUR = dt.timedelta(hours=1)
ZONES = (
    ZoneInfo("Europe/Paris"),
    ZoneInfo("Asia/Damascus"),
    ZoneInfo("UTC"),
    dt.UTC,
    dt.timezone(-HOUR),
    dt.timezone(HOUR, "X"),
)


def shown(values: Any) -> list[str]:
    return [repr(value).replace("-0.0", "0.0") for value in values]


def same_index(old: Any, new: Any) -> bool:
    if type(old) is not type(new) or list(old.names) != list(new.names):
        return False
    if isinstance(old, pd.MultiIndex):
        used = [level.take(np.unique(codes[codes >= 0])) for level, codes in zip(old.levels, old.codes, strict=True)]
        used = [level[~level.isna()] for level in used]
        pairs = zip([old.to_flat_index(), *used], [new.to_flat_index(), *new.levels], strict=True)
        return all(repr(a.dtype) == repr(b.dtype) and shown(a) == shown(b) for a, b in pairs)
    same = repr(old.dtype) == repr(new.dtype) and shown(old) == shown(new)
    return same and getattr(old, "freq", None) == getattr(new, "freq", None)


def same_pandas(old: Any, new: Any) -> bool:
    if isinstance(old, pd.Series):
        return repr(old.name) == repr(new.name) and same_pandas(_framed(old), _framed(new))
    columns = [(old.iloc[:, i].array, new.iloc[:, i].array) for i in range(old.shape[1])]
    return (
        same_index(old.index, new.index)
        and same_index(old.columns, new.columns)
        and all(repr(a.dtype) == repr(b.dtype) and shown(a) == shown(b) for a, b in columns)
        and old.attrs == new.attrs
        and old.flags == new.flags
    )


def _framed(series: Any) -> Any:
    framed = series.to_frame("values")
    framed.attrs = series.attrs
    return framed


def frame(values: Any, **options: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": pd.Series(values, **options)})


def labelled(index: Any) -> pd.DataFrame:
    return pd.DataFrame([[1] * len(index)], columns=index)


def masked(values: list[float], missing: list[bool]) -> pd.DataFrame:
    return frame(pd.arrays.FloatingArray(np.array(values), np.array(missing)))


def with_attrs(**attrs: Any) -> pd.DataFrame:
    value = frame([1])
    value.attrs = attrs
    return value


def distinct() -> list[Any]:
    days = pd.to_datetime(["2020-01-01", "2020-01-02"])
    ab = pd.MultiIndex.from_tuples([("a", 1), ("b", None)], names=["x", None])
    levels = [pd.Index(["b", "a"]), pd.Index([2, 1])]
    return [
        frame([None], dtype=object), frame([pd.NA], dtype=object), frame([pd.NaT], dtype=object),
        frame([math.nan], dtype=object),
        frame([(pd.NA, 1)], dtype=object), frame([(None, 1)], dtype=object), frame([{1}], dtype=object),
        frame([True], dtype=object),
        frame([1], dtype=object), frame([1.0], dtype=object), frame(["1"], dtype=object), frame([b"1"], dtype=object),
        masked([1.0, math.nan], [False, False]), masked([1.0, math.nan], [False, True]), frame([1.0, math.nan]),
        frame([1.0, math.nan], dtype="float32"), frame([1, 2], dtype="Int64"), frame([1, None], dtype="Int64"), frame([1, 2]),
        frame(["a", None], dtype="str"), frame(["a", None], dtype="string"), frame(["a", None], dtype=object),
        *(frame(pd.Categorical(["a", None], categories=list(c), ordered=o)) for c in ("ab", "ba", "a") for o in BOTH),
        frame(pd.Categorical([1, None])), frame(pd.Categorical([1.0, None])), frame(pd.Categorical(days)),
        frame(pd.Categorical(days.tz_localize("UTC"))), frame(pd.cut([1, 2, 3], 2)), frame(pd.cut([1, 2, 3], 2, right=False)),
        frame(pd.IntervalIndex.from_breaks([0, 1, 2])), frame(pd.IntervalIndex.from_breaks([0.0, 1.0, 2.0])),
        frame(pd.IntervalIndex.from_breaks([0, 1, 2], closed="left")),
        *(frame(days.tz_localize("UTC").tz_convert(zone)) for zone in ZONES),
        frame(days.astype("M8[s]")), frame(days.astype("M8[ms]")), frame(days - days[0]),
        *(labelled(pd.CategoricalIndex(["a", "b"], categories=c, ordered=o)) for c in (["a", "b"], ["b", "a"]) for o in BOTH),
        labelled(["a", "b"]), labelled(pd.Index(["a", "b"], dtype=object)), labelled(pd.Index(["a", "b"], name="n")),
        labelled(days), labelled(days.tz_localize("UTC")), labelled(pd.RangeIndex(2)), labelled(pd.Index([0, 1])),
        labelled(pd.Index([0.0, 1.0])), labelled(pd.Index(["0", "1"])), labelled(pd.Index([0, "1"], dtype=object)),
        labelled(pd.IntervalIndex.from_breaks([0, 1, 2])), labelled(pd.Index([("a", 1), ("b", 2)], tupleize_cols=False)),
        labelled(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])), labelled(pd.MultiIndex.from_arrays([["a", "b"]])),
        labelled(ab),
        labelled(pd.MultiIndex(levels=levels, codes=[[0, 1], [0, 1]])),
        labelled(pd.MultiIndex(levels=[level[::-1] for level in levels], codes=[[1, 0], [1, 0]])),
        pd.DataFrame({"a": [1, 2]}, index=ab), pd.DataFrame({"a": [1, 2]}, index=ab.set_names(["y", None])),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_arrays([[None, None], [1, 2]])),
        pd.DataFrame({"a": [1, 2]}, index=days), pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2020", periods=2, freq="D")),
        pd.DataFrame({"a": [1, 2]}, index=pd.Index([("a", 1), ("b", 2)], tupleize_cols=False)),
        pd.DataFrame(), pd.DataFrame(index=[1, 2]), pd.DataFrame(index=pd.RangeIndex(2)), pd.DataFrame(columns=["a"]),
        pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []])), frame([], dtype="int64"), frame([], dtype="float64"),
        frame([1]), frame([1]).set_flags(allows_duplicate_labels=False), with_attrs(a=1), with_attrs(a=[1.5]), with_attrs(b={}),
        frame(np.array([1], ">i4")), frame(np.array([1], "<i4")),
        pd.Series([1]), pd.Series([1], name="None"), pd.Series([1], name=pd.NA), pd.Series([1], name=pd.NaT),
        pd.Series([1], name=days[0]), pd.Series([1], name=str(days[0])), pd.Series([1], name=("a", 1)), pd.Series([1], name=1),
    ]  # fmt: skip


def test_what_a_program_can_see_counts_and_comes_back(blobs: FolderBlobs) -> None:
    check_codec_laws(None, distinct(), blobs, same=same_pandas)


CELLS = (
    None,
    pd.NA,
    pd.NaT,
    math.nan,
    -0.0,
    True,
    1,
    1.0,
    "1",
    b"1",
    (1,),
    ("a", None),
    np.float32(-0.0),
    dt.date(2020, 1, 1),
)
MOMENTS = st.integers(-(10**9), 10**9)


@st.composite
def arrays(draw: st.DrawFn, rows: int) -> Any:
    """An array of any kept type."""
    kind = draw(
        st.sampled_from(["number", "float", "object", "text", "masked", "time", "zoned", "category", "interval"])
    )

    def cells(items: st.SearchStrategy[Any]) -> Any:
        return draw(st.lists(items, min_size=rows, max_size=rows))

    match kind:
        case "number":
            return np.array(cells(st.integers(0, 100)), draw(st.sampled_from(["i1", "i8", "u4", "?"])))
        case "float":
            return np.array(
                cells(st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf])), draw(st.sampled_from(["f4", "f8"]))
            )
        case "object":
            array = np.empty(rows, dtype=object)
            array[:] = pd.Series(cells(st.sampled_from(CELLS)), dtype=object)
            return array
        case "text":
            return pd.array(cells(st.none() | st.text(max_size=3)), dtype=draw(st.sampled_from(["str", "string"])))
        case "masked" if draw(st.booleans()):
            values = np.array(cells(st.sampled_from([0.0, 1.5, math.nan])), dtype="f8")
            return pd.arrays.FloatingArray(values, np.array(cells(st.booleans()), dtype=bool))
        case "masked":
            return pd.array(
                cells(st.none() | st.integers(0, 1)), dtype=draw(st.sampled_from(["Int8", "UInt64", "boolean"]))
            )
        case "time":
            values = np.array(cells(MOMENTS | st.just(-(2**63))), dtype="i8")
            return pd.array(values.view(draw(st.sampled_from(["M8[s]", "M8[ns]", "m8[s]", "m8[us]"]))))
        case "zoned":
            moments = pd.DatetimeIndex(np.array(cells(MOMENTS), dtype="i8").view("M8[s]"))
            return moments.tz_localize("UTC").tz_convert(draw(st.sampled_from(ZONES))).array
        case "interval":
            left = np.array(cells(st.integers(-9, 9)), draw(st.sampled_from(["i8", "f8"])))
            return pd.arrays.IntervalArray.from_arrays(left, left + 1, closed=draw(st.sampled_from(["left", "both"])))
    categories = pd.Index(
        draw(st.sampled_from([["b", "a"], [2, 1], [1.5], [dt.date(2020, 1, 1)], pd.to_datetime(["2020"])]))
    )
    codes = cells(st.integers(-1, len(categories) - 1))
    return pd.Categorical.from_codes(codes, categories=categories, ordered=draw(st.booleans()))


@st.composite
def indexes(draw: st.DrawFn, rows: int) -> Any:
    def plain() -> Any:
        array = draw(arrays(rows))
        return pd.Index(array, dtype=array.dtype, tupleize_cols=False)

    name = draw(st.sampled_from([None, "n", 1, ("a", 1)]))
    kind = draw(st.sampled_from(["range", "plain", "multi", "frequency"]))
    if kind == "range":
        return pd.RangeIndex(0, rows * 2, 2, name=name)
    if kind == "plain":
        return plain().rename(name)
    if kind == "frequency":
        return pd.date_range("2020-01-01", periods=rows, freq=draw(st.sampled_from(["D", "h", "MS"])), name=name)
    try:
        index = pd.MultiIndex.from_arrays([plain() for _ in range(draw(st.integers(1, 2)))])
    except TypeError:  # cells that pandas can't hold against each other
        return pd.RangeIndex(rows)
    level = draw(st.integers(0, index.nlevels - 1))
    turned = draw(st.permutations(range(len(index.levels[level]))))
    return index.set_levels(index.levels[level].take(turned), level=level) if turned else index


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows, columns = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    made = pd.DataFrame({i: pd.Series(draw(arrays(rows))) for i in range(columns)}, index=pd.RangeIndex(rows))
    made.index, made.columns = draw(indexes(rows)), draw(indexes(columns))
    return made


@given(frames())
def test_whatever_pandas_holds_comes_back(shared_blobs: FolderBlobs, value: pd.DataFrame) -> None:
    check_codec_laws(None, [value], shared_blobs, same=same_pandas)


def test_the_sign_of_a_zero_is_kept_and_counts_in_cells_of_python_only(blobs: FolderBlobs) -> None:
    for value in (frame([-0.0]), frame([-0.0, "x"], dtype=object), frame([(np.float32(-0.0),)], dtype=object)):
        other = load(save(value, blobs)[1], blobs)
        assert "-0.0" in repr(other["a"].tolist())
    assert content_digest(frame([-0.0])) == content_digest(frame([0.0]))
    assert content_digest(frame([-0.0, "x"], dtype=object)) != content_digest(frame([0.0, "x"], dtype=object))
    assert compare(frame([-0.0, "x"], dtype=object), frame([0.0, "x"], dtype=object)).kind == "floats"


def test_floats_in_cells_are_held_to_the_tolerance() -> None:
    old, new, other = (
        frame([number, "x", None], dtype=object).assign(n=[1.0, 2.0, 3.0]) for number in (1.0, 1.001, "1")
    )
    assert compare(old, new).kind == "floats"
    assert compare(old, new, Tolerance(rtol=1e-2)).kind == "within_tolerance"
    assert compare(old, new, Tolerance(rtol=1e-6)).kind == "floats"
    assert compare(old, new.assign(n=[1.0, 2.0, 4.0]), Tolerance(rtol=1e-2)).kind == "floats"
    assert compare(old, other, Tolerance(rtol=1e-2)).kind == "values"
    assert "column `a`" in compare(old, new).detail


def test_what_else_differs_is_a_matter_of_the_schema() -> None:
    for other in (with_attrs(a=1), frame([1]).set_flags(allows_duplicate_labels=False), frame([1]).rename_axis("n")):
        assert compare(frame([1]), other).kind == "schema"


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (frame([1j]), "Column `a`.*complex"),
        (frame([pd.Timestamp("2020")], dtype=object), "Column `a`.*Timestamp"),
        (frame(pd.period_range("2020", periods=2, freq="Y")), "Column `a`.*period"),
        (frame(pd.arrays.SparseArray([1])), "Column `a`.*Sparse"),
        (frame([1], dtype="int64[pyarrow]"), "Column `a`.*pyarrow"),
        (frame(pd.Categorical(pd.period_range("2020", periods=2, freq="Y"))), "Column `a`, its categories,.*period"),
        (with_attrs(table=np.zeros(2)), "ndarray"),
        (pd.DataFrame({"a": [1]}, index=pd.period_range("2020", periods=1, freq="Y")), "The index.*period"),
    ],
)
def test_what_is_not_kept_is_named(value: Any, match: str) -> None:
    with pytest.raises(CodecError, match=match):
        content_digest(value)


def test_rows_that_pandas_cannot_sort_are_refused() -> None:
    with pytest.raises(CodecError, match="can't sort"):
        in_canonical_order(frame(np.array([2, 1], ">i4")))
