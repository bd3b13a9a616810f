"""Each kind of check: what fails it, alone and over batches, and that a plain count agrees."""

from __future__ import annotations

import math
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.plugins import register_plugin_function

from mainspring import clock
from mainspring.data import Check, CheckResult, check, dataset, validate
from mainspring.data.validation import validators
from mainspring.data.validation.expressions import formula, is_row_wise, serialised
from mainspring.data.validation.validators import repeats
from mainspring.errors import InvalidError
from mainspring.workspace import Workspace

FRAME = pl.DataFrame(
    {
        "n": [1, 2, 2, None, 5],
        "text": ["a", "bb", "ccc", None, ""],
        "price": [1.0, 1.25, 1.234, None, float("nan")],
        "items": [[1], [], [1, 2], None, [3]],
        "day": [date(2013, 1, 1), date(2013, 1, 3), date(2013, 1, 2), None, date(2013, 2, 1)],
    }
)


class Standing:
    """A clock that stands."""

    def now_us(self) -> int:
        return clock.to_us(datetime(2013, 1, 6, tzinfo=UTC))


def one(wanted: Check, frame: Any = FRAME, **options: Any) -> CheckResult:
    (result,) = validate(frame, [wanted], **options).results
    return result


@pytest.mark.parametrize(
    ("wanted", "failing"),
    [
        (check.not_in("text", ["a", "bb"]), 2),
        (check.length("text", 1, 2), 2),
        (check.length("text", at_least=1), 1),
        (check.length("items", at_most=1), 1),
        (check.decimals("price", 2), 1),
        (check.not_null("price", nan=False), 2),
        (check.increasing("n"), 0),
        (check.increasing("n", strictly=True), 1),
        (check.increasing("day"), 1),
        (check.between("n", 1, 5, closed="none"), 2),
        (check.between("n", 1, 5, closed="left"), 1),
        (check.between("n", high=5, closed="left"), 1),
        (check.between("day", "2013-01-01", "2013-01-31"), 1),
        (check.unique("n", keep="first"), 1),
        (check.unique("n", keep="last"), 1),
        (check.unique(["n", "day"]), 0),
        (check.expression("sql", "n < 3 or day is null"), 1),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else "",
)
def test_each_kind_counts_the_rows_that_fail(wanted: Check, failing: int) -> None:
    assert (one(wanted).failing, one(wanted).passed) == (failing, failing == 0)
    lazily = one(wanted, FRAME.lazy(), batch_rows=2)
    assert (lazily.failing, lazily.examples) == (failing, one(wanted).examples)


def test_an_optional_check_passes_without_its_column() -> None:
    assert one(Check(kind="not_null", name="x", columns=("nothing",), optional=True)).passed
    assert not one(check.not_null("nothing")).passed


def test_other_columns_are_named() -> None:
    assert one(check.only_columns(["n", "text", "price"])).message == "there are also 'items', 'day'"
    assert one(check.only_columns(FRAME.columns)).passed


def test_the_order_of_columns_is_that_of_those_that_are_there() -> None:
    assert one(check.column_order(["n", "other", "price", "day"])).passed
    assert one(check.column_order(["price", "n", "day"])).message == "'n' stands where 'price' is expected"


@pytest.mark.parametrize("batch_rows", [2, 100])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2, 5], ""), ([1, 2, 5, 7, 8], "there is no 7, 8"), ([1, 2], "there is also 5"),
        ([7, 2, 5], "there is also 1; there is no 7"),
    ],
)  # fmt: skip
def test_distinct_values_are_those_and_no_others(values: list[int], message: str, batch_rows: int) -> None:
    assert one(check.distinct("n", values), FRAME.lazy(), batch_rows=batch_rows).message == message
    days = check.distinct("day", ["2013-01-01", date(2013, 1, 3), date(2013, 1, 2), "2013-02-01"])
    assert one(days, FRAME.lazy(), batch_rows=batch_rows).passed


def test_names_of_checks_count_in_words() -> None:
    found = [
        check.row_count(1), check.row_count(2, 1_000), check.decimals("x", 1), check.fresh("t", timedelta(days=1)),
        check.fresh("t", timedelta(hours=36)), check.length("x", 1),
    ]  # fmt: skip
    assert [each.name for each in found] == [
        "at least 1 row", "at least 2 and at most 1,000 rows", "x at most 1 decimal", "t within 1 day",
        "t within 36 hours", "length of x at least 1",
    ]  # fmt: skip


