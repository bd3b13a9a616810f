"""Folds: every row is tested on once; along time nothing is trained on that comes after what is tested."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data import GroupKFold, KFold, StratifiedKFold, TimeSeriesFolds
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError

VALUES = st.lists(st.integers(0, 12), max_size=60)


def framed(values: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"g": values, "row": range(len(values))}, schema={"g": pl.Int64, "row": pl.Int64})


@given(VALUES, st.integers(2, 6), st.integers(0, 3), st.sampled_from(["rows", "key", "group", "strata"]))
def test_every_row_is_tested_on_once_and_trains_the_others(values: list[int], folds: int, seed: int, kind: str) -> None:
    frame = framed(values)
    rule = {
        "rows": KFold(folds, seed=seed),
        "key": KFold(folds, "g", seed),
        "group": GroupKFold(folds, "g", seed),
        "strata": StratifiedKFold(folds, by="g", seed=seed),
    }[kind]
    if kind == "group" and 0 < len(set(values)) < folds:
        with pytest.raises(InvalidError, match=f"a group for each of {folds} parts"):
            list(rule.pairs(frame))
        return
    if 0 < len(values) < folds:
        for cut in (rule.apply, lambda frame: list(rule.pairs(frame)), lambda frame: rule.apply_lazily(frame.lazy())):
            with pytest.raises(
                InvalidError, match=f"rows: `{len(values)} rows?` is not a row for each of {folds} parts"
            ):
                cut(frame)
        return
    pairs = list(rule.pairs(frame))
    assert [fold.number for fold in pairs] == list(range(1, folds + 1))
    assert sorted(row for fold in pairs for row in fold.test["row"]) == list(range(len(values)))
    for fold, part in zip(pairs, rule.apply(frame).values(), strict=True):
        assert fold.test.equals(part)
        assert sorted([*fold.train["row"], *fold.test["row"]]) == list(range(len(values)))
        assert fold.train["row"].is_sorted()
        assert fold.test["row"].is_sorted()
        if kind in ("key", "group"):
            assert not set(fold.train["g"]) & set(fold.test["g"])
    heights = [fold.test.height for fold in pairs]
    if kind == "rows":
        assert max(heights) - min(heights) <= 1
    if kind == "strata":
        for value in set(values):
            counts = [Counter(fold.test["g"])[value] for fold in pairs]
            assert max(counts) - min(counts) <= 1


def test_folds_by_a_key_stay_when_rows_are_appended() -> None:
    frame = framed(list(range(500)))
    before, after = (KFold(4, "g").apply(part) for part in (frame[:300], frame))
    for name, part in before.items():
        assert set(part["g"]) <= set(after[name]["g"])


def test_groups_of_even_size_make_even_folds() -> None:
    heights = [part.height for part in GroupKFold(5, "g").apply(framed([n % 100 for n in range(10_000)])).values()]
    assert heights == [2_000] * 5


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=60),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 12)),
    st.one_of(st.none(), st.integers(0, 6)),
    st.one_of(st.none(), st.integers(1, 30)),
    st.sampled_from(["number", "date", "instant"]),
)
def test_nothing_is_known_before_its_time(
    times: list[int], folds: int, test: int | None, gap: int | None, train: int | None, kind: str
) -> None:
    start = datetime(2013, 1, 1, tzinfo=UTC)
    days = {
        "number": times,
        "date": [date(2013, 1, 1) + timedelta(days=n) for n in times],
        "instant": [start + timedelta(days=n) for n in times],
    }[kind]
    frame = pl.DataFrame({"t": days, "n": times, "row": range(len(times))})
    spans: dict[str, Any] = {"test": test, "gap": gap, "train": train}
    if kind != "number":
        spans = {name: None if span is None else timedelta(days=span) for name, span in spans.items()}
    try:
        pairs = list(TimeSeriesFolds(column="t", folds=folds, **spans).pairs(frame))
    except InvalidError as error:
        if "folds with rows" not in str(error):
            raise
        return
    tested = [row for fold in pairs for row in fold.test["row"]]
    assert len(tested) == len(set(tested))
    for fold, following in pairwise(pairs):
        assert fold.test["n"].max() < following.test["n"].min()  # type: ignore[operator]  # they are integers
    assert pairs[-1].test["n"].max() == max(times)
    for fold in pairs:
        newest, first = fold.train["n"].max(), fold.test["n"].min()
        assert newest + (gap or 0) < first  # type: ignore[operator]  # they are integers
        if test is not None:
            border = max(times) - (folds - fold.number + 1) * test
            known = [
                n for n in times if n <= border - (gap or 0) and (train is None or n > border - (gap or 0) - train)
            ]
            assert fold.train["n"].to_list() == known
            assert fold.test["n"].to_list() == [n for n in times if border < n <= border + test]


def test_blocks_are_about_equal_and_times_are_not_parted() -> None:
    frame = pl.DataFrame({"t": sorted([n // 3 for n in range(300)])})
    pairs = list(TimeSeriesFolds(column="t", folds=4).pairs(frame))
    assert [fold.test.height for fold in pairs] == [60, 60, 60, 60]
    assert [fold.train.height for fold in pairs] == [60, 120, 180, 240]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 0}, "1 fold or more"),
        ({"test": 0}, "a span above 0"),
        ({"gap": -1}, "a span of 0 or more"),
        ({"train": timedelta()}, "a span above 0"),
        ({"test": float("nan")}, "a span above 0"),
    ],
)
def test_wrong_folds_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        TimeSeriesFolds(column="t", **arguments)
    with pytest.raises(InvalidError, match="2 folds or more"):
        KFold(1)
    with pytest.raises(InvalidError, match="the name of a column"):
        GroupKFold(3)


@pytest.mark.parametrize("folds", ["3", 2.5, True, None])
def test_folds_are_a_whole_number(folds: Any) -> None:
    for make in (
        KFold,
        partial(GroupKFold, key="g"),
        partial(StratifiedKFold, by="g"),
        partial(TimeSeriesFolds, column="t"),
    ):
        with pytest.raises(WrongTypeError, match=f"folds: `{folds}` is .* expected a whole number"):
            make(folds=folds)


@pytest.mark.parametrize("span", ["3d", True])
def test_a_span_is_a_timedelta_or_a_number(span: Any) -> None:
    for name in ("test", "gap", "train"):
        with pytest.raises(WrongTypeError, match=f"{name}: `{span}` is .* expected a timedelta or a number"):
            TimeSeriesFolds(column="t", **{name: span})


@pytest.mark.parametrize("dtype", [pl.Decimal(12, 1), pl.Int128, pl.UInt64, pl.Float64])
def test_numbers_of_any_type_are_times(dtype: Any) -> None:
    tenths = isinstance(dtype, pl.Decimal)
    frame = pl.DataFrame({"t": pl.Series([f"0.{n}" if tenths else str(n) for n in range(10)])}).cast(dtype)
    span = 0.3 if tenths else 3
    pairs = list(TimeSeriesFolds(column="t", folds=2, test=span, gap=span / 3).pairs(frame))
    rows = [[float(value) * (10 if tenths else 1) for value in fold.test["t"]] for fold in pairs]
    assert [[round(value) for value in each] for each in rows] == [[4, 5, 6], [7, 8, 9]]
    assert [fold.train.height for fold in pairs] == [3, 6]


def test_a_column_of_no_times_is_refused() -> None:
    for values, said in (
        ([["a"]], "List(String)` is not a column of times or numbers"),
        ([b"a"], "Binary` is not a column of times or numbers"),
        (["2013-01-01"], "String` is not a column of times or numbers. Parse it first"),
        (pl.Series([2**63], dtype=pl.UInt64), "UInt64` is not a column of times or numbers within 64 bits"),
    ):  # fmt: skip
        with pytest.raises(InvalidError, match=re.escape(said)):
            next(TimeSeriesFolds(column="t", folds=1).pairs(pl.DataFrame({"t": values})))


@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        ([1, 2, 3], {"test": timedelta(days=1)}, "a number, as `t` is Int64"),
        ([date(2013, 1, 1)], {"test": 1}, "a timedelta, as `t` is Date"),
        ([date(2013, 1, 1)], {"test": timedelta(hours=1)}, "a number of days"),
        ([1, None], {}, "a time in every row"),
        ([1.0, float("nan")], {}, "a time in every row"),
        (["a"], {}, "a column of times or numbers"),
        ([1, 2], {"folds": 5}, "fold 1 has none to test on"),
        ([1, 9], {"test": 1, "gap": 9}, "has none to train on"),
        ([], {}, "the table has none"),
    ],
)
def test_what_folds_can_not_be_made_of_is_named(values: list[Any], arguments: dict[str, Any], message: str) -> None:
    frame = pl.DataFrame({"t": values}) if values else pl.DataFrame(schema={"t": pl.Int64})
    with pytest.raises(InvalidError, match=message):
        list(TimeSeriesFolds(**{"column": "t", "folds": 1, **arguments}).pairs(frame))


def test_unknown_columns_are_named() -> None:
    for rule in (TimeSeriesFolds(column="tim"), StratifiedKFold(by="tim"), KFold(key="tim"), GroupKFold(key="tim")):
        with pytest.raises(NotFoundError, match="Nearest: time"):
            list(rule.pairs(pl.DataFrame({"time": [1]})))


def test_a_fold_that_no_row_fell_to_is_told(caplog: pytest.LogCaptureFixture) -> None:
    KFold(3, key="g").apply(framed([1, 1, 1, 1]))
    assert "of 4 rows none fell to `fold_" in caplog.text
