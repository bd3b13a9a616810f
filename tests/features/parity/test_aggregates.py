"""Aggregates over a stream, and features of all types, are what the offline path gives, as of the offset that was read."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.ingestion import ingest_stream
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    ParityReport,
    Stream,
    VectorLog,
    agg,
    apply,
    feed,
    get_definition,
    materialize,
    verify,
)
from mainspring.features.online.fence import Fence
from mainspring.features.online.materializing import alone
from mainspring.features.online.packing import Packing
from mainspring.features.online.places import tiles_prefix, values_prefix, watermark_place
from mainspring.features.online.watermark import Running, read_watermark
from mainspring.features.parity import Cause
from mainspring.streams import event_of, open_log
from mainspring.workspace import Workspace
from tests.features.conftest import Module, Ticks

here = pytest.mark.one_backend("verdicts are of what was logged, whatever store it came of")
SECOND_US = 1_000_000
FIELDS = {"carrier": "str", "delay": "f64", "gate": "str"}
FLOATS = (None, 0.1, 0.2, 0.3, 7.7, 1e16, -1e16, -0.0)


def delays(**changed: Any) -> FeatureView:
    given: dict[str, Any] = {
        "entity": Entity("carrier"), "source": Stream("arrivals", FIELDS),
        "features": [
            agg.count(windows="1h"), agg.sum("delay", ["30m", "2h"]), agg.mean("delay", "2h"), agg.std("delay", "1h"),
            agg.max("delay", "1h"), agg.last("gate", "2h"), agg.distinct("gate", "2h"),
            agg.top_k("gate", "2h", k=2),
        ],
    }  # fmt: skip
    return FeatureView("delays", **given | changed)


class Fed:
    """A view of aggregates over a stream; what is read of it is logged."""

    def __init__(self, workspace: Workspace, ticks: Ticks) -> None:
        self.workspace, self.ticks, self.stream = workspace, ticks, open_log(workspace)
        apply(FeatureService("late", [delays()]))
        self.reader = FeatureReader(get_definition("service", "late"), workspace)
        self.log = VectorLog(workspace, share=1)
        self.count = 0

    def send(self, chance: random.Random, count: int) -> None:
        """Events, some of which happened long ago, at the present."""
        for number in range(count):
            self.ticks.now += chance.choice((0, 1, SECOND_US, 30 * SECOND_US))
            time_us = self.ticks.now - chance.choice((0, 0, 1, 40 * 60 * SECOND_US, 150 * 60 * SECOND_US))
            data = {
                "carrier": chance.choice(("UA", "AA")),
                "delay": chance.choice(FLOATS),
                "gate": chance.choice("abc"),
            }
            self.stream.append("arrivals", [event_of(data, id=f"{self.ticks.now}-{number}", time_us=time_us)])

    def read(self, after_s: float = 0) -> None:
        """Read everything so many seconds from now."""
        asked = [{"carrier": each} for each in ("UA", "AA", "ZZ")]
        self.count += len(asked)
        at_us = self.ticks.now + int(after_s * SECOND_US)
        self.log.read(self.reader, asked, [f"{self.count}/{each['carrier']}" for each in asked], at_us=at_us)


@pytest.mark.parametrize("seed", range(3))
def test_aggregates_are_what_the_offline_path_gives(workspace: Workspace, ticks: Ticks, seed: int) -> None:
    chance = random.Random(seed)
    fed = Fed(workspace, ticks)
    for _ in range(8):
        fed.send(chance, chance.randint(1, 20))
        if chance.random() < 0.8:
            feed("delays", max_events=chance.choice((1, 7, 5000)))
        fed.read(chance.choice((0, 0.5, 600, 5000)))
        fed.read(chance.choice((0, 0.5, 600, 5000)))
    ingest_stream("arrivals", FIELDS)
    report = verify("late")
    assert report.mismatches == ()
    assert (report.vectors, report.verified) == (fed.count, fed.count)
    assert report.stale > 0


@here
def test_a_view_that_begins_with_the_dataset_is_judged_by_that(workspace: Workspace, ticks: Ticks) -> None:
    chance = random.Random(4)
    fed = Fed(workspace, ticks)
    fed.send(chance, 30)
    ingest_stream("arrivals", FIELDS)
    materialize("delays")
    fed.read()
    fed.send(chance, 30)
    feed("delays")
    fed.read()
    assert (verify("late").mismatched, verify("late").unjudged) == (0, 2), "the dataset lacks the newer events"
    ingest_stream("arrivals", FIELDS)
    assert verify("late").verified == fed.count


@here
def test_reads_that_met_an_older_state_than_earlier_ones_are_judged_by_that(workspace: Workspace, ticks: Ticks) -> None:
    """Servers' clocks differ, so that a read may carry a later time and an earlier offset."""
    chance = random.Random(5)
    fed = Fed(workspace, ticks)
    for number in range(3):
        fed.send(chance, 20)
        feed("delays")
        fed.read(after_s=1000 - 400 * number)
        fed.read(after_s=4000)
    ingest_stream("arrivals", FIELDS)
    report = verify("late")
    assert (report.mismatches, report.verified) == ((), fed.count)


