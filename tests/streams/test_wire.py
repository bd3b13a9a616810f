"""What others write becomes events, or is refused with its path."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from mainspring import clock
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.streams import Event, event_of, open_log, send
from mainspring.streams.wire import events_of, read_events, shown, time_us
from mainspring.workspace import Workspace

CLOUD: dict[str, Any] = {
    "specversion": "1.0", "id": "7", "source": "/sensors/a", "type": "com.example.read", "time": "1970-01-01T00:00:01Z",
    "data": {"x": 1}, "datacontenttype": "application/json",
}  # fmt: skip


def test_our_form_and_cloudevents_are_understood() -> None:
    (own, cloud), problems = events_of([{"id": "a", "time": "1970-01-01T00:00:02+00:00", "data": {"y": None}}, CLOUD])
    assert problems == []
    assert (own.id, own.time_us, own.payload, own.type) == ("a", 2_000_000, b'{"y":null}', "")
    assert (cloud.id, cloud.time_us, cloud.data, cloud.type) == (
        "/sensors/a#7",
        1_000_000,
        {"x": 1},
        "com.example.read",
    )


def test_what_is_left_out_is_made() -> None:
    (first, second), _ = events_of([{"data": {}}, {"data": {}}])
    assert first.id != second.id
    assert first.time_us <= second.time_us


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (3, "[0]: `3` is an int, expected an event"),
        ({"id": 3, "data": {}}, "[0].id: `3` is an int, expected text"),
        ({"id": "", "data": {}}, "[0].id: `` is not text of at least one character"),
        ({"id": "a"}, "[0].data: `id` is not an event with `data`"),
        ({}, "[0].data: `{}` is not an event with `data`"),
        ({"id": "a", "data": None}, "[0].data: `None` is a NoneType, expected an object"),
        ({"id": "a", "data": [1]}, "[0].data: `[1]` is a list"),
        ({"id": "a", "data": {}, "time": None}, "[0].time: `None` is a NoneType, expected a time"),
        ({"id": "a", "data": {}, "time": "soon"}, "[0].time: `soon` is not a time"),
        ({"id": "a", "data": {}, "time": 1.5}, "[0].time: `1.5` is a float"),
        ({"id": "a", "data": {}, "time": 1_790_000_000}, "[0].time: `1790000000` is an int"),
        ({"id": "a", "data": {}, "time": True}, "[0].time: `True` is a bool"),
        ({"id": "a", "dta": {}}, "[0].dta: `{}` is not a field of an event: id, time, data, type. Nearest: data."),
        (CLOUD | {"specversion": "0.3"}, "[0].specversion: `0.3` is not 1.0"),
        (CLOUD | {"source": ""}, "[0].source: `` is a str, expected text"),
        (CLOUD | {"data_base64": "AA=="}, "[0].data_base64: `AA==` is not data as a JSON object"),
    ],
    ids=range(16),
)
def test_what_is_wrong_is_said_with_its_path(record: Any, problem: str) -> None:
    events, problems = events_of([record, {"data": {}}])
    assert len(events) == 1
    assert problems[0].startswith(problem)


def test_times_of_every_kind_are_instants() -> None:
    east = timezone(timedelta(hours=2))
    assert time_us(datetime(1970, 1, 1, 2, tzinfo=east)) == time_us(datetime(1970, 1, 1)) == 0
    assert time_us(date(1970, 1, 2)) == time_us("1970-01-02") == time_us("1970-01-02T02:00+02:00") == 86_400_000_000
    assert time_us(datetime(1, 1, 1, tzinfo=UTC)) < 0


def test_a_file_is_a_document_or_lines() -> None:
    assert [each.id for each in read_events(b'[{"id": "a", "data": {}},\n {"id": "b", "data": {}}]')] == ["a", "b"]
    assert [each.id for each in read_events(b'{"id": "a", "data": {}}\n\n{"id": "b", "data": {}}\n')] == ["a", "b"]
    assert read_events(b"") == []
    with pytest.raises(InvalidError, match="line 2"):
        read_events(b'{"data": {}}\n{"data": {')
    with pytest.raises(InvalidError, match=r"\[1\].*1 more"):
        read_events(b'{"data": {}}\n{}\n{}\n')


@pytest.fixture
def workspace(tmp_path: Any) -> Any:
    with Workspace.open(tmp_path) as opened:
        yield opened


def test_dicts_rows_and_events_are_sent(workspace: Workspace) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame({"n": [1, 2], "at": [when, when + timedelta(days=1)], "x": [0.5, None]})
    send("s", frame, id="n", time="at", type="row", workspace=workspace)
    send("s", frame.to_pandas(), id="n", time="at", workspace=workspace)
    send("s", {"n": 3}, id="n", workspace=workspace)
    send("s", [{"n": 4}, event_of({}, id="own")], id="n", workspace=workspace)
    send("s", event_of({}, id="own"), workspace=workspace)
    found = open_log(workspace).read("s")
    assert [(each.id, each.offset) for each in found] == [("1", 1), ("2", 2), ("3", 3), ("4", 4), ("own", 5)]
    assert (found[1].time_us, found[1].type) == (time_us(when) + 86_400_000_000, "row")
    assert found[1].data == {"n": 2, "at": "2026-01-02T00:00:00Z", "x": None}


def test_missing_times_and_ids_are_counted(workspace: Workspace) -> None:
    rows = [{"at": None}, {"at": 1}, {}]
    for field in ({"time": "at"}, {"id": "at"}):
        with pytest.raises(InvalidError, match="2 rows of 3 have none"):
            send("s", rows, **field, workspace=workspace)
    for wrong in ("text", 3, [3]):
        with pytest.raises(WrongTypeError):
            send("s", wrong, workspace=workspace)
    assert open_log(workspace).streams() == []


def test_an_event_is_read_back_as_it_was_sent(workspace: Workspace) -> None:
    sent = Event("a", 5, b'{"x": 1.0}')
    send("s", sent, workspace=workspace)
    (found,) = open_log(workspace).read("s")
    assert (found.id, found.time_us, found.payload) == (sent.id, sent.time_us, sent.payload)


def test_a_stored_time_that_no_datetime_shows_stops_no_reader() -> None:
    assert shown(Event("a", clock.LAST_US, b"{}"))["time"] == datetime.max.replace(tzinfo=UTC)
    assert shown(Event("a", clock.LAST_US + 1, b"{}"))["time"] == clock.LAST_US + 1


def test_a_file_with_bytes_that_are_no_text_is_refused_by_its_line() -> None:
    with pytest.raises(InvalidError, match="line 2"):
        read_events(b'{"data": {"x": 1}}\n{"data": {"fli\xf5ht": 1}}\n')
    assert read_events(b'\xef\xbb\xbf{"data": {"x": 1}}\n{"data": {}}\n')[0].data == {"x": 1}
