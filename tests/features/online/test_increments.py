"""What is read again of a source, what of it is removed, and what the watermark says meanwhile."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.errors import InvalidError, NotAllowedError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    Watermark,
    agg,
    apply,
    get_definition,
    materialize,
    materialize_all,
    push,
    training_set,
    watermark_of,
)
from mainspring.features.online import Running
from mainspring.features.online.materializing import alone
from mainspring.features.online.places import tiles_prefix, watermark_place
from mainspring.models import Field, Signature, register
from mainspring.workspace import Workspace
from tests.features.conftest import Ticks

START = datetime(2013, 1, 1, tzinfo=UTC)
ORIGINS = [{"origin": origin} for origin in "abcd"]


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def rows(*given: tuple[str, float, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"origin": origin, "at": at(hours), "wind": wind} for origin, hours, wind in given],
        schema={"origin": pl.String, "at": pl.Datetime("us", "UTC"), "wind": pl.Float64},
    )


def weather(**changed: Any) -> FeatureView:
    given: dict[str, Any] = {"entity": Entity("origin"), "source": "weather", "event_time": "at", "features": ["wind"]}
    return FeatureView("weather_at", **given | changed)


def wind(**changed: Any) -> FeatureView:
    features = [
        agg.mean("wind", ["2h", "6h"], hop="1h"),
        agg.last("wind", "3h", n=2, hop="1h"),
        agg.count(windows="2h"),
    ]
    return weather(features=features, **changed)


def served(at_hours: float, workspace: Workspace) -> list[str]:
    reader = FeatureReader(get_definition("service", "late"), workspace)
    return [repr(tuple(vector.values)) for vector in reader.read(ORIGINS, at_us=us(at(at_hours)))]


def trained(at_hours: float) -> list[str]:
    asked = pl.DataFrame(ORIGINS).with_columns(when=pl.lit(at(at_hours)))
    names = [field.name for field in get_definition("service", "late").record.fields]
    return [repr(row) for row in training_set(asked, "late", time="when").frame.select(names).rows()]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("event_id", ["", "id"])
def test_aggregates_of_any_history_are_served_as_the_training_set_gives_them(
    workspace: Workspace, seed: int, event_id: str
) -> None:
    """Rows come in parts, late and repeated; now and then the source is replaced, compacted, or the store filled anew."""
    chance = random.Random(seed)
    given = [
        {"origin": chance.choice(["a", "b", "c", None]), "at": at(moment), "id": chance.choice("xyz"),
         "known": at(moment + chance.choice((0, 0, 0.5, 5))), "wind": chance.choice((None, 0.1, 0.2, 1e16))}
        for moment in sorted(chance.randint(0, 80) / 4 for _ in range(80))
    ]  # fmt: skip
    frame = pl.DataFrame(given, schema_overrides={"wind": pl.Float64})
    dataset("weather").commit(frame[:20])
    apply(FeatureService("late", [wind(created_time="known", event_id=event_id)]))
    for known, until in ((20, 5), (40, 9), (60, 14), (80, 16), (80, 30)):
        if known == 60 and chance.random() < 0.5:
            dataset("weather").commit(frame[10:known])
        elif known > 20:
            dataset("weather").append(frame[known - 20 : known])
        if chance.random() < 0.3:
            dataset("weather").compact()
        materialize("weather_at", until=at(until), full=chance.random() < 0.3)
        assert served(until, workspace) == trained(until)


def test_only_what_was_appended_is_read(workspace: Workspace) -> None:
    dataset("weather").commit(rows(("a", 0, 1.0), ("b", 1, 2.0)))
    apply(FeatureService("late", [weather()]))
    assert materialize("weather_at", until=at(5)).rows == 2
    assert materialize("weather_at", until=at(6)).rows == 0
    dataset("weather").append(rows(("a", 5, 3.0), ("c", 9, 4.0)))
    done = materialize("weather_at", until=at(6))
    assert (done.rows, done.stored, done.source) == (1, 1, "weather/2")
    assert materialize("weather_at", until=at(10)).rows == 4  # one row was not visible before
    assert watermark_of("weather_at") == Watermark(source="weather", version="weather/2", until_us=us(at(10)))
    assert served(10, workspace) == trained(10)


def test_rows_that_do_not_stand_for_themselves_are_all_read(workspace: Workspace) -> None:
    dataset("weather").commit(rows(("a", 0, 1.0), ("a", 1, 2.0)))
    totals = 'SELECT origin, max("at") AS "at", sum(wind) AS wind FROM weather GROUP BY 1'
    apply(FeatureService("late", [weather(transform=totals)]))
    materialize("weather_at", until=at(5))
    dataset("weather").append(rows(("a", 2, 4.0), ("b", 3, 4.0)))
    assert materialize("weather_at", until=at(5)).rows == 2
    assert served(5, workspace) == trained(5) == ["(7.0,)", "(4.0,)", "(None,)", "(None,)"]


def test_a_replaced_source_leaves_nothing_of_the_one_before(workspace: Workspace) -> None:
    """But what was pushed and is newer, which only `full` removes."""
    dataset("weather").commit(rows(("a", 2, 1.0), ("b", 1, 2.0)))
    apply(FeatureService("late", [weather()]))
    materialize("weather_at", until=at(5))
    push("weather_at", rows(("c", 3, 9.0), ("d", 3, 8.0)))
    dataset("weather").commit(rows(("a", 1, 5.0), ("d", 4, 6.0)))
    assert materialize("weather_at", until=at(5)).removed == 1
    assert served(5, workspace) == ["(5.0,)", "(None,)", "(9.0,)", "(6.0,)"]
    assert materialize("weather_at", until=at(5), full=True).removed == 1
    assert served(5, workspace) == trained(5)


def test_an_earlier_instant_counts_as_the_last_one(workspace: Workspace) -> None:
    dataset("weather").commit(rows(("a", 2, 1.0)))
    apply(FeatureService("late", [weather()]))
    materialize("weather_at", until=at(5))
    dataset("weather").append(rows(("b", 4, 2.0)))
    assert materialize("weather_at", until=at(3)).until_us == us(at(5))
    assert served(5, workspace) == trained(5)


def test_old_versions_that_models_use_are_materialized_and_retired_ones_are_not(workspace: Workspace) -> None:
    dataset("weather").commit(rows(("a", 2, 1.0)))
    apply(FeatureService("late", [weather()]))
    assert materialize("weather_at", until=at(5)).others == ()
    model_on("late/1")
    for ttl in ("2h", "3h"):
        apply(FeatureService("late", [weather(ttl=ttl)]))
    done = materialize("weather_at", until=at(5))
    assert (done.view, [each.view for each in done.others]) == ("weather_at/3", ["weather_at/1"])
    assert watermark_of("weather_at/2") is None
    dataset("other").commit(rows())
    other = FeatureView("elsewhere", entity=Entity("origin"), source="other", event_time="at", features=["wind"])
    apply(other, retire=True)
    assert materialize("weather_at", until=at(5)).view == "weather_at/1"
    assert [each.view for each in materialize_all()] == ["elsewhere/1", "weather_at/1"]
    with pytest.raises(InvalidError, match="a feature view"):
        push(get_definition("service", "late/1"), rows())


@pytest.mark.one_backend("what is done of each view is the same")
def test_a_view_that_can_not_be_materialized_holds_up_no_other(workspace: Workspace) -> None:
    for name in ("first", "other"):
        dataset(name).commit(rows())
        apply(FeatureView(f"of_{name}", entity=Entity("origin"), source=name, event_time="at", features=["wind"]))
    dataset("first").commit(rows().drop("wind"), mode="replace")
    with pytest.raises(InvalidError, match=r"of_first\.wind"):
        materialize_all()
    assert watermark_of("of_other") is not None


def model_on(service: str) -> None:
    """A model version that uses a service's version."""
    signature = Signature((Field("wind", "f64"),))
    register({"a": 1}, "late", signature=signature, input_kind="records", features=get_definition("service", service))