SHORT = """
    import polars as pl

    def short(arrivals):
        return arrivals.filter(pl.col("delay") < 5)
    """


@here
@pytest.mark.parametrize(("head", "tail"), [(0, {"delay": "late"}), (2, {"delay": "late"}), (2, {"delay": 9.0})])
def test_what_the_dataset_has_read_is_judged_whatever_became_of_it(
    workspace: Workspace, module: Module, tail: dict[str, Any], head: int
) -> None:
    """The last event is set apart, or no row of the view; the store holds a value that no event gave."""
    view = FeatureView("newest", entity=Entity("carrier"), source=Stream("arrivals", FIELDS), features=["delay"],
                       transform=module("short_arrivals", SHORT).short)  # fmt: skip
    apply(FeatureService("now", [view]))
    open_log(workspace).append(
        "arrivals", [event_of({"carrier": "UA", "delay": 1.0, "gate": "a"}) for _ in range(head)]
    )
    open_log(workspace).append("arrivals", [event_of({"carrier": "AA", "gate": "a"} | tail)])
    feed("newest")
    definition = get_definition("view", "newest")
    rows = pl.DataFrame({"delay": [99.0]})
    (wrong,) = Packing(definition.record.fields, definition.number).pack(rows, np.array([2**60]), np.array([2**60]))
    workspace.online.write([(values_prefix(definition) + b"UA", wrong)])
    log, reader = VectorLog(workspace, share=1), FeatureReader(get_definition("service", "now"), workspace)
    log.read(reader, [{"carrier": "UA"}], ["1"], at_us=2**61)
    assert verify("now").views[0].pending == 1
    ingest_stream("arrivals", FIELDS)
    report = verify("now")
    assert (report.mismatched, report.unjudged, report.passed) == (1, 0, False)


def served_and_kept(workspace: Workspace, ticks: Ticks, times: list[int], kept: list[int]) -> ParityReport:
    """The report on three events, of which the store and the dataset have other times."""
    fed = Fed(workspace, ticks)
    delays = (0.1, 0.2, 0.3)
    for number, (time, delay) in enumerate(zip(times, delays, strict=True)):
        data = {"carrier": "UA", "delay": delay, "gate": "a"}
        fed.stream.append("arrivals", [event_of(data, id=f"e{number}", time_us=ticks.now - time * SECOND_US)])
    feed("delays")
    fed.read()
    ingest_stream("arrivals", FIELDS)
    other = [clock.from_us(ticks.now - time * SECOND_US) for time in kept]
    dataset("arrivals").commit(dataset("arrivals").to_polars().with_columns(event_time=pl.Series(other)))
    return verify("late")


