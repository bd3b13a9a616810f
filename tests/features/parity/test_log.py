"""A sample of served vectors is kept, decided by their ids, each value as it was served."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.errors import InvalidError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    apply,
    get_definition,
    materialize,
    verify,
)
from mainspring.features.online.watermark import read_watermark
from mainspring.features.parity import VectorLog
from mainspring.features.parity.log import Logged, remove_old
from mainspring.store import read_segments
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("the log is files on this machine")
START = datetime(2013, 1, 1, tzinfo=UTC)
START_US = int(START.timestamp() * 1_000_000)


@pytest.fixture
def reader(workspace: Workspace) -> FeatureReader:
    dataset("weather").commit(pl.DataFrame({"origin": ["EWR", "JFK"], "at": [START] * 2, "wind": [5, None]}))
    view = FeatureView("weather_at", entity=Entity("origin"), source="weather", event_time="at", features=["wind"])
    apply(FeatureService("late", [view]))
    materialize("weather_at", until=START)
    return FeatureReader(get_definition("service", "late"), workspace)


def logged(log: VectorLog) -> list[Logged]:
    return [msgspec.msgpack.decode(each.record, type=Logged) for each in read_segments(log.folder)]


def test_a_read_is_logged_with_what_the_store_reflected(workspace: Workspace, reader: FeatureReader) -> None:
    log = VectorLog(workspace, share=1)
    asked = [{"origin": "EWR"}, {"origin": "JFK"}, {"origin": "LGA"}]
    vectors = log.read(reader, asked, ["a/0", "a/1", "a/2"], at_us=START_US + 1)
    assert vectors == reader.read(asked, at_us=START_US + 1)
    (found,) = logged(log)
    assert (found.service, found.at_us, found.ids) == (reader.service.id, START_US + 1, ["a/0", "a/1", "a/2"])
    assert (found.request, found.rows) == (("origin",), [["EWR"], ["JFK"], ["LGA"]])
    assert found.values == [[5], [None], [None]]
    assert found.statuses == [["PRESENT"], ["NULL_VALUE"], ["NOT_FOUND"]]
    assert found.event_us == [[START_US], [START_US], [None]]
    assert found.views == (get_definition("view", "weather_at").id,)
    assert [read_watermark(each) for each in found.watermarks] == [
        read_watermark(workspace.online.get(reader._marks[0]))
    ]


def test_the_sample_is_decided_by_the_id(workspace: Workspace, reader: FeatureReader) -> None:
    log = VectorLog(workspace, share=0.2)
    ids = [f"request-{number}/0" for number in range(3000)]
    kept = [each for each in ids if log.samples(each)]
    assert 500 < len(kept) < 700
    assert kept == [each for each in ids if VectorLog(workspace, share=0.2).samples(each)]
    log.read(reader, [{"origin": "EWR"}] * 3000, ids)
    assert [each for record in logged(log) for each in record.ids] == kept
    assert not any(VectorLog(workspace, share=0).samples(each) for each in ids)
    assert all(log.samples(each, share=1) for each in ids)
    with pytest.raises(InvalidError, match="share"):
        VectorLog(workspace, share=1.5)


def test_nothing_is_written_for_what_is_not_sampled(workspace: Workspace, reader: FeatureReader) -> None:
    log = VectorLog(workspace, share=0)
    assert log.read(reader, [{"origin": "EWR"}], ["a"])[0].values == [5]
    assert logged(log) == []


def test_keys_and_values_of_every_type_are_kept_and_verified(workspace: Workspace) -> None:
    """Each is the same bits in the log, and what the offline path gives; keys may be larger than 64 bits."""
    ids = [UUID(int=7), UUID(int=1 << 127)]
    columns = {
        "flight": [2**62, -5], "tail": [str(each) for each in ids], "at": [START] * 2,
        "f32": pl.Series([0.1, -0.0], dtype=pl.Float32), "f64": [float("nan"), -0.0], "day": [date(2013, 1, 1), None],
        "clock": [time(1, 2, 3, 4), None], "local": [datetime(2013, 1, 1, 5, 0, 0, 1), None],
        "there": pl.Series([START, None]).dt.convert_time_zone("America/New_York"),
        "span": [timedelta(days=-3, microseconds=7), None], "price": pl.Series([Decimal("1.50"), None]),
        "raw": [b"\xff\0", None], "big": pl.Series([2**64 - 1, 0], dtype=pl.UInt64), "yes": [True, None],
        "embedding": pl.Series([[0.1, None, -0.0], []], dtype=pl.List(pl.Float32)),
        "pair": [{"a": 0.1, "b": [date(2013, 1, 1)]}, None],
    }  # fmt: skip
    frame = pl.DataFrame(columns)
    dataset("planes").commit(frame)
    entity = Entity("plane", {"flight": int, "tail": UUID})
    view = FeatureView("plane", entity=entity, source="planes", event_time="at", features=frame.columns[3:])
    apply(FeatureService("late", [view]))
    materialize("plane", until=START)
    reader, log = FeatureReader(get_definition("service", "late"), workspace), VectorLog(workspace, share=1)
    asked = [
        {"flight": 2**62, "tail": ids[0]}, {"flight": -5, "tail": str(ids[1]).upper()}, {"flight": 2**90, "tail": ids[0]},
    ]  # fmt: skip
    log.read(reader, asked, ["a/0", "a/1", "a/2"], at_us=START_US)
    report = verify("late")
    assert report.mismatches == ()
    assert (report.verified, [each.verified for each in report.views]) == (3, [3])


def test_a_read_that_is_too_large_for_a_record_is_several(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """What is too large alone is dropped, and fails no request."""
    megabytes = {"small": 3, "large": 9}
    texts = ["x" * (size << 20) for size in megabytes.values()]
    dataset("words").commit(pl.DataFrame({"word": list(megabytes), "at": [START] * 2, "text": texts}))
    word = Entity("word")
    views = [FeatureView(name, entity=word, source="words", event_time="at", features=["text"]) for name in ("a", "b")]
    apply(FeatureService("late", [views[0], views[1]["text"].prefixed("b_")]))
    for view in views:
        materialize(view.name, until=START)
    reader, log = FeatureReader(get_definition("service", "late"), workspace), VectorLog(workspace, share=1)
    ids = [f"r/{number}" for number in range(6)]
    asked = [{"word": "large" if number == 4 else "small"} for number in range(6)]
    assert log.read(reader, asked, ids, at_us=START_US) == reader.read(asked, at_us=START_US)
    assert [each for one in logged(log) for each in one.ids] == [each for each in ids if each != "r/4"]
    assert (log.dropped, "1 vector too large" in caplog.text) == (1, True)
    report = verify("late")
    assert (report.verified, report.mismatches) == (5, ())


def test_old_segments_go_and_live_ones_stay(workspace: Workspace, reader: FeatureReader) -> None:
    log = VectorLog(workspace, share=1)
    log.read(reader, [{"origin": "EWR"}], ["a"])
    (old,) = log.folder.iterdir()
    os.utime(old, (0, 0))
    assert remove_old(log.folder, 14) == 0, "it is being written"
    log.close()
    assert remove_old(log.folder, 14) == 1
    assert logged(log) == []
