"""Training sets: several views, on-demand features, the guard, lineage, and what is refused. The join has its own oracle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    TrainingSet,
    VectorLog,
    agg,
    apply,
    get_definition,
    materialize_all,
    store_training_set,
    training_set,
    verify,
)
from mainspring.testing.workspaces import Lab
from mainspring.workspace import Workspace, using
from tests.features.conftest import Module

START = datetime(2013, 1, 1, 5, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


WEATHER = pl.DataFrame(
    {"origin": ["EWR", "EWR", "JFK"], "at": [at(0), at(2), at(0)], "wind": [5, None, 7], "temp": [30.0, 40.0, 50.0]}
)
ARRIVALS = pl.DataFrame(
    {
        "carrier": ["UA", "UA", "AA"], "left_at": [at(0), at(0.5), at(0)], "known_at": [at(1), at(4), at(1)],
        "delay": [10.0, 90.0, 5.0],
    }
)  # fmt: skip
FLIGHTS = pl.DataFrame(
    {
        "id": [1, 2, 3, 4], "origin": ["EWR", "JFK", "EWR", "LGA"], "dest": ["JFK", "EWR", "XXX", "JFK"],
        "carrier": ["UA", "AA", "UA", "??"], "leaves_at": [at(1), at(3), at(5), at(1)],
    }
)  # fmt: skip


def service() -> FeatureService:
    weather = FeatureView(
        "weather_at", entity=Entity("origin"), source="weather", event_time="at", ttl="2h",
        features=["wind", (pl.col("temp") < 32).alias("is_freezing")],
    )  # fmt: skip
    delays = FeatureView(
        "carrier_delay", entity=Entity("carrier"), source="arrivals", event_time="left_at", created_time="known_at",
        features=[agg.mean("delay", "6h"), agg.count(windows="6h")],
    )  # fmt: skip
    calendar = OnDemandView(
        "calendar", request={"leaves_at": "datetime[us, UTC]"}, inputs=[weather["wind"]],
        features={"hour": pl.col("leaves_at").dt.hour(), "windy_hour": pl.col("wind") * pl.col("leaves_at").dt.hour()},
    )  # fmt: skip
    return FeatureService("late", [weather, weather["wind"].keyed(origin="dest").prefixed("dest_"), delays, calendar])


@pytest.fixture
def late(workspace: Workspace) -> FeatureService:
    dataset("weather").commit(WEATHER)
    dataset("arrivals").commit(ARRIVALS)
    made = service()
    apply(made)
    return made


def test_every_row_gets_what_was_known_at_its_instant(late: FeatureService) -> None:
    made = training_set(FLIGHTS, late, time="leaves_at")
    assert made.features == ("wind", "is_freezing", "dest_wind", "delay_mean_6h", "count_6h", "hour", "windy_hour")
    assert made.frame.columns == [*FLIGHTS.columns, *made.features]
    assert made.frame.select(FLIGHTS.columns).equals(FLIGHTS)
    assert made.frame.select("wind", "is_freezing", "dest_wind", "windy_hour").rows() == [
        (5, True, 7, 30), (None, None, None, None), (None, None, None, None), (None, None, 7, None),
    ]  # fmt: skip
    assert made.frame.select("delay_mean_6h", "count_6h", "hour").rows() == [
        (10.0, 1, 6),
        (5.0, 1, 8),
        (50.0, 2, 10),
        (None, 0, 6),
    ]
    assert (made.service, made.sources) == ("late/1", {"weather": "weather/1", "arrivals": "arrivals/1"})


def test_the_report_says_what_was_found_and_what_the_guard_kept_out(late: FeatureService) -> None:
    made = training_set(FLIGHTS, late, time="leaves_at")
    weather, _, delays, _ = made.reports
    assert (weather.found, weather.outside_ttl, weather.unknown, weather.nulls) == (
        1,
        2,
        1,
        {"wind": 0, "is_freezing": 0},
    )
    assert weather.age is not None
    assert (weather.age.max_us, weather.guard.possible) == (3_600_000_000, False)
    assert (delays.found, delays.coverage, delays.guard.changed) == (3, 0.75, 1)
    assert str(made).splitlines()[0] == "4 rows, 7 features of late/1"
    assert "carrier_delay of arrivals/1: 75.0% found" in str(made)
    assert "1 rows would have seen what was not known yet" in str(made)

    leaking = training_set(FLIGHTS, late, time="leaves_at", guard=False)
    assert leaking.frame["delay_mean_6h"].to_list() == [50.0, 5.0, 50.0, None]
    assert leaking.reports[2].guard.changed == 0


@pytest.mark.one_backend("what the report says of a definition")
@pytest.mark.parametrize(
    ("made_by", "why"),
    [
        ({"features": [pl.col("n").sum().over("k").alias("total"), "n"]}, "`total` looks at other rows"),
        ({"features": ["total"], "transform": "SELECT *, SUM(n) OVER (PARTITION BY k) AS total FROM raw"},
         "its SQL may look at other rows"),
        ({"features": ["total"], "transform": "blind:totals"}, "`blind:totals` may look at other rows"),
    ],
)  # fmt: skip
def test_a_leak_that_can_not_be_told_is_said_to_be(
    workspace: Workspace, module: Module, made_by: dict[str, Any], why: str
) -> None:
    totals = "import polars as pl\ndef totals(rows):\n    return rows.with_columns(total=pl.col('n').sum().over('k'))\n"
    if made_by.get("transform") == "blind:totals":
        made_by = {**made_by, "transform": module("blind", totals).totals}
    times = [at(0), at(1), at(2)]
    dataset("raw").commit(pl.DataFrame({"k": ["a"] * 3, "at": times, "known": times, "n": [1, 2, 3]}))
    view = FeatureView(
        "totals", entity=Entity("k"), source="raw", event_time="at", created_time="known", **made_by
    )  # fmt: skip
    apply(FeatureService("blind", [view]))
    rows = pl.DataFrame({"k": ["a"], "t": [at(0.5)]})
    made = training_set(rows, "blind", time="t")
    assert made.frame["total"].to_list() == [6]  # of rows that nobody knew yet
    stored = store_training_set(rows, "blind", time="t", to="blind_set")
    for report in (made.reports[0], stored.reports[0]):
        assert (report.guard.possible, report.guard.on, report.guard.why) == (False, True, why)
    assert f"{why}: a leak can't be told" in str(made)
    plain = FeatureView(
        "plain", entity=Entity("k"), source="raw", event_time="at", created_time="known", features=["n"]
    )
    apply(FeatureService("seen", [plain]))
    assert training_set(rows, "seen", time="t").reports[0].guard.possible
    if isinstance(made_by["features"][0], pl.Expr):  # of a view's features those count that are asked for
        apply(FeatureService("some", [view["n"]]))
        assert training_set(rows, "some", time="t").reports[0].guard.possible


def test_sources_are_named_versions_or_those_of_a_time(late: FeatureService) -> None:
    first = dataset("weather").latest()
    dataset("weather").commit(WEATHER.with_columns(wind=pl.lit(1)))
    assert training_set(FLIGHTS, late, time="leaves_at").frame["wind"][0] == 1
    assert training_set(FLIGHTS, "late/1", time="leaves_at", sources={"weather": first}).frame["wind"][0] == 5
    for as_of in (1, "v1", clock.from_us(dataset("arrivals").latest().created_at)):
        assert training_set(FLIGHTS, late, time="leaves_at", as_of=as_of).sources["weather"] == "weather/1"
    with pytest.raises(InvalidError, match="as_of: `weather/1` is not a version of `arrivals`"):
        training_set(FLIGHTS, late, time="leaves_at", as_of=first)
    with pytest.raises(NotFoundError, match=r"No source `wether`\. Nearest: weather"):
        training_set(FLIGHTS, late, time="leaves_at", sources={"wether": first})


def test_an_old_version_of_the_service_gives_what_it_gave(late: FeatureService) -> None:
    old = training_set(FLIGHTS, "late", time="leaves_at")
    changed = service()
    changed.views[0].view.ttl_us = 7_200_000_000 * 2  # type: ignore[union-attr]  # it is a projection
    for part in (changed.views[1], changed.views[3].inputs[0]):  # type: ignore[union-attr]  # one view in three places
        part.view.ttl_us = 7_200_000_000 * 2  # type: ignore[union-attr]  # it is a projection
    apply(changed)
    assert training_set(FLIGHTS, "late", time="leaves_at").frame["wind"].to_list() == [5, 7, None, None]
    assert training_set(FLIGHTS, "late/1", time="leaves_at").frame.equals(old.frame)
    assert training_set(FLIGHTS, get_definition("service", "late/1"), time="leaves_at").frame.equals(old.frame)


@pytest.mark.parametrize(
    ("rows", "time", "message"),
    [
        (FLIGHTS.drop("carrier"), "leaves_at", r"No column `carrier`\."),
        (FLIGHTS, "leaves", r"No column `leaves`\. Nearest: leaves_at\."),
        (FLIGHTS.with_columns(hour=1), "leaves_at", "`hour` is not columns that are not called like a feature"),
        (FLIGHTS.with_columns(leaves_at=None), "leaves_at", "leaves_at"),
        (FLIGHTS.with_columns(origin=1), "leaves_at", "origin: `1` is an int, expected a value of type str"),
    ],
)
@pytest.mark.one_backend("nothing is stored")
def test_rows_that_do_not_fit_are_named(late: FeatureService, rows: pl.DataFrame, time: str, message: str) -> None:
    with pytest.raises((InvalidError, NotFoundError, WrongTypeError), match=message):
        training_set(rows, late, time=time)


@pytest.mark.one_backend("frames are computed in memory")
def test_no_rows_and_frames_of_pandas(late: FeatureService) -> None:
    empty = training_set(FLIGHTS.clear(), late, time="leaves_at")
    assert (empty.frame.height, empty.reports[0].coverage) == (0, None)
    assert "no rows" in str(empty)
    assert training_set(FLIGHTS.to_pandas(), late, time="leaves_at").frame["wind"].to_list() == [5, None, None, None]


PIPELINE = """
import mainspring as ms
import polars as pl