@here
def test_what_a_killed_materialization_left_is_told(workspace: Workspace, ticks: Ticks) -> None:
    served = Fed(workspace, ticks)
    served.send(random.Random(1), 20)
    feed()
    ingest_stream("arrivals", FIELDS)
    view = get_definition("view", "delays")
    prefix, place = tiles_prefix(view), watermark_place(view)
    mark = read_watermark(workspace.online.get(place))
    assert mark is not None
    with alone(view, workspace, patience_s=0) as lease:
        running = Running("arrivals/1", ticks.now, lease.token)
        fence = Fence(view, workspace.online, workspace.online.get(place), mark, running)
        fence.write([(key, None) for key, _ in workspace.online.scan(prefix)])
        served.log.read(served.reader, [{"carrier": "UA"}], ["one"])
        assert [view.interrupted for view in verify("late").views] == [False]
    report = verify("late")
    assert (report.mismatched, report.views[0].unsettled, report.views[0].interrupted) == (0, 1, True)
    assert "1 unsettled (a materialization was killed; run it again)" in str(report)
    feed()
    assert not verify("late").views[0].interrupted


@here
def test_events_that_the_dataset_went_on_without_are_named(workspace: Workspace, ticks: Ticks) -> None:
    fed, chance = Fed(workspace, ticks), random.Random(0)
    fed.send(chance, 10)
    ingest_stream("arrivals", FIELDS)
    fed.send(chance, 10)
    feed("delays")
    fed.read()
    end = fed.stream.end("arrivals")
    fed.stream.trim("arrivals", end + 1)
    ingest_stream("arrivals", after=end)
    found = verify("late")
    assert {each.cause for each in found.mismatches} == {Cause.LEFT_OUT}
    said = "the view had the events 11 to 20, which `arrivals` went on without"
    assert found.mismatches[0].why == f'{said}; `materialize("delays")` drops them'
    materialize("delays")
    fed.read()
    after = verify("late")
    assert after.mismatches[0].why == said
    assert after.views[0].mismatched == found.views[0].mismatched, "what is read from now on is right"


@here
def test_sums_in_another_order_are_found(workspace: Workspace, ticks: Ticks) -> None:
    report = served_and_kept(workspace, ticks, [1, 2, 3], [3, 2, 1])
    assert {(each.feature, each.cause, each.why) for each in report.mismatches} == {
        ("delay_sum_30m", Cause.FLOATS, "it is right when added up from the last to the first"),
        ("delay_sum_2h", Cause.FLOATS, "it is right when added up from the last to the first"),
        ("delay_mean_2h", Cause.FLOATS, "it is right when added up from the last to the first"),
        ("delay_std_1h", Cause.FLOATS, "it differs in its last bits"),
    }  # fmt: skip
    assert {each.served for each in report.mismatches if "sum" in each.feature} == {0.6}


@here
def test_events_of_another_zone_are_found(workspace: Workspace, ticks: Ticks) -> None:
    minutes = [60 * each for each in (125, 90, 10)]
    report = served_and_kept(workspace, ticks, [time - 3600 for time in minutes], minutes)
    assert {(each.cause, each.why) for each in report.mismatches} == {
        (Cause.ZONE, "it is right by times that are +1:00 h off")
    }


@here
def test_events_that_are_received_late_are_found(workspace: Workspace, ticks: Ticks) -> None:
    fed = Fed(workspace, ticks)
    fed.send(random.Random(2), 30)
    feed("delays")
    fed.read()
    ingest_stream("arrivals", FIELDS)
    received = pl.col("received_at") + pl.duration(hours=1)  # so that the read saw what nobody could know
    dataset("arrivals").commit(dataset("arrivals").to_polars().with_columns(received))
    report = verify("late")
    assert report.mismatched == 2
    assert {each.cause for each in report.mismatches} == {Cause.LATE}
