"""A stream into a dataset: every event once, as a row or set apart, whatever its data are."""

from __future__ import annotations

import gc
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Event as Stop

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.ingestion import EventTable, forget_cursor, ingest_stream, list_cursors
from mainspring.data.retention import remove_dataset
from mainspring.data.tables.rows import FrameDraft
from mainspring.errors import ConflictError, InvalidError, NotFoundError
from mainspring.streams import event_of, open_log, send
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace

FIELDS = {"carrier": "str", "delay": "f64"}


def sent(workspace: Workspace, *delays: object) -> None:
    send("arrivals", [{"carrier": "UA", "delay": delay} for delay in delays], workspace=workspace)


def test_events_become_rows_and_what_does_not_fit_is_set_apart(workspace: Workspace) -> None:
    sent(workspace, 3, "late", 4.5)
    done = ingest_stream("arrivals", FIELDS)
    assert (str(done.version), done.events, done.apart, done.offset) == ("arrivals/1", 3, 1, 3)
    rows = dataset("arrivals").to_polars()
    assert rows.columns == ["event_id", "event_time", "received_at", "event_offset", "carrier", "delay"]
    assert rows.select("event_offset", "delay").rows() == [(1, 3.0), (3, 4.5)]
    (apart,) = dataset("arrivals-quarantine").to_polars().to_dicts()
    assert (apart["event_offset"], apart["data"]) == (2, '{"carrier":"UA","delay":"late"}')
    assert apart["quarantine_reasons"] == ["Expected `float | null`, got `str` - at `$.delay`"]
    assert [(each.source, each.state) for each in list_cursors("arrivals")] == [("stream://arrivals", {"offset": 3})]


def test_only_what_is_new_is_read_and_the_fields_are_known(workspace: Workspace) -> None:
    sent(workspace, 1, 2)
    ingest_stream("arrivals", FIELDS, max_events=1)
    assert ingest_stream("arrivals").events == 0
    sent(workspace, 3)
    assert (ingest_stream("arrivals").events, dataset("arrivals").latest().number) == (1, 3)
    sent(workspace, "all of them")
    done = ingest_stream("arrivals")
    assert (done.apart, done.offset, str(done.version)) == (1, 4, "arrivals/3")
    send("arrivals", {"carrier": "B6", "gate": 7}, workspace=workspace)
    ingest_stream("arrivals", {"gate": "i64"})
    assert dataset("arrivals").to_polars()["gate"].to_list() == [None, None, None, 7]


def test_a_removed_dataset_is_filled_again(workspace: Workspace) -> None:
    sent(workspace, 1)
    ingest_stream("arrivals", FIELDS)
    remove_dataset("arrivals")
    assert ingest_stream("arrivals", FIELDS).events == 1
    forget_cursor("arrivals", "stream://arrivals")
    assert ingest_stream("arrivals").events == 1


def test_trimmed_events_are_missed_by_nobody_who_does_not_say_so(workspace: Workspace) -> None:
    sent(workspace, *range(10))
    open_log(workspace).trim("arrivals", 7)
    with pytest.raises(NotFoundError, match="read after 6"):
        ingest_stream("arrivals", FIELDS)
    done = ingest_stream("arrivals", FIELDS, after=6)
    assert (done.events, done.offset, ingest_stream("arrivals", after=6).events) == (4, 10, 0)
    assert dataset("arrivals").to_polars()["event_offset"].to_list() == [7, 8, 9, 10]


def test_a_gap_of_trimmed_events_is_left_out_by_who_says_so_and_no_more(workspace: Workspace) -> None:
    sent(workspace, *range(4))
    assert ingest_stream("arrivals", FIELDS, after=1).events == 3
    sent(workspace, *range(4, 9))
    log = open_log(workspace)
    with pytest.raises(InvalidError, match=r"after: `6` .* at most 4, .* Those from 5 to 6 are there"):
        ingest_stream("arrivals", after=6)
    log.trim("arrivals", 7)
    for after in (0, 4, 5):
        with pytest.raises(NotFoundError, match=r"trimmed; read after 6 to go on without them"):
            ingest_stream("arrivals", after=after)
    with pytest.raises(InvalidError, match=r"at most 6, .* Those from 7 to 8 are there"):
        ingest_stream("arrivals", after=8)
    assert (ingest_stream("arrivals", after=6).events, ingest_stream("arrivals", after=2).events) == (3, 0)
    log.trim("arrivals", 10)
    sent(workspace, 10, 11)
    log.trim("arrivals", 12)
    done = ingest_stream("arrivals", after=11)
    assert (done.events, done.offset, str(done.version)) == (0, 11, "arrivals/2")
    sent(workspace, 12)
    assert ingest_stream("arrivals").events == 1, "the gap was left out once and for all"
    assert dataset("arrivals").to_polars()["event_offset"].to_list() == [2, 3, 4, 7, 8, 9, 12]


