"""The backfill takes frames as people have them: types of values, keys and times, nulls, and what is missing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.features.aggregation import EntityState, agg, aggregate_as_of, aggregation

NOON = datetime(2024, 5, 1, 12)
COLUMNS: dict[str, Any] = {"keys": {"who": "who"}, "at": "at", "event_time": "at", "event_id": "id"}


def events_of(values: list[Any], dtype: Any = None, **more: Any) -> pl.DataFrame:
    """One event a minute before noon, the newest last."""
    count = len(values)
    times = [NOON - timedelta(minutes=count - place) for place in range(count)]
    ids = [f"e{place}" for place in range(count)]
    return pl.DataFrame({"who": [1] * count, "at": times, "id": ids, "v": pl.Series(values, dtype=dtype)} | more)


ROWS = pl.DataFrame({"who": [1, 2], "at": [NOON, NOON]})


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (pl.Int8, [-128, 127, None, 127]), (pl.UInt64, [2**64 - 1, 0, 2**63, None]), (pl.Float32, [0.1, -0.5, 0.1]),
        (pl.Boolean, [True, False, None, True]), (pl.String, ["b", "", None, "ab", "b"]), (pl.Binary, [b"\0", b"a", b"a"]),
        (pl.Categorical, ["b", "a", "b"]), (pl.Enum(["z", "a"]), ["z", "a", "z"]), (pl.Date, [date(1969, 7, 20), None]),
        (pl.Datetime("ms"), [NOON, NOON - timedelta(days=40_000)]), (pl.Datetime("ns", "Europe/Vienna"), [NOON, None]),
        (pl.Duration("ms"), [timedelta(days=-3), timedelta(seconds=5)]), (pl.Decimal(12, 3), [Decimal("-1.250"), Decimal(7)]),
        (pl.List(pl.Int64), [[1], None, []]), (pl.Int64, [None, None]),
    ],
)  # fmt: skip
def test_values_of_every_type_come_out_as_online(dtype: Any, values: list[Any]) -> None:
    events = events_of(values, dtype)
    named = str(dtype)
    spec = [agg.count("v", "1h")]
    if "List" not in named:
        spec += [agg.min("v", "1h"), agg.max("v", "1h"), agg.last("v", "1h"), agg.last("v", "1h", n=2).named("seen")]
        spec += [agg.distinct("v", "1h"), agg.top_k("v", "1h", k=2), agg.top_k("v", "1h", k=2, by="value").named("big")]
    numbers = any(kind in named for kind in ("Int", "Float", "Bool", "Decimal"))
    if (numbers or "Duration" in named) and "List" not in named and dtype is not pl.UInt64:
        spec += [agg.sum("v", "1h")]
    if numbers and "List" not in named:
        spec += [agg.mean("v", "1h"), agg.std("v", "1h")]
    from mainspring.artifacts.table import schema_of

    held = aggregation(spec, {"v": schema_of(events.select("v"))[0][1]})
    found = aggregate_as_of(ROWS, events, held, **COLUMNS)
    state = EntityState(held)
    for row in events.iter_rows(named=True):
        state.update(row["id"], int(row["at"].replace(tzinfo=UTC).timestamp()) * 1_000_000, {"v": row["v"]})
    assert found.to_dicts()[0] == state.read(int(NOON.replace(tzinfo=UTC).timestamp()) * 1_000_000)
    assert found.to_dicts()[1] == EntityState(held).read(0)


def test_dtypes_are_those_that_are_told() -> None:
    events = events_of([Decimal("1.25"), Decimal("2.50")], pl.Decimal(10, 2))
    spec = [agg.sum("v", "1h"), agg.mean("v", "1h"), agg.max("v", "1h"), agg.last("v", "1h", n=1).named("seen")]
    found = aggregate_as_of(ROWS, events, spec, **COLUMNS)
    assert list(found.schema.values()) == [pl.Decimal(38, 2), pl.Float64, pl.Decimal(10, 2), pl.List(pl.Decimal(10, 2))]
    assert found.row(0) == (Decimal("3.75"), 1.875, Decimal("2.50"), [Decimal("2.50")])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pl.Series([1, 2], dtype=pl.Int8), pl.Series([1], dtype=pl.UInt64)), (pl.Series(["a", "b"]), pl.Series(["a"])),
        (pl.Series([b"a", b"\0"]), pl.Series([b"a"])), (pl.Series(["a", "b"], dtype=pl.Categorical), pl.Series(["a"])),
        (pl.Series([UUID(int=1).bytes, UUID(int=2).bytes]), pl.Series([UUID(int=1).bytes])),
        (pl.Series([date(2024, 1, 1), None]), pl.Series([date(2024, 1, 1)])),
    ],
)  # fmt: skip
def test_keys_of_every_type_meet(ours: pl.Series, theirs: pl.Series) -> None:
    rows = pl.DataFrame({"who": ours, "at": [NOON, NOON]})
    found = aggregate_as_of(rows, events_of([3]).with_columns(who=theirs), [agg.sum("v", "1h")], **COLUMNS)
    assert found["v_sum_1h"].to_list() == [3, None]


def test_keys_are_composite_or_none() -> None:
    events = events_of([1, 2, 4, 8]).with_columns(who=pl.Series([1, 1, 2, 2]), where=pl.Series(["a", None, "a", "b"]))
    rows = pl.DataFrame({"x": [1, 2, 2, 1, None], "y": ["a", "b", "a", None, "a"], "at": [NOON] * 5})
    found = aggregate_as_of(rows, events, [agg.sum("v", "1h")], **COLUMNS | {"keys": {"x": "who", "y": "where"}})
    assert found["v_sum_1h"].to_list() == [1, 8, 4, None, None]
    found = aggregate_as_of(rows.head(1), events, [agg.sum("v", "1h")], **COLUMNS | {"keys": {}})
    assert found["v_sum_1h"].to_list() == [15]


def test_times_of_any_unit_and_zone_are_instants() -> None:
    events = events_of([1, 2, 4]).with_columns(
        pl.col("at").cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone("Asia/Tokyo")
    )
    local = ROWS.with_columns(pl.col("at").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"))
    found = aggregate_as_of(local, events, [agg.sum("v", "5m")], **COLUMNS)
    assert found["v_sum_5m"].to_list() == [7, None]
    days = pl.DataFrame({"who": [1, 1], "at": [date(2024, 5, 2), date(2024, 5, 1)]})
    assert aggregate_as_of(days, events, [agg.count(windows="1d")], **COLUMNS)["count_1d"].to_list() == [3, 0]


def test_what_was_not_known_yet_is_not_seen_unless_the_guard_is_off() -> None:
    events = events_of([1, 2, 4], created=[NOON, NOON + timedelta(microseconds=1), NOON - timedelta(minutes=1)])
    spec = [agg.sum("v", "1h"), agg.last("v", "1h")]
    guarded = aggregate_as_of(ROWS.head(1), events, spec, created_time="created", **COLUMNS)
    leaking = aggregate_as_of(ROWS.head(1), events, spec, created_time="created", guard=False, **COLUMNS)
    assert (guarded.row(0), leaking.row(0)) == ((5, 4), (7, 4))


@pytest.mark.parametrize("guard", [True, False])
def test_of_two_events_with_one_id_and_time_the_first_created_counts(guard: bool) -> None:
    created = pl.Series([NOON, NOON - timedelta(days=1)])
    twice = events_of([1, 2]).with_columns(at=NOON, id=pl.lit("a"), created=created)
    found = aggregate_as_of(ROWS, twice, [agg.sum("v", "1h")], created_time="created", guard=guard, **COLUMNS)
    assert found["v_sum_1h"].to_list() == [2, None]


def test_no_rows_and_no_events_keep_the_columns() -> None:
    spec = [
        agg.count(windows="1h"),
        agg.last("v", "1h"),
        agg.top_k("v", "1h", k=2),
        agg.std("v", "1h"),
        agg.distinct("v", "1h"),
    ]
    events = events_of([1])
    nobody = aggregate_as_of(ROWS, events.clear().lazy(), spec, **COLUMNS)
    assert nobody.rows() == [(0, None, [], None, 0)] * 2
    assert aggregate_as_of(ROWS.clear(), events, spec, **COLUMNS).schema == nobody.schema
    assert aggregate_as_of(ROWS.lazy(), events, [], **COLUMNS).width == 0


def test_a_sum_beyond_64_bits_is_an_error_and_one_that_comes_back_is_not() -> None:
    spec = [agg.sum("v", ["1h", "5m"])]
    assert aggregate_as_of(ROWS, events_of([2**63 - 1, 1, -1]), spec, **COLUMNS).row(0) == (2**63 - 1,) * 2
    with pytest.raises(
        InvalidError, match=r"v_sum_1h: the sum of `v`: `9223372036854775808` is not an integer of 64 bits"
    ):
        aggregate_as_of(ROWS, events_of([2**63 - 1, 1]), spec, **COLUMNS)


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"event_time": "time"}, NotFoundError, "The event time has no column `time`"),
        ({"event_time": "v"}, WrongTypeError, "The event time `v`"),
        ({"event_time": "gap"}, InvalidError, "The event time `gap`: `null in 1 row` is not an instant"),
        ({"created_time": "gap"}, InvalidError, "The created time `gap`: `null in 1 row`"),
        ({"event_id": "hole"}, InvalidError, "The event id `hole`: `null in 2 rows`"),
        ({"keys": {"who": "id"}}, InvalidError, "rows.who: `Int64` is not the type of the history's `id`"),
        ({"keys": {"whom": "who"}}, NotFoundError, "The key has no column `whom`. Nearest: who."),
        ({"at": "when"}, NotFoundError, "The instant has no column `when`"),
    ],
)
def test_what_is_wrong_with_a_frame_is_named(changes: dict[str, Any], error: type[Exception], told: str) -> None:
    events = events_of([1, 2, 3], gap=[NOON, None, NOON], hole=["a", None, None])
    with pytest.raises(error, match=told):
        aggregate_as_of(ROWS, events, [agg.sum("v", "1h")], **COLUMNS | changes)