def test_bounds_fit_columns_with_zones_and_without() -> None:
    times = pl.DataFrame({"at": [datetime(2013, 1, 1, 12)]})
    aware = times.with_columns(pl.col("at").dt.replace_time_zone("Europe/Paris"))
    assert one(check.between("at", "2013-01-01T12:00:00"), times).passed
    assert one(check.between("at", "2013-01-01T12:00:00"), aware).passed
    assert one(check.between("at", datetime(2013, 1, 1, 11, tzinfo=UTC)), aware).passed
    assert not one(check.between("at", datetime(2013, 1, 1, 11, 1, tzinfo=UTC)), aware).passed
    assert "without a zone" in one(check.between("at", datetime(2013, 1, 1, tzinfo=UTC)), times).message
    assert "ISO form" in one(check.between("at", "yesterday"), times).message


def test_freshness_goes_by_the_clock_of_the_domain() -> None:
    frame = pl.DataFrame({"at": [datetime(2013, 1, 1), datetime(2013, 1, 5)], "day": [date(2013, 1, 5), None]})
    token = clock.clock.set(Standing())
    try:
        for column in ("at", "day"):
            assert one(check.fresh(column, timedelta(days=1)), frame).passed
            late = one(check.fresh(column, timedelta(hours=23)), frame.lazy(), batch_rows=1)
            assert late.message == "the newest is 2013-01-05T00:00:00+00:00, 1 day ago"
    finally:
        clock.clock.reset(token)
    assert one(check.fresh("at", timedelta(days=1)), frame.clear()).message == "the column has no time"
    assert "not a time" in one(check.fresh("n", timedelta(days=1))).message


def test_keys_are_held_to_the_newest_version_of_another_dataset(workspace: Workspace) -> None:
    planes = dataset("planes")
    planes.commit(pl.DataFrame({"tail": ["N1", "N2"], "maker": ["A", "B"]}))
    flights = pl.DataFrame({"tail": ["N1", "N3", None, "N3"], "maker": ["A", "A", "A", None]})
    wanted = check.in_dataset("tail", "planes", "tail", severity="quarantine")
    found = one(wanted, flights)
    assert (found.failing, found.against, found.examples) == (2, "planes/1", ({"tail": "N3"}, {"tail": "N3"}))
    pairs = check.in_dataset(["tail", "maker"], "planes")
    assert one(pairs, flights).failing == 1
    assert one(pairs, flights.lazy(), batch_rows=1).failing == 1

    report = validate(flights, [wanted])
    planes.append(pl.DataFrame({"tail": ["N3"], "maker": ["C"]}))
    assert one(wanted, flights).passed
    assert one(check.in_dataset("tail", "planes/1"), flights).failing == 2
    assert report.split()[1].height == 2  # by the version that the report names

    assert "No dataset `plains`" in one(check.in_dataset("tail", "plains"), flights).message
    assert "can't be applied" in one(check.in_dataset("tail", "planes", "tial"), flights).message


def test_keys_of_other_types_are_told_or_fitted(workspace: Workspace) -> None:
    dataset("ids").commit(pl.DataFrame({"id": [1, 2, 300]}))
    assert one(check.in_dataset("id", "ids"), pl.DataFrame({"id": [1, 7]}, schema={"id": pl.Int8})).failing == 1
    assert one(check.in_dataset("id", "ids"), pl.DataFrame({"id": ["1", "7"]})).failing == 1


BEFORE = pl.DataFrame({"x": [0.0, 10.0] * 50, "kind": ["a", "b"] * 50, "n": [None, 1] * 50})
AFTER = pl.DataFrame({"x": [1.0, 11.0] * 60, "kind": ["a", "c"] * 60, "n": [None, 1, 1] * 40})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (check.compare_previous("rows", change=0.2), ""),
        (check.compare_previous("rows", change=0.19), "120 rows, 100 before"),
        (check.compare_previous("nulls", "n", change=0.2), ""),
        (check.compare_previous("nulls", "n", change=0.1), "33.3 % null, 50 % before"),
        (check.compare_previous("mean", "x", change=0.2), ""),
        (check.compare_previous("mean", "x", change=0.1), "6, 5 before: 0.2 standard deviations"),
        (check.compare_previous("quantile", "x", change=0.2, quantile=0.9), ""),
        (check.compare_previous("quantile", "x", quantile=0.9), "11, 10 before: 0.2 standard deviations"),
        (check.compare_previous("categories", "kind", change=0.5), ""),
        (check.compare_previous("categories", "kind"), "1 new: `c`"),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else "",
)
def test_the_version_before_is_compared_with(wanted: Check, message: str) -> None:
    whole, lazily = one(wanted, AFTER, previous=BEFORE), one(wanted, AFTER.lazy(), previous=BEFORE, batch_rows=7)
    assert (whole.message, whole.passed) == (message, not message)
    assert (lazily.message, lazily.passed) == (message, not message)


