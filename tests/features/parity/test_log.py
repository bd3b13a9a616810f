"""A sample of served vectors is kept, decided by their ids, each value as it was served."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    apply,
    get_definition,
    materialize,
    training_set,
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


FORMS: dict[str, list[Any]] = {
    "datetime[us, UTC]": [START, START.isoformat(), "2013-01-01", START.replace(tzinfo=None), START.date(), 1, None],
    "datetime[ns, America/New_York]": [START, START.isoformat(), "2013-01-01T00:00:00.123456789Z"],
    "datetime[ms]": [START, "2013-01-01T00:00:00.001Z", "2013-01-01T00:00:00.0001Z", 1_704_067_200],
    "date": [START.date(), "2013-01-01", START, 19_000], "time": ["05:00:00", time(5, 0, 0, 7), 5, "05:00Z"],
    "duration[us]": [timedelta(-3, 7), "PT1S", "-P1D", 5], "duration[ms]": [timedelta(1), timedelta(microseconds=1)],
    "list[datetime[us, UTC]]": [["2013-01-01", None], [START], (START,), [], [5]], "list[time]": [["05:00"], [time(5)], [5]],
    'struct{"at": datetime[us, UTC], "of": list[duration[us]]}': [{"at": START}, {"of": ["PT1S", timedelta(1)]}, {"at": 5}, {}],
    "array[f32, 2]": [[1, 0.1], np.array([1.0, 2.0]), (1, 2), [1e300, 0], [1]], "f32": [0.1, 1, float("inf"), 1e300],
    "f64": [1, 1.5, 2**60, np.float64(0.1), "1"], "i64": [1, 2**63 - 1, 2**63, 1.5, True], "u64": [2**64 - 1, -1],
    "decimal[10, 2]": ["1.50", 1, 1.5, Decimal("1.5"), "1.505"], "bin": [b"\xff", bytearray(b"a"), memoryview(b"b"), "a"],
    "bool": [True, False, None, 1], "str": ["a", "", None, 5], 'enum["a", "b"]': ["a", "b", "c"],
}  # fmt: skip


@pytest.mark.parametrize("dtype", FORMS)
def test_whatever_form_a_request_has_what_was_answered_is_verified(workspace: Workspace, dtype: str) -> None:
    """It is refused, or answered and logged in one form; of a training set's rows the same is computed."""
    asked = OnDemandView("asked", request={"x": dtype}, features={"same": pl.col("x"), "none": pl.col("x").is_null()})
    apply(FeatureService("asked", [asked]))
    reader, log = FeatureReader(get_definition("service", "asked"), workspace), VectorLog(workspace, share=1)
    served: list[list[Any]] = []
    for number, form in enumerate(FORMS[dtype]):
        with suppress(WrongTypeError):
            (vector,) = log.read(reader, [{"x": form}], [f"{number}"])
            again = reader.read([{"x": vector.values[0]}])[0].values
            assert repr(again) == repr(vector.values), "what was taken is taken again as the same"
            served.append(list(vector.values))
    assert served
    assert [row for one in logged(log) for row in one.rows] == [[row[0]] for one in logged(log) for row in one.values]
    report = verify("asked")
    assert (report.verified, report.mismatches, report.failed) == (len(served), (), {})
    rows = pl.DataFrame({"x": [values[0] for values in served], "at": [START] * len(served)}, strict=False)
    found = training_set(rows.rename({"x": "y"}).with_columns(x=pl.col("y")), "asked", time="at")
    assert repr(list(map(list, found.frame.select(reader.names).rows()))) == repr(served)


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
