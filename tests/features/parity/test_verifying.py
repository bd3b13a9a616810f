"""What was served is what the offline path gives; each planted skew is found, with its likely cause."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest

from mainspring.data import dataset, remove_version
from mainspring.errors import UnavailableError
from mainspring.evaluation import Evaluation, Gate, decide
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    apply,
    get_definition,
    materialize,
    push,
    verify,
)
from mainspring.features.online.packing import Packing
from mainspring.features.online.places import values_prefix, watermark_place
from mainspring.features.online.watermark import Running, Watermark, watermark_of
from mainspring.features.parity import Cause, VectorLog, find_verification, judging, parity_lines
from mainspring.features.parity.bits import same
from mainspring.features.parity.judging import Sources
from mainspring.workspace import Workspace

here = pytest.mark.one_backend("verdicts are of what was logged, whatever store it came of")
START = datetime(2013, 1, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def weather(**changed: Any) -> FeatureView:
    given: dict[str, Any] = {
        "entity": Entity("origin"), "source": "weather", "event_time": "at", "created_time": "known", "ttl": "4h",
        "features": ["wind", (pl.col("temp") < 32).alias("is_freezing")],
    }  # fmt: skip
    return FeatureView("weather_at", **given | changed)


def service(view: FeatureView) -> FeatureService:
    calendar = OnDemandView(
        "calendar", request={"leaves_at": "datetime[us, UTC]"}, inputs=[view["wind"]],
        features={"hour": pl.col("leaves_at").dt.hour(), "windy_hour": pl.col("wind") * pl.col("leaves_at").dt.hour()},
    )  # fmt: skip
    return FeatureService("late", [view, view["wind"].keyed(origin="dest").prefixed("dest_"), calendar])


def history(chance: random.Random, rows: int = 60, *, late: bool = True) -> pl.DataFrame:
    moments = sorted(chance.randint(0, 20) for _ in range(rows))
    return pl.DataFrame(
        {
            "origin": [chance.choice("abc") for _ in moments],
            "at": [at(moment) for moment in moments],
            "known": [at(moment + (chance.choice((0, 0, 1, 5)) if late else 0)) for moment in moments],
            "wind": [chance.choice((None, 1, 2, 3)) for _ in moments],
            "temp": [chance.uniform(0, 60) for _ in moments],
        },
        schema_overrides={"wind": pl.Int64},
    )


class Served:
    """A service whose reads are all logged."""

    def __init__(self, workspace: Workspace, frame: pl.DataFrame, view: FeatureView | None = None) -> None:
        self.workspace, self.frame = workspace, frame
        dataset("weather").commit(frame)
        apply(service(view or weather()))
        self.reader = FeatureReader(get_definition("service", "late"), workspace)
        self.log = VectorLog(workspace, share=1)
        self.count = 0

    def bring(self, until: float) -> None:
        materialize("weather_at", until=at(until))

    def read(self, when: float, origins: str = "abcd") -> None:
        asked = [{"origin": one, "dest": other, "leaves_at": at(when)} for one in origins for other in origins]
        self.count += len(asked)
        self.log.read(self.reader, asked, [f"{when}/{n}" for n in range(len(asked))], at_us=us(at(when)))


@pytest.mark.parametrize("seed", range(4))
def test_what_was_served_is_what_the_offline_path_gives(workspace: Workspace, seed: int) -> None:
    chance = random.Random(seed)
    frame = history(chance)
    served = Served(workspace, frame[:30], weather(ttl=f"{chance.randint(1, 6)}h"))
    when = 0.0
    for known in (30, 45, 60):
        if known > 30:
            dataset("weather").append(frame[served.frame.height : known])
            served.frame = frame[:known]
        for _ in range(3):
            when += chance.choice((0, 0.5, 3))
            served.bring(when)
            for _ in range(2):
                when += chance.choice((0, 0.25, 2))
                served.read(when)
    report = verify("late")
    assert report.mismatches == ()
    assert (report.vectors, report.verified, report.passed) == (served.count, served.count, True)


def overwrite(view: str, workspace: Workspace, rows: pl.DataFrame, *, number: int | None = None) -> None:
    """Store rows of a view that no materialization would: with its features and two columns of times."""
    definition = get_definition("view", view)
    packing = Packing(definition.record.fields, number or definition.number)
    times = [(rows[name].dt.timestamp("us")).to_numpy() for name in ("at", "known")]
    packed = packing.pack(rows.select(field.name for field in definition.record.fields), *times)
    prefix = values_prefix(definition)
    workspace.online.write([(prefix + key.encode(), value) for key, value in zip(rows["origin"], packed, strict=True)])


def rows_of(*given: tuple[str, float, float, int | None, float]) -> pl.DataFrame:
    columns = zip(*given, strict=True)
    names = ("origin", "at", "known", "wind", "temp")
    found = {name: list(column) for name, column in zip(names, columns, strict=True)}
    return pl.DataFrame(found | {name: [at(each) for each in found[name]] for name in ("at", "known")})


CLEAN = rows_of(
    ("a", 0, 0, 1, 10.0), ("a", 2, 2, 2, 40.0), ("b", 1, 1, 3, 20.0), ("c", 0, 5, 4, 20.0), ("b", 8, 8, 9, 20.0)
)


def causes(report: Any) -> set[tuple[str, str]]:
    return {(each.feature, each.cause) for each in report.mismatches}


@here
def test_another_definition_is_found(workspace: Workspace) -> None:
    old = Served(workspace, CLEAN, weather(features=["wind", (pl.col("temp") < 15).alias("is_freezing")]))
    served = Served(workspace, CLEAN)
    assert old.reader.service.number == 1
    served.bring(3)
    wrong = rows_of(("a", 2, 2, 2, 0), ("b", 1, 1, 3, 0)).with_columns(is_freezing=pl.Series([False, False]))
    overwrite("weather_at", workspace, wrong)
    served.read(3)
    report = verify("late/2")
    assert (report.passed, report.mismatched) == (False, 4)
    assert causes(report) == {("is_freezing", Cause.DEFINITION)}
    example = report.mismatches[0]
    assert (example.entity, example.served, example.expected) == ({"origin": "b"}, False, True)
    assert (example.served_event_us, example.expected_event_us, example.at_us) == (us(at(1)), us(at(1)), us(at(3)))
    assert "weather_at/1" in example.why


@here
def test_another_time_to_live_is_found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(workspace, CLEAN)
    served.bring(3)
    for part in served.reader._parts:
        monkeypatch.setattr(part, "_ttl_us", us(at(1.5)) - us(at(0)))
    served.read(3)  # b is too old for that
    for part in served.reader._parts:
        monkeypatch.setattr(part, "_ttl_us", None)
    served.read(7)  # and now nothing is, and a and b are
    report = verify("late")
    assert causes(report) == {(name, Cause.TTL) for name in ("wind", "is_freezing", "dest_wind")}
    assert {each.why for each in report.mismatches} == {
        "it counted as older than the time to live", "it is right without the time to live",
    }  # fmt: skip


@here
def test_an_instant_of_which_the_store_has_nothing_any_more_is_told_apart(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN)
    served.bring(9)
    served.read(1)  # of `a` and `b` newer rows are stored
    report = verify("late")
    assert (report.mismatches, report.vectors, report.verified) == ((), 16, 4)
    assert sum(view.gone for view in report.views) == 16


@here
def test_data_that_came_late_is_found(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN)
    served.bring(3)
    wrong = rows_of(("c", 0, 0, 4, 20)).with_columns(is_freezing=pl.Series([True]))
    overwrite("weather_at", workspace, wrong)  # as if it had been known at once
    served.read(3)  # before it was created
    assert causes(verify("late")) == {
        ("wind", Cause.LATE), ("is_freezing", Cause.LATE), ("dest_wind", Cause.LATE), ("windy_hour", Cause.INPUTS),
    }  # fmt: skip


@here
def test_times_of_another_zone_are_found(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN)
    served.bring(3)
    # Read as if they were hours of New York, so five hours later: what is new then hides what is newer.
    wrong = rows_of(("a", 5, 5, 1, 10), ("b", 6, 6, 3, 20)).with_columns(is_freezing=pl.Series([True, True]))
    overwrite("weather_at", workspace, wrong)
    served.bring(6.5)
    served.read(6.5, "ab")
    report = verify("late")
    assert causes(report) == {
        ("wind", Cause.ZONE), ("is_freezing", Cause.ZONE), ("dest_wind", Cause.ZONE), ("windy_hour", Cause.INPUTS),
    }  # fmt: skip
    assert {each.why for each in report.mismatches if each.feature == "wind"} == {
        "it is right by times that are +5:00 h off"
    }


@here
def test_a_request_in_another_zone_is_found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(workspace, CLEAN)
    served.bring(3)
    reading = served.reader.reading

    def shifted(asked: list[dict[str, Any]], **more: Any) -> Any:
        return reading([each | {"leaves_at": each["leaves_at"] - timedelta(hours=5)} for each in asked], **more)

    monkeypatch.setattr(served.reader, "reading", shifted)
    served.read(3)
    assert causes(verify("late")) == {("hour", Cause.ZONE), ("windy_hour", Cause.ZONE)}


@here
def test_values_of_removed_rows_are_found(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN)
    served.bring(3)
    dataset("weather").commit(CLEAN[:1])
    mark = Watermark(source="weather", version=str(dataset("weather").latest()), until_us=us(at(3)))
    workspace.online.write([(watermark_place(get_definition("view", "weather_at")), mark.packed())])
    served.read(3)
    assert ("wind", Cause.SOURCE) in causes(verify("late"))


@here
def test_a_read_may_have_met_either_state_of_a_running_materialization(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN[:1])
    served.bring(1)
    dataset("weather").append(CLEAN[1:])
    place = watermark_place(get_definition("view", "weather_at"))
    mark = watermark_of("weather_at")
    assert mark is not None
    running = msgspec.structs.replace(mark, running=Running(str(dataset("weather").latest()), us(at(3))))
    workspace.online.write([(place, running.packed())])
    # One entity has its new value already, the other not yet.
    overwrite("weather_at", workspace, rows_of(("a", 2, 2, 2, 40.0)).with_columns(is_freezing=pl.Series([False])))
    served.read(3, "abc")
    report = verify("late")
    assert report.passed, report
    assert report.verified == 9
    # What neither gives is found all the same.
    overwrite("weather_at", workspace, rows_of(("a", 2, 2, 7, 40.0)).with_columns(is_freezing=pl.Series([False])))
    served.read(3, "a")
    assert causes(verify("late")) >= {("wind", Cause.UNKNOWN)}


@here
def test_what_was_pushed_is_judged_once_the_source_has_it(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN[:1])
    served.bring(1)
    push("weather_at", CLEAN[1:2])
    served.read(3, "ab")
    report = verify("late")
    assert (report.passed, report.verified, report.unjudged) == (True, 1, 3)
    assert [each.pending for each in report.views] == [2, 2, 0], "on demand is computed of what was served"
    dataset("weather").append(CLEAN[1:2])
    report = verify("late")
    assert (report.passed, report.verified, report.unjudged) == (True, 4, 0)
    dataset("weather").commit(CLEAN[:2].with_columns(wind=pl.lit(99)))
    report = verify("late")
    assert (report.mismatched, report.verified) == (3, 1), (
        "one was not pushed, and is what its version of the source had"
    )
    assert {cause for _, cause in causes(report)} == {Cause.PUSHED}


@here
def test_what_was_pushed_is_no_excuse_for_what_was_known_only_later(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN[:1])
    served.bring(1)
    push("weather_at", CLEAN[1:2])
    served.read(3, "ab")
    dataset("weather").append(CLEAN[1:2].with_columns(known=at(9)))
    report = verify("late")
    assert (report.mismatched, report.verified) == (3, 1)
    assert {cause for _, cause in causes(report)} == {Cause.LATE}


@here
def test_a_source_that_fits_no_more_holds_up_nothing(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN)
    dataset("other").commit(CLEAN)
    other = FeatureView("other", entity=Entity("origin"), source="other", event_time="at", features=["wind"])
    apply(FeatureService("others", [other]))
    materialize("other", until=at(3))
    served.bring(3)
    served.read(3, "ab")
    others = FeatureReader(get_definition("service", "others"), workspace)
    served.log.read(others, [{"origin": "a"}], ["others"], at_us=us(at(3)))
    dataset("weather").commit(CLEAN.drop("wind"), mode="replace")
    report = verify()
    assert (report.passed, report.verified, report.failed) == (True, 5, {}), "the version that was served is there"
    remove_version("weather/1")
    report = verify()
    assert (report.passed, report.verified, [*report.failed]) == (False, 1, ["late/1"])
    assert "late/1 can't be verified: weather_at.wind: `wind` is not a column of `weather`" in str(report)


@here
def test_staleness_is_told_apart(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN)
    served.bring(1.5)
    served.read(1.75, "ab")
    served.read(2.5, "ab")  # at 2 there is more of a
    report = verify("late")
    assert (report.passed, report.verified, report.stale) == (True, 8, 3)
    assert [(each.stale, each.behind, each.behind_us) for each in report.views] == [
        (2, 4, us(at(0.5)) - us(at(0))), (2, 4, us(at(0.5)) - us(at(0))), (2, 0, 0),
    ]  # fmt: skip


@here
def test_what_was_answered_without_the_store_is_not_in_the_sample(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(workspace, CLEAN)
    apply(FeatureService("late", [weather()], outage="defaults", defaults={"wind": 0}))
    served.reader = FeatureReader(get_definition("service", "late"), workspace)
    served.bring(3)
    served.read(3, "a")

    def away(_keys: object) -> None:
        raise UnavailableError(workspace.online.place, "it is away")

    monkeypatch.setattr(workspace.online, "get_many", away)
    served.reader = FeatureReader(get_definition("service", "late"), workspace)
    served.read(3.5, "a")
    report = verify("late")
    assert (report.vectors, report.verified) == (1, 1)


@here
def test_what_was_removed_can_not_be_judged(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN[:2])
    served.bring(3)
    served.read(3, "a")
    dataset("weather").append(CLEAN[2:])
    served.bring(3.5)
    served.read(3.5, "b")
    remove_version("weather/1", workspace=workspace)
    report = verify("late")
    assert (report.vectors, report.verified, report.mismatched, report.unjudged) == (2, 1, 0, 1)


def test_a_verification_is_recorded_and_a_gate_can_stand_on_it(workspace: Workspace) -> None:
    served = Served(workspace, CLEAN)
    assert parity_lines(workspace) == []
    assert (verify().passed, str(verify("late"))) == (False, "No served vectors of late are logged.")
    served.bring(3)
    served.read(3)
    served.read(3.5)
    report = verify(since=at(3.25))
    assert (report.vectors, report.metrics["parity"]) == (16, 1.0)
    (event,) = [each for each in workspace.ledger.events(subject=served.reader.service.id) if "verified" in each.kind]
    counts = {"vectors": 16, "verified": 16, "rounded": 0, "mismatched": 0, "stale": 0}
    assert event.payload == {"service": "late/1", **counts}
    found = find_verification("late")
    assert found is not None
    assert (found.service, found.verified, found.mismatched) == ("late/1", 16, 0)
    assert 'mainspring_feature_parity{service="late/1"} 1.0' in parity_lines(workspace)
    assert 'mainspring_feature_parity_mismatches{service="late/1"} 0' in parity_lines(workspace)
    evaluation = Evaluation(report.vectors, report.metrics, report.higher_is_better, subject="late")
    assert decide(evaluation, [Gate("parity", at_least=1.0)]).passed
    nothing = Evaluation(0, verify(since=at(9)).metrics, report.higher_is_better)
    assert not decide(nothing, [Gate("parity", at_least=1.0)]).passed


@here
@pytest.mark.soak
def test_a_hundred_thousand_clean_vectors_give_no_mismatch(workspace: Workspace) -> None:
    chance = random.Random(11)
    frame = history(chance, 20_000)
    served = Served(workspace, frame)
    for hour in range(1, 21):
        served.bring(hour)
        for minute in range(5):
            when = us(at(hour + minute / 60))
            for _ in range(10):
                asked = [
                    {"origin": chance.choice("abcd"), "dest": chance.choice("abcd"), "leaves_at": at(hour)}
                    for _ in range(100)
                ]
                served.log.read(served.reader, asked, [f"{served.count}/{row}" for row in range(100)], at_us=when)
                served.count += 100
    report = verify("late")
    assert (report.vectors, report.verified, report.mismatched) == (100_000, 100_000, 0)


@here
def test_hours_that_are_told_twice_and_parts_of_microseconds_are_the_same(workspace: Workspace) -> None:
    """America/New_York set its clocks back on 2025-11-02 at 06:00 UTC."""
    twice = pl.Series([datetime(2025, 11, 2, 5, 30, tzinfo=UTC), datetime(2025, 11, 2, 6, 30, tzinfo=UTC)])
    rows = pl.DataFrame({
        "origin": ["a", "b"], "at": [at(0), at(0)], "told": twice.dt.convert_time_zone("America/New_York"),
        "listed": [[each] for each in twice.to_list()], "gap": pl.Series([-1500, -1], dtype=pl.Duration("ns")),
    })  # fmt: skip
    dataset("weather").commit(rows)
    view = FeatureView(
        "times", entity=Entity("origin"), source="weather", event_time="at", features=["told", "listed", "gap"]
    )
    apply(FeatureService("late", [view]))
    materialize("times")
    reader = FeatureReader(get_definition("service", "late"), workspace)
    VectorLog(workspace, share=1).read(reader, [{"origin": "a"}, {"origin": "b"}], ["1", "2"])
    report = verify("late")
    assert (report.mismatches, report.verified) == ((), 2)
    assert not same(twice[0], twice[1])


@here
def test_sources_in_memory_are_bounded_by_their_size(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [dataset("weather").commit(rows_of(("a", 0, 0, number, 1.0))) for number in range(4)]
    apply(service(weather()))
    view = get_definition("view", "weather_at")
    sources = Sources(workspace)
    names = [str(each) for each in versions]
    first = sources.find(view, names[0])
    assert first is not None
    monkeypatch.setattr(judging, "_KEPT_BYTES", 2 * first.size_bytes)
    for name in names[1:3]:
        assert sources.find(view, names[0]) is first, "what is used stays"
        sources.find(view, name)
    sources.find(view, names[3])
    assert sources.find(view, names[0]) is not first
    assert sources.find(view, names[0]) is sources.find(view, names[0])