def test_readers_are_told_what_may_come(workspace: Workspace) -> None:
    """A run that was killed leaves both states in the watermark; the next one makes it whole."""
    dataset("weather").commit(rows(("a", 2, 1.0)))
    apply(FeatureService("late", [weather()]))
    materialize("weather_at", until=at(3))
    before = watermark_of("weather_at")
    assert before is not None
    dataset("weather").commit(rows(("b", 2, 1.0)))
    killed = Watermark(
        source="weather", version="weather/1", until_us=us(at(3)), running=Running("weather/2", us(at(4)))
    )
    workspace.online.write([(watermark_place(get_definition("view", "weather_at")), killed.packed())])
    materialize("weather_at", until=at(5))
    after = watermark_of("weather_at")
    assert after == Watermark(source="weather", version="weather/2", until_us=us(at(5)))
    assert served(5, workspace) == trained(5)


def test_tiles_that_nobody_can_ask_for_are_removed(workspace: Workspace) -> None:
    dataset("weather").commit(rows(("a", 0, 1.0), ("b", 100, 1.0)))
    apply(FeatureService("late", [wind()]))
    materialize("weather_at", until=at(1))
    prefix = tiles_prefix(get_definition("view", "weather_at"))
    first = {key for key, _ in workspace.online.scan(prefix)}
    materialize("weather_at", until=at(100))
    assert first
    assert first.isdisjoint(key for key, _ in workspace.online.scan(prefix))
    assert served(100, workspace) == trained(100)