from mainspring.data import DatasetVersion
from mainspring.features import Definition, get_definition, training_set


@ms.step
def joined(rows: pl.DataFrame, weather: DatasetVersion, arrivals: DatasetVersion, service: Definition):
    return training_set(rows, service, time="leaves_at", sources={"weather": weather, "arrivals": arrivals})


@ms.pipeline
def main(rows: pl.DataFrame):
    newest = [ms.dataset(name).latest() for name in ("weather", "arrivals")]
    return joined(rows, *newest, get_definition("service", "late"))
"""


def test_a_set_is_an_artifact_with_lineage_and_reused(lab: Lab) -> None:
    with using(lab.workspace):
        dataset("weather").commit(WEATHER)
        dataset("arrivals").commit(ARRIVALS)
        apply(service())
        lab.write(PIPELINE.replace("import mainspring as ms\n", "", 1))
        first = lab.run(params={"rows": FLIGHTS})
        made = first.value
        assert isinstance(made, TrainingSet)
        assert made.frame["wind"].to_list() == [5, None, None, None]
        assert made.reports == training_set(FLIGHTS, "late", time="leaves_at").reports
        task = first.tasks[0]
        used = {edge.dst for edge in lab.workspace.ledger.edges([task.id]) if edge.role == "uses"}
        assert {get_definition("service", "late").id, dataset("weather").latest().id} <= used
        assert lab.run(params={"rows": FLIGHTS}).tasks[0].state == "reused"


PLANE = UUID("0000000a-0000-0000-0000-00000000000b")


def of_planes(known: list[Any]) -> FeatureService:
    """A view of values and one of aggregates of planes that are known by these keys, and what is computed of a request."""
    dataset("planes").commit(
        pl.DataFrame({"tail": known, "at": [at(number) for number in range(len(known))], "seats": range(len(known))})
    )
    entity = Entity("plane", {"tail": UUID})
    newest = FeatureView("newest", entity=entity, source="planes", event_time="at", features=["seats"])
    counted = FeatureView(
        "counted", entity=entity, source="planes", event_time="at", features=[agg.count(windows="7d")]
    )
    asked = OnDemandView(
        "asked", request={"miles": "i64", "leaves": "datetime[us, UTC]"}, inputs=[],
        features={"squared": pl.col("miles") ** 2, "hour": pl.col("leaves").dt.hour()},
    )  # fmt: skip
    made = FeatureService("of_planes", [newest, counted, asked])
    apply(made)
    return made


@pytest.mark.one_backend("keys and columns are brought to one form in memory")
@pytest.mark.parametrize("known", [[str(PLANE), str(PLANE).upper(), PLANE.hex], [PLANE.bytes] * 3])
def test_keys_and_requests_are_taken_as_online(workspace: Workspace, known: list[Any]) -> None:
    """300² is more than an Int16 holds, and noon in UTC is 7 o'clock in New York."""
    made, leaves = of_planes(known), datetime(2013, 1, 1, 12, tzinfo=UTC)
    materialize_all(until=at(5))
    reader, log = FeatureReader(get_definition("service", "of_planes"), workspace), VectorLog(workspace, share=1)
    for number, key in enumerate((PLANE, str(PLANE), PLANE.urn.upper(), PLANE.bytes)):
        asked = {"tail": key, "miles": 300, "leaves": leaves.isoformat() if number % 2 else leaves}
        (vector,) = log.read(reader, [asked], [f"{number}"], at_us=int(at(5).timestamp() * 1_000_000))
        assert dict(zip(reader.names, vector.values, strict=True)) == {
            "seats": 2, "count_7d": 3, "squared": 90_000, "hour": 12,
        }  # fmt: skip
        rows = pl.DataFrame({
            "tail": pl.Series([key], dtype=pl.Object if key is PLANE else None), "now": [at(5)],
            "miles": pl.Series([300], dtype=pl.Int16),
            "leaves": pl.Series([leaves]).dt.convert_time_zone("America/New_York"),
        })  # fmt: skip
        found = training_set(rows, made, time="now").frame
        assert found.select(reader.names).row(0) == tuple(vector.values)
        assert found.select(rows.columns).schema == rows.schema, "what was given is kept"
        if key is not PLANE:  # no file holds objects
            stored = store_training_set(rows, made, time="now", to=f"set{number}", partitions=3)
            assert stored.version.to_polars().equals(found)
    assert verify("of_planes").verified == 4


