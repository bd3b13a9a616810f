"""The join agrees with an oracle on thousands of histories, and says what it was given that can't be joined."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import InvalidError, NotFoundError
from mainspring.features.history import Joined, Values, join_as_of, join_partitioned
from mainspring.features.history.keys import numbered
from mainspring.features.history.known import last_at_most
from tests.features.history.oracle import ENTITIES, Answer, Case, answers, case_of, counts

SEEDS = 260
DAY = 86_400_000_000


def given_by(values: Values) -> list[Answer]:
    rows = values.columns.rows() if values.columns.width else [()] * len(values.status)
    return [Answer(*each) for each in zip(rows, values.event_time, values.status, strict=True)]


def in_parts(case: Case, partitions: int, batch_rows: int) -> tuple[list[Answer], Any]:
    rows, history = case.rows, case.history
    with join_partitioned(rows, history, **case.arguments, partitions=partitions, batch_rows=batch_rows) as joined:
        found = list(joined.batches())
        assert [len(each.status) for each in found[:-1]] == [batch_rows] * (len(found) - 1)
        return [answer for each in found for answer in given_by(each)], joined.report


def test_the_generated_histories_are_enough() -> None:
    assert SEEDS * ENTITIES >= 2_000


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS // 4))
def test_every_row_gets_what_the_oracle_says(first: int) -> None:
    for seed in range(first, first + SEEDS // 4):
        case = case_of(seed)
        joined = join_as_of(case.rows, case.history, **case.arguments)
        assert given_by(joined) == answers(case), seed
        assert joined.columns.schema == case.history.select(case.arguments["columns"]).schema
        assert joined.event_time.dtype == case.history.schema["ts"]


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS // 2))
def test_the_report_counts_what_the_oracle_counts(first: int) -> None:
    for seed in range(first, first + SEEDS // 2, 3):
        case = case_of(seed)
        report, expected = join_as_of(case.rows, case.history, **case.arguments).report, counts(case)
        statuses = expected["statuses"]
        assert (report.found, report.unknown, report.outside_ttl) == tuple(
            statuses[name] for name in ("PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE")
        )
        assert report.rows == case.rows.height
        assert report.nulls == expected["nulls"]
        guard, ages = report.guard, expected["ages"]
        assert guard.possible == (case.arguments["created_time"] is not None)
        # A tie that is taken instead has the same values for the oracle if both are null.
        assert (guard.lost, guard.changed) == (expected["lost"], guard.replaced + guard.lost)
        assert guard.replaced >= expected["replaced"]
        assert (report.age is None) == (not ages)
        if report.age is not None:
            assert (report.age.min_us, report.age.max_us) == (ages[0], ages[-1])
            median = ages[(len(ages) + 1) // 2 - 1]
            assert median * 127 / 128 - 1 <= report.age.quantiles_us["p50"] <= median


@pytest.mark.parametrize("partitions", [1, 3])
def test_parts_give_the_same_in_the_rows_order(partitions: int) -> None:
    for seed in range(partitions, SEEDS, 26):
        case = case_of(seed)
        whole = join_as_of(_stored(case).rows, _stored(case).history, **case.arguments)
        found, report = in_parts(_stored(case), partitions, 25)
        assert found == given_by(whole) == answers(case), seed
        assert report == whole.report


def _stored(case: Case) -> Case:
    """The case without UUID objects in the history, which no file can hold."""
    texts = {
        name: pl.Series(name, [None if value is None else str(value) for value in case.history[name]], pl.String)
        for name, kind in case.history.schema.items()
        if kind == pl.Object
    }
    return case._replace(history=case.history.with_columns(**texts))


def test_local_hours_that_repeat_or_are_missing_are_instants() -> None:
    utc = pl.Series([datetime(2013, 10, 27, 0, 30), datetime(2013, 10, 27, 1, 30), datetime(2013, 3, 31, 1, 30)])
    local = utc.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    assert local[0].time() == local[1].time()  # half past two, twice
    history = pl.DataFrame({"k": [1, 1], "ts": local[:2], "v": ["first", "second"]})
    rows = pl.DataFrame({"k": [1, 1, 1], "at": utc - pl.Series([timedelta(0)] * 3)})
    joined = join_as_of(rows, history, keys={"k": "k"}, at="at", event_time="ts", columns=["v"])
    assert joined.columns["v"].to_list() == ["first", "second", None]


def test_values_of_any_type_pass_unharmed(tmp_path: Any) -> None:
    history = pl.DataFrame({
        "k": [1, 2], "ts": [datetime(2013, 1, 1)] * 2,
        "embedding": pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float32, 2)), "list": [["a"], []],
        "struct": [{"a": 1, "b": None}, None], "category": pl.Series(["x", "y"], dtype=pl.Categorical),
        "enum": pl.Series(["b", None], dtype=pl.Enum(["a", "b"])), "price": [Decimal("1.50"), Decimal("-2.25")],
        "span": [timedelta(days=1), None], "day": [date(2013, 1, 1)] * 2, "raw": [b"\0", b""], "nan": [float("nan"), -0.0],
        "none": [None, None],
    })  # fmt: skip
    rows = pl.DataFrame({"k": [2, 3, 1, 2], "at": [datetime(2014, 1, 1, tzinfo=UTC)] * 4})
    columns = history.columns[2:]
    expected = history.select(pl.col(columns).gather(pl.Series([1, None, 0, 1])))
    arguments: dict[str, Any] = {"keys": {"k": "k"}, "at": "at", "event_time": "ts", "columns": columns}
    joined = join_as_of(rows, history.lazy(), **arguments)
    assert joined.columns.equals(expected)
    assert joined.columns.schema == history.select(columns).schema
    assert joined.statuses("list").to_list() == ["PRESENT", "NOT_FOUND", "PRESENT", "PRESENT"]
    assert joined.statuses("struct").to_list() == ["NULL_VALUE", "NOT_FOUND", "PRESENT", "NULL_VALUE"]
    with join_partitioned(rows.lazy(), history.lazy(), **arguments, partitions=2, batch_rows=3) as parts:
        found = [batch.columns for batch in parts.batches()]
        assert pl.concat(found).equals(expected)
        assert found[0].schema == history.select(columns).schema
        assert parts.rows == 4


def test_a_row_that_became_known_later_is_not_seen_and_counted() -> None:
    days = [datetime(2013, 1, day) for day in range(1, 5)]
    history = pl.DataFrame(
        {"k": [1, 1, 2], "ts": [days[0], days[1], days[0]], "made": [days[0], days[3], days[3]], "v": [1, 2, 3]}
    )
    rows = pl.DataFrame({"k": [1, 2, 1], "at": [days[2], days[2], days[3]]})
    joined = joined_by(rows, history, created_time="made")
    assert joined.columns["v"].to_list() == [1, None, 2]
    guard = joined.report.guard
    assert (guard.changed, guard.replaced, guard.lost) == (2, 1, 1)
    leaking = joined_by(rows, history, created_time="made", guard=False)
    assert leaking.columns["v"].to_list() == [2, 3, 2]
    assert (leaking.report.guard.possible, leaking.report.guard.on, leaking.report.guard.changed) == (True, False, 0)
    assert not joined_by(rows, history).report.guard.possible


def joined_by(rows: pl.DataFrame, history: pl.DataFrame, **more: Any) -> Joined:
    return join_as_of(rows, history, keys={"k": "k"}, at="at", event_time="ts", columns=["v"], **more)


ROWS = pl.DataFrame({"k": [1], "at": [datetime(2013, 1, 1)]})
HISTORY = pl.DataFrame({"k": [1], "ts": [datetime(2013, 1, 1)], "v": [1]})


@pytest.mark.parametrize(
    ("rows", "history", "said"),
    [
        (ROWS, HISTORY.with_columns(k=pl.lit("a")), "rows.k: `Int64` is not the type of the history's `k`, String"),
        (ROWS.with_columns(k=1.5), HISTORY.with_columns(k=1.5), "rows.k: `Float64` is not a type that can be a key"),
        (ROWS, pl.concat([HISTORY, HISTORY.with_columns(ts=None)] * 2, how="vertical_relaxed"), "history.ts: `2 nulls`"),
        (ROWS.with_columns(at=pl.lit(None, pl.Date)), HISTORY, "rows.at: `1 null`"),
        (ROWS.with_columns(at=pl.lit(5)), HISTORY, "rows.at: `Int32` is not a Datetime or a Date"),
        (ROWS, HISTORY.rename({"v": "w"}), "The history has no column `v`"),
        (ROWS.drop("k"), HISTORY, "The table of rows has no column `k`"),
        (ROWS.with_columns(k=pl.Series([object()], dtype=pl.Object)), HISTORY, "is not a key"),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_is_named(rows: pl.DataFrame, history: pl.DataFrame, said: str) -> None:
    with pytest.raises((InvalidError, NotFoundError)) as memory:
        joined_by(rows, history)
    assert said in str(memory.value)
    with pytest.raises(type(memory.value)) as disk:
        join_partitioned(rows, history, keys={"k": "k"}, at="at", event_time="ts", columns=["v"], batch_rows=1)
    assert str(disk.value) == str(memory.value)


@pytest.mark.parametrize("wrong", [{"ttl_us": -1}, {"keys": {}}])
def test_arguments_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match=next(iter(wrong))):
        join_as_of(ROWS, HISTORY, **{"keys": {"k": "k"}, "at": "at", "event_time": "ts", "columns": ["v"], **wrong})
    with pytest.raises(InvalidError, match="partitions"):
        join_partitioned(ROWS, HISTORY, keys={"k": "k"}, at="at", event_time="ts", columns=["v"], partitions=0)


@pytest.mark.parametrize("kind", [pl.Null, pl.UInt64])
def test_keys_that_cannot_be_there_are_unknown(kind: Any) -> None:
    value = None if kind == pl.Null else 2**64 - 1
    rows = ROWS.with_columns(k=pl.lit(value, kind))
    assert joined_by(rows, HISTORY).status.to_list() == ["NOT_FOUND"]
    assert joined_by(ROWS, HISTORY.with_columns(k=pl.lit(value, kind))).status.to_list() == ["NOT_FOUND"]
    assert joined_by(rows, HISTORY.with_columns(k=pl.lit(value, kind))).report.unknown == (kind == pl.Null)


@pytest.mark.parametrize("kind", [pl.Int128, pl.UInt128])
def test_keys_of_128_bits_are_told_apart(kind: Any) -> None:
    values = [0, 1, 2**64, 2**64 + 1, 2**127 - 1] + ([2**127, 2**128 - 1] if kind == pl.UInt128 else [-1, -(2**127)])
    keys, at = pl.Series("k", values, kind), datetime(2013, 1, 1)
    history = pl.DataFrame({"k": keys.reverse(), "ts": at, "v": range(len(keys))})
    rows = pl.DataFrame({"k": keys, "at": at})
    wanted = list(reversed(range(len(keys))))
    assert joined_by(rows, history).columns["v"].to_list() == wanted
    with join_partitioned(
        rows, history, keys={"k": "k"}, at="at", event_time="ts", columns=["v"], partitions=3
    ) as parts:
        assert [value for batch in parts.batches() for value in batch.columns["v"]] == wanted


def test_columns_are_called_as_they_like() -> None:
    """What is called in between never meets what a user calls a column."""
    names = ["key 0", "_key 0", "key 1", "pile", "row", "batch", "at", "number", "answer 0", "event", "position"]
    rows = pl.DataFrame({"number": [1, 10**12], "position": [1, 2], "event": [datetime(2013, 1, 2)] * 2})
    history = pl.DataFrame({name: [3, 4] for name in names}).with_columns(
        pl.Series("row", rows["number"]), pl.Series("batch", [1, 2]), pl.Series("key 0", [datetime(2013, 1, 1)] * 2)
    )
    by: dict[str, Any] = {"keys": {"number": "row", "position": "batch"}, "at": "event", "event_time": "key 0"}
    values = join_as_of(rows, history, **by, columns=names).columns
    assert values.equals(history.select(names))
    with join_partitioned(rows, history, **by, columns=names, partitions=2) as parts:
        assert [batch.columns.equals(values) for batch in parts.batches()] == [True]


def test_keys_called_as_numbers_are_numbered() -> None:
    keys = pl.DataFrame({"number": ["a", "b"]})
    assert [found.tolist() for found in numbered(keys, keys.reverse())] in ([[0, 1], [1, 0]], [[1, 0], [0, 1]])


def test_tables_without_rows_join() -> None:
    assert joined_by(ROWS, HISTORY.clear()).status.to_list() == ["NOT_FOUND"]
    nothing = joined_by(ROWS.clear(), HISTORY)
    assert (nothing.columns.shape, nothing.report.age, nothing.report.coverage) == ((0, 1), None, None)
    with join_partitioned(
        ROWS.clear(), HISTORY.clear(), keys={"k": "k"}, at="at", event_time="ts", columns=["v"], partitions=3
    ) as parts:
        assert [batch.columns.schema for batch in parts.batches()] == [HISTORY.select("v").schema]


def test_few_rows_of_a_long_history_get_what_many_get() -> None:
    case = case_of(7)
    some = case._replace(rows=case.rows[:3])
    assert given_by(join_as_of(some.rows, some.history, **some.arguments)) == answers(case)[:3]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.data())
def test_the_last_value_within_a_bound_is_found(values: list[int], data: st.DataObject) -> None:
    starts = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=20))
    bounds = data.draw(st.lists(st.integers(-1, 9), min_size=len(starts), max_size=len(starts)))
    slow = [
        max((at for at in range(start + 1) if values[at] <= bound), default=-1)
        for start, bound in zip(starts, bounds, strict=True)
    ]
    assert last_at_most(np.array(values), np.array(starts), np.array(bounds)).tolist() == slow
