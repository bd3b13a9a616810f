"""pandas and Arrow: what comes back is what was saved, types and labels included."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mainspring.artifacts import Tolerance, compare, content_digest, load, save
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws, check_immutability


def wide() -> pd.DataFrame:
    days = pd.date_range("2020-01-01", periods=3, freq="D")
    return pd.DataFrame(
        {
            "a": [1, 2, 3],
            "f": [1.0, np.nan, -0.0],
            "s": ["x", None, "z"],
            "o": pd.Series([1, "a", None], dtype=object),
            "t": days,
            "tz": days.tz_localize("Europe/Paris"),
            "c": pd.Categorical(["b", None, "a"], categories=["b", "a"]),
            "I": pd.array([1, None, 3], dtype="Int64"),
            "B": pd.array([True, None, False], dtype="boolean"),
            "td": pd.to_timedelta([1, 2, None], unit="s"),
            "str": pd.array(["a", None, "c"], dtype="string"),
            "F": pd.array([1.5, None, 2], dtype="Float32"),
        }
    )


def pandas_values() -> list[object]:
    frame, days = wide(), pd.date_range("2020-01-01", periods=3, freq="D")
    return [
        frame,
        frame.set_index("a"),
        frame.set_index(["a", "s"]),
        frame.set_index("t"),
        pd.DataFrame(index=days),
        frame["a"],
        frame["s"],
        frame["c"],
        pd.DataFrame(),
        pd.DataFrame({1: [1], "a": [2]}),
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        frame.iloc[[2, 0, 1]],
        frame.iloc[:0],
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame(np.zeros((2, 3))),
        frame.astype({"a": "int32"}),
        pd.Series([1, 2], name=("a", "b")),
        pd.Series([1, 2], index=[5, 6]),
    ]


def test_pandas_keeps_the_laws(blobs: FolderBlobs) -> None:
    check_codec_laws(None, pandas_values(), blobs)


@pytest.mark.parametrize("value", pandas_values(), ids=lambda value: f"{type(value).__name__}{value.shape}")
def test_pandas_itself_sees_no_difference(value: object, blobs: FolderBlobs) -> None:
    check_immutability(value)
    again = load(save(value, blobs)[1], blobs)
    same = pd.testing.assert_frame_equal if isinstance(value, pd.DataFrame) else pd.testing.assert_series_equal
    same(again, value)


def test_a_decoded_frame_can_be_changed(blobs: FolderBlobs) -> None:
    encoded = save(wide(), blobs)[1]
    again = load(encoded, blobs)
    again.loc[0, "a"] = 99
    again["f"] += 1
    assert load(encoded, blobs).loc[0, "a"] == 1


def test_pandas_comparison_names_what_differs() -> None:
    frame = wide()
    changed = frame.copy()
    changed.loc[1, "a"] = 7
    assert compare(frame, changed).kind == "values"
    assert "column `a`, first row 1: 2 → 7" in compare(frame, changed).detail
    assert compare(frame, frame.iloc[[1, 0, 2]].reset_index(drop=True)).kind == "row_order"
    assert compare(frame, frame.set_index("a", drop=False)).kind == "schema"
    floats = frame.assign(f=frame["f"] + 1e-9)
    assert compare(frame, floats).kind == "floats"
    assert compare(frame, floats, Tolerance(atol=1e-6)).kind == "within_tolerance"


def test_pandas_rows_without_an_order(blobs: FolderBlobs) -> None:
    frame = wide()
    shuffled = frame.iloc[[2, 0, 1]].reset_index(drop=True)
    assert save(frame, blobs, ordered=False)[0] == save(shuffled, blobs, ordered=False)[0]
    assert save(frame, blobs)[0] != save(shuffled, blobs)[0]


def test_a_pandas_type_that_is_not_kept_is_named() -> None:
    with pytest.raises(CodecError, match=r"Column `p`.*period"):
        content_digest(pd.DataFrame({"p": pd.period_range("2020", periods=2, freq="Y")}))


def table() -> pa.Table:
    return pa.table(
        {
            "a": [1, None],
            "s": pa.array(["x", "y"]).dictionary_encode(),
            "l": [[1], []],
            "st": [{"a": 1}, None],
            "ls": pa.array(["q", None], pa.large_string()),
            "d": [dt.date(2020, 1, 1)] * 2,
            "b": [b"1", b""],
        }
    )


def test_arrow_keeps_the_laws(blobs: FolderBlobs) -> None:
    whole = table()
    check_codec_laws(None, [whole, whole.slice(1), whole.slice(0, 0), pa.table({}), whole.select(["a"])], blobs)


def test_an_arrow_schema_comes_back(blobs: FolderBlobs) -> None:
    assert load(save(table(), blobs)[1], blobs).schema.equals(table().schema)


def test_arrow_chunks_make_no_difference() -> None:
    whole = table()
    assert content_digest(pa.concat_tables([whole.slice(0, 1), whole.slice(1)])) == content_digest(whole)


def test_the_same_table_of_another_library_is_another_value() -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    assert len({content_digest(frame), content_digest(frame.to_pandas()), content_digest(frame.to_arrow())}) == 3
    assert compare(frame, frame.to_pandas()).kind == "type"
