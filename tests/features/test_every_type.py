"""A value of any type is the same wherever it is read: stored, trained on, computed on demand, and recomputed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.tables.type_names import name_of_type
from mainspring.errors import InvalidError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    Stream,
    VectorLog,
    agg,
    apply,
    feed,
    get_definition,
    materialize,
    store_training_set,
    training_set,
    verify,
)
from mainspring.features.parity.bits import same
from mainspring.streams import send
from mainspring.workspace import Workspace
from tests.features.conftest import Module, Ticks

pytestmark = pytest.mark.one_backend("values are bytes before a store has them")
NOON = datetime(2026, 3, 29, 1, 30, 0, 123_456, tzinfo=UTC)  # in Berlin the hour that daylight saving skips
LOCAL = NOON.replace(tzinfo=None)
POINT = pl.Struct({"x": pl.Float32, "at": pl.Datetime("us", "Asia/Kolkata"), "tags": pl.List(pl.String)})
COLUMNS: dict[str, tuple[Any, list[Any]]] = {
    "flag": (pl.Boolean, [True, False]),
    "small": (pl.Int8, [-128, 127]),
    "large": (pl.UInt64, [2**64 - 1, 0]),
    "half": (pl.Float16, [0.1, float("nan")]),
    "halves": (pl.Array(pl.Float16, 2), [[0.1, -0.0], [None, float("inf")]]),
    "single": (pl.Float32, [0.1, float("nan")]),
    "real": (pl.Float64, [-0.0, float("inf")]),
    "text": (pl.String, ["", "é\0\n"]),
    "data": (pl.Binary, [b"", b"\0\xff"]),
    "category": (pl.Categorical, ["b", "a"]),
    "choice": (pl.Enum(["low", "high"]), ["high", "low"]),
    "price": (pl.Decimal(20, 4), [Decimal("-12.3450"), Decimal("9999999999999999.9999")]),
    "day": (pl.Date, [date(1, 1, 1), date(9999, 12, 31)]),
    "clock": (pl.Time, [time(0), time(23, 59, 59, 999_999)]),
    "local": (pl.Datetime("ms"), [LOCAL.replace(microsecond=0), datetime(1969, 12, 31)]),  # of no zone
    "instant": (pl.Datetime("us", "UTC"), [NOON, datetime(1, 1, 2, tzinfo=UTC)]),
    "berlin": (pl.Datetime("us", "Europe/Berlin"), [NOON, NOON + timedelta(days=217)]),
    "fine": (pl.Datetime("ns", "America/New_York"), [NOON, NOON - timedelta(days=200)]),
    "span": (pl.Duration("us"), [timedelta(microseconds=-1), timedelta(days=400)]),
    "span_ms": (pl.Duration("ms"), [timedelta(milliseconds=-1), timedelta(0)]),
    "embedding": (pl.Array(pl.Float32, 2), [[0.1, -1.5], [float("nan"), 0.0]]),
    "counts": (pl.List(pl.Int64), [[1, None, 3], []]),
    "prices": (pl.List(pl.Decimal(10, 2)), [[Decimal("1.50"), None], []]),
    "days": (pl.List(pl.Date), [[date(2026, 1, 1), None], []]),
    "instants": (pl.List(pl.Datetime("us", "Europe/Berlin")), [[NOON, None], []]),
    "blobs": (pl.List(pl.Binary), [[b"\0", None], []]),
    "labels": (pl.List(pl.Categorical), [["b", None], []]),
    "nested": (pl.List(pl.List(pl.Int8)), [[[1], [], None], []]),
    "point": (POINT, [{"x": 0.1, "at": NOON, "tags": ["a", None]}, {"x": None, "at": None, "tags": []}]),
    "points": (pl.List(POINT), [[{"x": 0.1, "at": NOON, "tags": None}, None], []]),
    "deep": (pl.Struct({"p": pl.Struct({"n": pl.Int8, "d": pl.Time})}), [{"p": {"n": 1, "d": time(1)}}, {"p": None}]),
}  # fmt: skip
KEYS = [*"abc"]  # the values of the last are null


def columns() -> list[pl.Series]:
    return [pl.Series(name, [*values, None], dtype=dtype) for name, (dtype, values) in COLUMNS.items()]


def demanded(view: FeatureView) -> OnDemandView:
    request = {f"asked_{name}": name_of_type(pl.Series([], dtype=dtype).dtype) for name, (dtype, _) in COLUMNS.items()}
    of_request = {f"own_{name}": pl.col(f"asked_{name}") for name in COLUMNS}
    return OnDemandView("demanded", request=request, inputs=[view], features=of_request | {
        f"of_{name}": pl.coalesce(pl.col(name), pl.col(f"asked_{name}")) for name in COLUMNS
    })  # fmt: skip


def test_each_is_the_same_on_every_path(workspace: Workspace, ticks: Ticks) -> None:
    now, count = clock.from_us(ticks.now), len(KEYS)
    dataset("raw").commit(pl.DataFrame({"k": KEYS, "at": [now] * count}).with_columns(columns()))
    view = FeatureView("v", entity=Entity("k"), source="raw", event_time="at", features=[*COLUMNS])
    apply(FeatureService("s", [view, demanded(view)]))
    materialize("v")
    reader = FeatureReader(get_definition("service", "s"), workspace)
    entities = [
        {"k": key} | {f"asked_{name}": [*values, None][place] for name, (_, values) in COLUMNS.items()}
        for place, key in enumerate(KEYS)
    ]
    vectors = VectorLog(workspace, share=1).read(reader, entities, KEYS, at_us=ticks.now)
    rows = pl.DataFrame({"k": KEYS, "t": [now] * count}).with_columns(
        each.alias(f"asked_{each.name}") for each in columns()
    )
    found = training_set(rows, "s", time="t").frame
    stored = store_training_set(rows, "s", time="t", to="kept", partitions=2).version.to_polars()
    types = {field.name: field.dtype for field in reader.service.record.fields}
    given = {each.name: each.to_list() for each in columns()}
    for place, name in enumerate(reader.names):
        assert name_of_type(found.schema[name]) == name_of_type(stored.schema[name]) == types[name]
        expected = given[name.removeprefix("own_").removeprefix("of_")]
        for values in ([vector.values[place] for vector in vectors], found[name].to_list(), stored[name].to_list()):
            assert all(map(same, values, expected)), name
    report = verify("s")
    assert (report.mismatches, report.failed, report.verified) == ((), {}, count)


LISTS = pl.List(pl.Int64)
OF_NULLS: dict[str, pl.Expr] = {
    "differences": pl.col("l").list.diff(),  # Polars plans a list of integers, and gives one of nulls
    "inside": pl.struct(pl.col("l").list.diff().alias("inner"), "l"),
    "every": pl.col("l").list.gather_every(pl.col("n"), 0),
    "number": pl.col("n") + 1,
}


@pytest.mark.parametrize("values", [[None, None], [[], None], [[3, 5], None]])
def test_what_is_computed_of_nulls_alone_is_of_the_declared_type(
    workspace: Workspace, ticks: Ticks, values: list[Any]
) -> None:
    now, numbers = clock.from_us(ticks.now), [None, None]
    lists, ones = pl.Series("l", values, dtype=LISTS), pl.Series("n", numbers, dtype=pl.Int64)
    dataset("raw").commit(pl.DataFrame({"k": ["a", "b"], "at": [now] * 2}).with_columns(lists, ones))
    stored = FeatureView("v", entity=Entity("k"), source="raw", event_time="at", features=OF_NULLS)
    stream = Stream("events", {"k": "str", "l": "list[i64]", "n": "i64"})
    fed = FeatureView("w", entity=Entity("k"), source=stream, features=OF_NULLS)
    own = {f"own_{name}": formula for name, formula in OF_NULLS.items()}
    asked = OnDemandView("asked", request={"l": "list[i64]", "n": "i64"}, inputs=[], features=own)
    apply(FeatureService("s", [stored, asked]), FeatureService("of_stream", [fed]))
    materialize("v")
    send("events", [{"k": key, "l": value, "n": None} for key, value in zip("ab", values, strict=True)])
    assert [each.apart for each in feed("w")] == [0]
    reader = FeatureReader(get_definition("service", "s"), workspace)
    entities = [{"k": key, "l": value, "n": None} for key, value in zip("ab", values, strict=True)]
    vectors = VectorLog(workspace, share=1).read(reader, entities, ["1", "2"], at_us=ticks.now)
    rows = pl.DataFrame({"k": ["a", "b"], "t": [now] * 2}).with_columns(lists, ones)
    found = training_set(rows, "s", time="t").frame
    kept = store_training_set(rows, "s", time="t", to="kept", partitions=2).version.to_polars()
    types = {field.name: field.dtype for field in reader.service.record.fields}
    assert {name: name_of_type(found.schema[name]) for name in reader.names} == types
    assert kept.equals(found)
    assert kept.schema == found.schema
    assert [tuple(each.values) for each in vectors] == found.select(reader.names).rows()
    online = FeatureReader(get_definition("service", "of_stream"), workspace).read(entities)
    assert [tuple(each.values) for each in online] == found.select([*OF_NULLS]).rows()
    assert (verify("s").mismatches, verify("s").verified) == ((), 2)


BEYOND: dict[str, tuple[pl.Expr, str]] = {
    "time": (pl.from_epoch("n", time_unit="s"), r"\.x: `2534\d+` is not microseconds"),
    "list": (pl.concat_list(pl.from_epoch("n", time_unit="s")), r"\.x\[\]: `2534\d+` is not microseconds"),
    "struct": (pl.struct(pl.from_epoch("n", time_unit="s").alias("at")), r"\.x\.at: `2534\d+` is not microseconds"),
    "panic": (pl.lit("x").str.zfill(pl.col("n")), "Formatting argument out of range"),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_nobody_can_be_shown_and_what_polars_panics_at_is_refused_on_every_path(
    workspace: Workspace, ticks: Ticks, case: str
) -> None:
    formula, said = BEYOND[case]
    now, far = clock.from_us(ticks.now), 253_402_300_800  # the year 10000, in seconds
    dataset("raw").commit(pl.DataFrame({"k": ["a"], "at": [now], "n": [far]}))
    stored = FeatureView("v", entity=Entity("k"), source="raw", event_time="at", features={"x": formula})
    fed = FeatureView(
        "w", entity=Entity("k"), source=Stream("events", {"k": "str", "n": "i64"}), features={"x": formula}
    )
    apply(
        FeatureService("s", [OnDemandView("asked", request={"n": "i64"}, inputs=[], features={"x": formula})]),
        stored,
        fed,
    )
    send("events", [{"k": "a", "n": far}, {"k": "b", "n": 1}])
    rows = pl.DataFrame({"n": [far], "t": [now]})
    for attempt in (
        lambda: FeatureReader(get_definition("service", "s"), workspace).read([{"n": far}]),
        lambda: training_set(rows, "s", time="t"),
        lambda: materialize("v"),
    ):
        with pytest.raises(InvalidError, match=said):
            attempt()
    assert [(each.offset, each.apart) for each in feed("w")] == [(2, 1)]


FAR = {
    "milliseconds": pl.Series([2**60], dtype=pl.Int64).cast(pl.Datetime("ms")),
    "microseconds": pl.Series([2**60], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
    "days": pl.Series([1_767_225_600], dtype=pl.Int32).cast(pl.Date),
    "days of long ago": pl.Series([-800_000], dtype=pl.Int32).cast(pl.Date),
}


@pytest.mark.parametrize("kind", FAR)
def test_times_that_overflow_are_refused_wherever_they_stand(workspace: Workspace, ticks: Ticks, kind: str) -> None:
    now, far, usual = clock.from_us(ticks.now), FAR[kind], pl.Series([datetime(2026, 1, 1, tzinfo=UTC)])
    frame = pl.DataFrame({"k": ["a"], "n": [1]})
    dataset("values").commit(frame.with_columns(at=usual, x=far, l=far.implode(), s=pl.struct(at=far, eager=True)))
    dataset("events").commit(frame.with_columns(at=far))
    name = name_of_type(far.dtype)
    asked = OnDemandView("asked", request={"w": name}, inputs=[], features={"y": pl.col("w").dt.year()})
    views = [
        FeatureView(each, entity=Entity("k"), source="values", event_time="at", features=[each])
        for each in ("x", "l", "s")
    ]
    views.append(FeatureView("e", entity=Entity("k"), source="events", event_time="at", features=["n"]))
    views.append(
        FeatureView("g", entity=Entity("k"), source="events", event_time="at", features=[agg.count(windows="1h")])
    )
    usable = FeatureView("n", entity=Entity("k"), source="values", event_time="at", features=["n"])
    apply(*(FeatureService(f"s_{each.name}", [each]) for each in views), FeatureService("usable", [usable, asked]))
    for each in views:
        with pytest.raises(InvalidError, match=rf"{each.name}\.\w+\S*: `-?\d+` is not microseconds since 1970"):
            materialize(each.name)
        with pytest.raises(InvalidError, match=r"`-?\d+` is not microseconds since 1970"):
            training_set(frame.select("k", t=pl.lit(now)), f"s_{each.name}", time="t")
    assert materialize("n").stored == 1
    for columns, said in (((far, usual.cast(far.dtype)), "rows.t"), ((usual, far), "w")):
        rows = frame.select("k", t=columns[0], w=columns[1])
        with pytest.raises(InvalidError, match=rf"{said}: `-?\d+` is not microseconds since 1970"):
            training_set(rows, "usable", time="t")


@pytest.mark.parametrize(("value", "expected"), [(None, None), (0.5, [0.5])])
def test_a_function_of_nulls_alone_gives_the_declared_type(
    workspace: Workspace, ticks: Ticks, module: Module, value: float | None, expected: list[float] | None
) -> None:
    made = module("listing", """
        import polars as pl

        def listed(frame):
            return pl.DataFrame({"x": [None if each is None else [each] for each in frame["n"]]})
    """)  # fmt: skip
    view = OnDemandView("asked", request={"n": "f64"}, inputs=[], features={"x": "list[f64]"}, transform=made.listed)
    apply(FeatureService("s", [view]))
    online = FeatureReader(get_definition("service", "s"), workspace).read([{"n": value}])
    rows = pl.DataFrame({"n": [value], "t": [clock.from_us(ticks.now)]}, schema_overrides={"n": pl.Float64})
    found = training_set(rows, "s", time="t").frame
    assert (online[0].values, found["x"].to_list(), found.schema["x"]) == ([expected], [expected], pl.List(pl.Float64))


def test_a_function_that_gives_another_type_is_refused_on_both_paths(
    workspace: Workspace, ticks: Ticks, module: Module
) -> None:
    made = module("other", """
        import polars as pl

        def other(frame):
            return frame.select(x="n") if (frame["n"].max() or 0) < 9 else frame.select(x=pl.col("n").cast(pl.String))
    """)  # fmt: skip
    view = OnDemandView("asked", request={"n": "i64"}, inputs=[], features={"x": "i64"}, transform=made.other)
    apply(FeatureService("s", [view]))
    reader = FeatureReader(get_definition("service", "s"), workspace)
    assert reader.read([{"n": 8}])[0].values == [8]
    for attempt in (
        lambda: reader.read([{"n": 9}]),
        lambda: training_set(pl.DataFrame({"n": [9], "t": [clock.from_us(ticks.now)]}), "s", time="t"),
    ):
        with pytest.raises(InvalidError, match=r"asked\.x: `str` is not i64, its type in this version of the view"):
            attempt()


def test_a_function_that_gives_other_rows_of_one_is_told_how_many(workspace: Workspace, module: Module) -> None:
    made = module("unlike", """
        def unlike(frame):
            return frame.filter(frame["n"] > 0)
    """)  # fmt: skip
    view = OnDemandView("asked", request={"n": "i64"}, inputs=[], features={"n": "i64"}, transform=made.unlike)
    apply(FeatureService("s", [view]))
    with pytest.raises(InvalidError, match="`0 rows` is not 1 row, as given"):
        FeatureReader(get_definition("service", "s"), workspace).read([{"n": -1}])