def test_a_version_is_compared_with_its_parent_or_a_named_one(workspace: Workspace) -> None:
    rows = check.compare_previous("rows", change=0.1)
    table = dataset("t")
    first = table.commit(BEFORE)
    assert (one(rows, first).passed, one(rows, first).message) == (True, "there is no version before")
    second = table.commit(AFTER)
    assert (one(rows, second).passed, one(rows, second).against) == (False, "t/1")
    assert one(check.compare_previous("rows", against="t/2"), second).passed


@pytest.mark.parametrize("frame", [BEFORE.clear(), BEFORE.with_columns(x=None, n=None, kind=None)])
def test_comparing_with_nothing_is_an_answer(frame: pl.DataFrame) -> None:
    wanted = [check.compare_previous("mean", "x"), check.compare_previous("categories", "kind")]
    assert not any(result.passed for result in validate(AFTER, wanted, previous=frame).results)
    assert validate(frame, wanted, previous=frame).passed


def test_a_pattern_on_distinct_values_counts_the_same() -> None:
    texts = ["N1", "N22", "x", None, "", "N3 "] * 40_000
    frame = pl.DataFrame({"text": texts}).sample(fraction=1, shuffle=True, seed=1)
    assert repeats(frame, "text")
    found = one(check.matches("text", "^N[0-9]+$"), frame)
    assert found.failing == sum(text in ("x", "", "N3 ") for text in texts)
    assert len(found.examples) == 5
    categories = frame.with_columns(pl.col("text").cast(pl.Categorical))
    assert one(check.matches("text", "^N[0-9]+$"), categories).failing == found.failing
    assert not repeats(pl.DataFrame({"text": map(str, range(200_000))}), "text")


def test_the_key_of_a_row_is_in_its_examples() -> None:
    assert one(check.between("n", high=4), key="day").examples == ({"day": "2013-02-01", "n": 5},)
    assert one(check.expression("x", "n < 5")).examples == ({"n": 5},)


def test_a_function_of_python_is_no_record() -> None:
    def looked_up(values: pl.Series) -> pl.Series:
        return values > 1

    mapped = pl.col("n").map_batches(looked_up, return_dtype=pl.Boolean)
    with pytest.raises(InvalidError, match="a function of Python"):
        check.expression("mine", mapped)
    # What somebody else wrote into a file is not unpickled either.
    hidden = (mapped & True).meta.serialize(format="json")
    binary = serialised(pl.lit(math.nan)).partition(":")[0] + ":"
    packed = binary + b64encode((mapped & pl.lit(math.nan).is_nan()).meta.serialize(format="binary")).decode()
    for text in (hidden, packed):
        assert "a function of Python" in one(Check(kind="expression", name="x", formula=text)).message


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_recorded(number: float) -> None:
    wanted = pl.col("price").cast(pl.Float32).fill_null(number)
    kept = formula(serialised(wanted))
    assert repr(FRAME.select(kept)["price"].to_list()) == repr(FRAME.select(wanted)["price"].to_list())
    assert FRAME.select(kept).schema["price"] == pl.Float32
    assert is_row_wise(formula(serialised(pl.col("price") < number)))
    assert serialised(pl.col("price").fill_null(1.5)).startswith("{")  # as it always was


def test_a_plugin_is_no_record(tmp_path: Path) -> None:
    library = tmp_path / "evil.so"
    library.touch()
    called = register_plugin_function(plugin_path=library, function_name="f", args=[pl.col("n")])
    for hidden in (called, (called + 1).sum().over("day") > 2, pl.when(called).then(1), pl.col("n").sort_by(called)):
        written = Check(kind="expression", name="x", formula=hidden.meta.serialize(format="json"))
        assert "a function of Python, or of a plugin" in one(written).message


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"Alias":[]}', '{"Agg":{"Sum":[]}}', '{"Function":7}', '{"BinaryExpr":{"left":{"Column":"n"}}}',
             "polars:", "polars:gahM", "polars:?", '{"Literal":{"Series":[1,2,3]}}', '{"Later":{"input":{"Column":"n"}}}']
)  # fmt: skip
def test_what_is_no_expression_of_polars_cannot_be_applied(text: str) -> None:
    result = one(Check(kind="expression", name="x", formula=text))
    assert (result.stops, result.message[:20]) == (True, "it can't be applied:")


def test_what_polars_offers_of_its_own_is_recorded() -> None:
    n, text = pl.col("n"), pl.col("text")
    for kept in (
        n.sum().over("day", order_by="n") > 0, n.shift() < n, n.is_in([1, 2]), text.str.contains("x"), pl.len() > 1,
        (n.cast(pl.Float64) / n.std()).abs().round(2) < 9, n.rank() > 0, pl.struct("n", "text").is_duplicated(),
        pl.when(n > 1).then(True).otherwise(None), n.rolling_mean(2) < 5, n.sort_by("text").head(2).len() > 0,
        n == n.filter(n > 1).max(), pl.col("day").dt.year() > 2000, pl.any_horizontal(pl.all().is_null()),
    ):  # fmt: skip
        check.expression("kept", kept)