@pytest.mark.parametrize(
    ("stream", "after", "said"),
    [
        ("arrivals", -1, "after: `-1` .* an offset, from 0 on"),
        ("arrivals", 3, "after: `3` .* up to the end of `arrivals`, 2"),
        ("arivals", 0, "No stream `arivals`. Nearest: arrivals"),
    ],
)
def test_where_nothing_can_be_read_is_said(workspace: Workspace, stream: str, after: int, said: str) -> None:
    sent(workspace, 1, 2)
    with pytest.raises((InvalidError, NotFoundError), match=said):
        ingest_stream(stream, FIELDS, after=after)
    assert list_cursors(stream) == []


def test_the_rows_of_batches_that_are_kept_are_let_go(workspace: Workspace) -> None:
    sent(workspace, *range(4))
    alive: list[int] = []

    class Counting(Stop):
        def is_set(self) -> bool:
            alive.append(sum(type(each) is FrameDraft for each in gc.get_objects()))
            return len(alive) > 4

    assert ingest_stream("arrivals", FIELDS, follow=Counting(), max_events=1).events == 4
    assert alive[-1] == alive[1], "one that knows the head, however many came before"


def test_fields_that_do_not_fit_are_named(workspace: Workspace) -> None:
    sent(workspace, 1)
    with pytest.raises(InvalidError, match="fields: `none`"):
        ingest_stream("arrivals")
    with pytest.raises(NotFoundError, match=r"No stream `arivals`\. Nearest: arrivals"):
        ingest_stream("arivals")
    with pytest.raises(InvalidError, match="event_id"):
        ingest_stream("arrivals", {"event_id": "str"})
    ingest_stream("arrivals", FIELDS)
    with pytest.raises(InvalidError, match="in `arrivals/1`"):
        ingest_stream("arrivals", {"delay": "i64"})
    dataset("other").commit(pl.DataFrame({"a": [1]}))
    with pytest.raises(InvalidError, match="event_id"):
        ingest_stream("arrivals", FIELDS, to="other")


def test_one_process_reads_a_stream_into_a_dataset(workspace: Workspace) -> None:
    sent(workspace, 1)
    stop, begun = Stop(), Stop()

    def follow() -> None:
        ingest_stream("arrivals", FIELDS, follow=stop, max_wait_s=0, workspace=workspace)

    def look() -> None:
        try:
            while not dataset("arrivals", workspace).versions():
                begun.wait(0.01)
            with pytest.raises(ConflictError, match="arrivals"):
                ingest_stream("arrivals", FIELDS, workspace=workspace)
            sent(workspace, 2)
            while dataset("arrivals", workspace).latest().rows < 2:
                begun.wait(0.01)
        finally:
            stop.set()

    at_once(follow, look)
    assert ingest_stream("arrivals").events == 0


def test_what_python_sends_is_read_as_it_was() -> None:
    """Types that JSON lacks are texts on the way; each type takes its own values alone."""
    given = {
        "whole": 2**40, "small": 200, "at": datetime(2026, 1, 1, tzinfo=UTC), "day": date(2026, 1, 2),
        "price": Decimal("1.25"), "list": [1, None], "raw": b"\0x", "span": timedelta(hours=1), "word": "x",
        "both": {"a": 1}, "pair": [1.0, 2.0],
    }  # fmt: skip
    table = EventTable({
        "whole": "i64", "small": "u8", "at": "datetime[us, UTC]", "day": "date", "price": "decimal[10,2]",
        "list": "list[i64]", "raw": "bin", "span": "duration", "word": 'enum["x"]', "both": 'struct{"a": i64}',
        "pair": "array[f64, 2]",
    })  # fmt: skip
    bad = [
        {"whole": 2**63}, {"whole": 1.5}, {"whole": True}, {"small": 256}, {"at": "soon"}, {"day": "2026-13-01"},
        {"price": "1.255"}, {"price": "123456789.00"}, {"list": 5}, {"raw": "not base64!"}, {"word": "y"},
        {"both": {"a": "b"}}, {"pair": [1.0]},
    ]  # fmt: skip
    rows, apart = table.parted([event_of(each) for each in [given, *bad, {}]])
    assert rows.select(list(given)).row(0, named=True) == given
    assert set(rows.select(list(given)).row(1)) == {None}
    assert (rows.height, apart.height) == (2, len(bad))
    assert all(apart["quarantine_reasons"].list.len() == 1)


def test_times_without_a_zone_are_utc() -> None:
    table = EventTable({"aware": "datetime[us, UTC]", "naive": "datetime[us]"})
    texts = ["2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00"]
    rows, _ = table.parted([event_of({"aware": text, "naive": text}) for text in texts])
    assert rows["aware"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)] * 2
    assert rows["naive"].dt.replace_time_zone("UTC").to_list() == rows["aware"].to_list()