@pytest.mark.one_backend("nothing is stored")
def test_a_null_in_a_request_is_a_value_and_what_is_not_there_is_refused(workspace: Workspace) -> None:
    made = of_planes([str(PLANE)])
    reader = FeatureReader(get_definition("service", "of_planes"), workspace)
    (vector,) = reader.read([{"tail": PLANE, "miles": None, "leaves": None}])
    rows = pl.DataFrame({"tail": ["x"], "miles": [None], "leaves": [None], "now": [at(5)]})
    assert vector.values == [None, 0, None, None]
    with pytest.raises(InvalidError, match="leaves: `missing` is not a column of each request, which may be null"):
        reader.read([{"tail": PLANE, "miles": 1}])
    with pytest.raises(WrongTypeError, match=r"miles: `1\.5` is a float, expected a value of type i64"):
        reader.read([{"tail": PLANE, "miles": 1.5, "leaves": None}])
    with pytest.raises(WrongTypeError, match="tail: `x` is a str, expected a value of type uuid"):
        training_set(rows, made, time="now")
    rows = rows.with_columns(tail=pl.lit(str(PLANE)))
    assert training_set(rows, made, time="now").frame.select("squared", "hour").row(0) == (None, None)
    with pytest.raises(WrongTypeError, match=r"miles: `1\.5` is a float, expected a value of type i64"):
        training_set(rows.with_columns(miles=1.5), made, time="now")