@pytest.mark.parametrize("formula", ["n - lag(n) over (order by day) < 3", "count(*) over (partition by text) < 2"])
def test_an_expression_over_other_rows_sees_all_batches(formula: str) -> None:
    wanted = check.expression("x", formula)
    assert one(wanted, FRAME.lazy(), batch_rows=1) == one(wanted)
    alike = check.expression("x", pl.len().over("n") < 2)
    assert one(alike, FRAME.lazy(), batch_rows=1) == one(alike)
    assert one(alike).failing == 2


def test_what_looks_at_one_row_at_a_time_is_known() -> None:
    texts = ["n < 3 and not text like 'a%'", "n is not null or text is null", "cast(n as float) between 0 and 1"]
    assert [is_row_wise(pl.sql_expr(text)) for text in texts] == [True] * 3
    n = pl.col("n")
    each = {
        str(expression): expression
        for expression in (
            n.fill_null(0), n.abs().clip(2, 4), (n * 1.5).round(1), pl.col("price").log().floor(), pl.coalesce("n", "price"),
            pl.max_horizontal("n", "price"), n.sqrt().sin(), n**2, -n, pl.col("items").list.len(), pl.struct("n", "text"),
            pl.struct("n", "text").struct.field("n"), pl.any_horizontal(n > 1, n.is_null()), n.sign(),
        )
    }  # fmt: skip
    assert [told for told, expression in each.items() if not is_row_wise(expression)] == []
    alone = pl.concat([row.select(**each) for row in FRAME.iter_slices(1)])
    assert alone.equals(FRAME.select(**each))
    others = [
        n.fill_null(n.mean()),
        n.clip(upper_bound=n.max()),
        pl.max_horizontal(n, n.max()),
        pl.col("items").explode(),
        pl.col("text").str.join(),
        n.shift() > 1,
        n > n.mean(),
        n.rank() > 1,
        n.cum_sum() > 1,
        n.is_duplicated(),
        pl.len() > 2,
        n.over("text") > 1,
    ]
    assert [is_row_wise(expression) for expression in others] == [False] * len(others)


def test_what_speaks_of_no_rows_cannot_set_rows_apart() -> None:
    with pytest.raises(InvalidError, match="It speaks of no single rows"):
        check.row_count(at_least=1, severity="quarantine")
    with pytest.raises(InvalidError, match="none for `rows`"):
        check.compare_previous("rows", "n")
    with pytest.raises(InvalidError, match="as many columns"):
        check.in_dataset(["a", "b"], "planes", "tail")


numbers = st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=40)


@given(numbers, st.integers(1, 7))
def test_batches_give_what_the_whole_gives(values: list[int | None], batch_rows: int) -> None:
    frame = pl.DataFrame({"n": values, "m": range(len(values))}, schema={"n": pl.Int64, "m": pl.Int64})
    wanted = [
        check.not_null("n"), check.unique("n"), check.unique(["n", "m"]), check.unique("n", keep="first"),
        check.increasing("n"), check.increasing("n", strictly=True), check.between("n", -1, 2), check.row_count(5),
    ]  # fmt: skip
    whole, lazily = validate(frame, wanted), validate(frame.lazy(), wanted, batch_rows=batch_rows)
    assert lazily == whole


@pytest.mark.parametrize("bucket_bytes", [1 << 27, 40, 1])
def test_keys_over_batches_are_counted_in_any_number_of_parts(
    bucket_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validators, "_BUCKET_BYTES", bucket_bytes)
    frame = pl.DataFrame({"a": [1, 2, 3, 1, None, None, 2, 2], "b": ["x", "y", "x", "x", "z", "z", "y", "q"]})
    for keep, failing in (("none", 6), ("first", 3), ("last", 3)):
        wanted = check.unique(["a", "b"], keep=keep)  # type: ignore[arg-type]  # one of the literals
        assert (one(wanted, frame.lazy(), batch_rows=3).failing, one(wanted, frame).failing) == (failing, failing)


@given(numbers)
def test_increasing_agrees_with_a_slow_obvious_count(values: list[int | None]) -> None:
    frame = pl.DataFrame({"n": values}, schema={"n": pl.Int64})
    present = [value for value in values if value is not None]
    falls = sum(now < before for before, now in pairwise(present))
    assert one(check.increasing("n"), frame).failing == falls