def test_what_cannot_be_materialized_says_so(workspace: Workspace) -> None:
    dataset("weather").commit(rows(("a", 0, 1.0)))
    apply(FeatureService("late", [weather()]))
    dataset("weather").commit(rows(("a", 0, 1.0)).with_columns(at=pl.lit(None, pl.Datetime("us", "UTC"))))
    with pytest.raises(InvalidError, match="1 null"):
        materialize("weather_at")
    dataset("other").commit(rows())
    apply(FeatureView("o", entity=Entity("origin"), source="other", event_time="at", features=["wind"]), retire=True)
    with pytest.raises(NotAllowedError, match="retired"):
        materialize("weather_at")
    with alone(get_definition("view", "o"), workspace, patience_s=0):
        pass


def test_an_instant_of_which_tiles_are_gone_has_no_answer_and_others_are_right(workspace: Workspace) -> None:
    chance = random.Random(3)
    hours = sorted(chance.uniform(0, 100) for _ in range(200))
    dataset("weather").commit(rows(*((chance.choice("abc"), hour, 1.0) for hour in hours)))
    apply(FeatureService("late", [wind(), wind_of_columns()]))
    for view in ("weather_at", "plain"):
        materialize(view, until=at(100))
    reader = FeatureReader(get_definition("service", "late"), workspace)
    begins_us = us(at(100)) - int(workspace.project.settings.late_events_days * 86_400_000_000)
    for hour in (0.0, 50.0, 99.0, 100.0, (begins_us - us(START)) / 3_600_000_000 - 0.01):
        aggregates = [vector.statuses[:4] for vector in reader.read(ORIGINS, at_us=us(at(hour)))]
        are_gone = us(at(hour)) < begins_us
        assert all((each == ["NOT_KEPT"] * 4) == are_gone for each in aggregates)
        if not are_gone:
            found = [repr(tuple(v.values[:4])) for v in reader.read(ORIGINS, at_us=us(at(hour)))]
            asked = pl.DataFrame(ORIGINS).with_columns(when=pl.lit(at(hour)))
            rows_of = training_set(asked, "late", time="when").frame.drop("origin", "when").rows()
            assert found == [repr(row[:4]) for row in rows_of]


def test_a_clock_that_is_behind_finds_the_present_kept(workspace: Workspace, ticks: Ticks) -> None:
    ticks.now = us(at(10))
    dataset("weather").commit(rows(("a", 9.5, 2.0)))
    apply(FeatureService("late", [wind()]))
    materialize("weather_at")
    place = watermark_place(get_definition("view", "weather_at"))
    mark = watermark_of("weather_at")
    assert mark is not None
    ahead = msgspec.structs.replace(mark, begins_us=ticks.now + 4_000_000)
    workspace.online.write([(place, ahead.packed())])
    (vector,) = FeatureReader(get_definition("service", "late"), workspace).read([{"origin": "a"}])
    assert (vector.values[0], vector.statuses[0]) == (2.0, "PRESENT")


def wind_of_columns() -> FeatureView:
    return FeatureView(
        "plain",
        entity=Entity("origin"),
        source="weather",
        event_time="at",
        features=[pl.col("wind").alias("plain_wind")],
    )
