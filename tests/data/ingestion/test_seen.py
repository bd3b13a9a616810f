"""Paged APIs whose records shift: each is taken once, in whatever order they are given and wherever a reading breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data import dataset
from mainspring.data.ingestion import Http, Limits, Offset, Retry, ingest, seen
from mainspring.data.ingestion.seen import Seen
from mainspring.data.ingestion.source import IngestMode, Interrupted, Reading
from mainspring.errors import UnavailableError
from tests.data.ingestion.api import Answer, Api, Asked, api

ONCE = Retry(attempts=1)
AT_ONCE = Retry(sleep=lambda _: None)


@pytest.fixture(scope="module")
def server() -> Iterator[Api]:
    with api() as found:
        yield found


@pytest.fixture(scope="module")
def one_client() -> Iterator[None]:
    """A client takes longer to make than a hundred requests."""
    with httpx.Client() as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Http, "_client", lambda _: nullcontext(client))
        yield


class Listing:
    """An API of records with ids, which gives them in some order and looks at `since` in some way; more come at any time."""

    def __init__(self, order: str, since: str, cursor: str, limit: int) -> None:
        self.order, self.since, self.cursor, self.limit = order, since, cursor, limit
        # One without an order shows that on its first page: by chance each could look as if it had one.
        self.ids = [2, 1, 3] if order == "unordered" else [1, 2, 3]
        if order == "descending":
            self.ids.reverse()

    def come(self, places: list[int]) -> None:
        """More records."""
        for place in places:
            at = {"ascending": len(self.ids), "descending": 0}.get(self.order, 3 + place % (len(self.ids) - 2))
            self.ids.insert(at, len(self.ids) + 1)

    def record(self, number: int) -> dict[str, Any]:
        """One of them."""
        at = (datetime(2013, 1, 1) + timedelta(minutes=number)).isoformat()
        return {"id": number, "at": at if self.cursor == "at" else number}

    def page(self, asked: Asked) -> Answer:
        """Those from an offset on."""
        given_since, offset = asked.params.get("since"), int(asked.params.get("start", 0))
        there = [self.record(number) for number in self.ids]
        if given_since and self.since != "ignored":
            low = given_since if self.cursor == "at" else int(given_since)
            there = [each for each in there if each["at"] > low or (self.since == "inclusive" and each["at"] == low)]
        more = offset + self.limit < len(there)
        link = f'</a?start={offset + self.limit}{f"&since={given_since}" if given_since else ""}>; rel="next"'
        return Answer(there[offset : offset + self.limit], headers={"Link": link} if more else {})


step = st.tuples(st.sampled_from(["ok", "ok", "ok", "stage", "fail", "kill"]), st.lists(st.integers(0, 40), max_size=3))


def read(server: Api, listing: Listing, source: Http, before: Any, steps: Iterator[Any]) -> tuple[list[int], Any]:
    """One reading to its end, begun anew or gone on with as an ingest does; before each request something happens."""
    staged: list[int] = []
    state = None
    while True:
        pending: list[int] = []
        reached, happens = None, "ok"

        def answer(asked: Asked) -> Answer:
            nonlocal happens
            happens, come = next(steps, ("ok", []))
            listing.come(come)
            return Answer(status=503) if happens in ("fail", "kill") else listing.page(asked)

        server.answer = answer
        reading = Reading("append", {}, is_resumed=state is not None, retry=AT_ONCE)
        try:
            for batch in source.batches(before if state is None else state, reading):
                pending += batch.frame["id"].to_list() if batch.frame is not None else []
                reached = batch.state
                if happens == "stage":
                    staged, state, pending = staged + pending, reached, []
            return staged + pending, state if reached is None else reached
        except Interrupted:
            if happens == "fail" and reached is not None:
                staged, state = staged + pending, reached


@pytest.mark.usefixtures("one_client")
@settings(max_examples=30)
@given(
    order=st.sampled_from(["ascending", "descending", "unordered"]), since=st.sampled_from(["inclusive", "strict", "ignored"]),
    cursor=st.sampled_from(["at", "id"]), limit=st.integers(3, 5), first=st.lists(st.integers(0, 40), max_size=15),
    readings=st.lists(st.lists(step, max_size=12), min_size=1, max_size=4),
)  # fmt: skip
def test_each_record_is_taken_once(
    server: Api, order: str, since: str, cursor: str, limit: int, first: list[int], readings: list[list[Any]]
) -> None:
    listing = Listing(order, since, cursor, limit)
    listing.come(first)
    source = Http(f"{server.url}/a", cursor="at", since="since")
    taken: list[int] = []
    state = None
    for steps in [*readings, []]:
        rows, state = read(server, listing, source, state, iter(steps))
        taken += rows
    assert sorted(taken) == sorted(listing.ids)


@pytest.mark.usefixtures("one_client")
@settings(max_examples=30)
@given(
    values=st.lists(st.integers(0, 3), max_size=25), limit=st.integers(1, 8), has_cursor=st.booleans(),
    order=st.sampled_from(["ascending", "descending", "unordered"]), fails=st.lists(st.booleans(), max_size=12),
    mode=st.sampled_from(["append", "replace", "upsert"]),
)  # fmt: skip
def test_a_list_that_stays_the_same_is_read_whole_whatever_the_pages(
    server: Api, values: list[int], limit: int, has_cursor: bool, order: str, fails: list[bool], mode: IngestMode
) -> None:
    """Also of equal records, on one page or on several, and where requests fail; the next reading finds nothing new."""
    there = values if order == "unordered" else sorted(values, reverse=order == "descending")
    failing = iter(fails)

    def answer(asked: Asked) -> Answer:
        start = int(asked.params["offset"])
        return Answer(status=503) if next(failing, False) else Answer([{"v": each} for each in there[start:][:limit]])

    server.answer = answer
    cursor, since = ("v", "since") if has_cursor else ("", "")
    source = Http(f"{server.url}/a", paging=Offset(limit=limit), cursor=cursor, since=since)
    before = None
    for expected in (there, [] if has_cursor and mode == "append" else there):
        taken: list[int] = []
        state, is_over = None, False
        while not is_over:
            try:
                reading = Reading(mode, {}, is_resumed=state is not None, retry=AT_ONCE)
                for batch in source.batches(before if state is None else state, reading):
                    taken += batch.frame["v"].to_list() if batch.frame is not None else []
                    state = batch.state
                is_over = True
            except Interrupted:
                pass
        assert taken == expected
        before = state if mode != "replace" else None


def test_without_a_cursor_what_may_be_there_twice_is_told(server: Api) -> None:
    listing = Listing("descending", "ignored", "id", 3)
    listing.come([0] * 3)

    def answer(asked: Asked) -> Answer:
        listing.come([0] if asked.params.get("start") == "3" else [])
        return listing.page(asked)

    server.answer = answer
    batches = list(Http(f"{server.url}/a").batches(None, Reading("append", {})))
    assert [n for batch in batches if batch.frame is not None for n in batch.frame["id"]] == [6, 5, 4, 4, 3, 2, 1]
    assert batches[-1].warning == (
        f"1 record equal to what the page before of {server.url}/a held was taken: if records came in between, so that pages"
        " shifted, they are there twice. A cursor takes each once, as mode='upsert' with a key does."
    )


def test_a_page_that_cannot_be_asked_for_again_loses_no_record(server: Api) -> None:
    rows, asked_for = [3, 2, 2, 1], set[str]()

    def answer(asked: Asked) -> Answer:
        offset = asked.params["offset"]
        if offset in asked_for:
            return Answer(status=410)
        asked_for.add(offset)
        return Answer([{"v": each} for each in rows[int(offset) :][:2]])

    server.answer = answer
    source = Http(f"{server.url}/a", paging=Offset(limit=2), cursor="v", since="since")
    batches = list(source.batches(None, Reading("append", {})))
    assert [n for batch in batches if batch.frame is not None for n in batch.frame["v"]] == rows
    assert batches[-1].warning.startswith("1 record equal to what the page before")


@pytest.mark.usefixtures("workspace")
@pytest.mark.one_backend("no backend is asked before rows are read")
@pytest.mark.parametrize("mode", ["append", "replace"])
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_reading_of_the_newest_first_goes_on_where_new_records_came(
    server: Api, mode: IngestMode, is_killed: bool
) -> None:
    class Killed(BaseException):
        pass

    def stop(progress: Any) -> None:
        if is_killed and progress.rows:
            raise Killed

    listing = Listing("descending", "inclusive", "id", 10)
    listing.come([0] * 17)
    server.answer = lambda asked: Answer(status=503) if "start" in asked.params else listing.page(asked)
    source = Http(f"{server.url}/a", cursor="at", since="since")
    with pytest.raises(Killed if is_killed else UnavailableError):
        ingest(source, to="t", mode=mode, retry=ONCE, limits=Limits(rows=1), progress=stop)
    listing.come([0] * 3)
    server.answer = listing.page
    done = ingest(source, to="t", mode=mode)
    if mode == "append":
        assert (done.rows, done.resumed_rows) == (20, 10)
        assert done.warnings[0].startswith("3 records equal to what an earlier page of this reading of ")
        assert ingest(source, to="t").rows == 3
    assert sorted(dataset("t").to_polars()["id"]) == list(range(1, 24))


@pytest.mark.usefixtures("workspace")
@pytest.mark.one_backend("no backend is asked before rows are read")
def test_a_look_at_an_earlier_page_is_tried_again_as_the_ingest_is_and_counted(server: Api) -> None:
    rows, starts, waits = [3, 2, 2, 1], list[str](), list[float]()

    def answer(asked: Asked) -> Answer:
        offset = asked.params["offset"]
        starts.append(offset)
        if starts.count(offset) == 2:
            return Answer(status=503, headers={"Retry-After": "7"})
        return Answer([{"v": each} for each in rows[int(offset) :][:2]])

    server.answer = answer
    source = Http(f"{server.url}/a", paging=Offset(limit=2), cursor="v", since="since")
    done = ingest(source, to="t", retry=Retry(sleep=waits.append))
    assert sorted(dataset("t").to_polars()["v"]) == sorted(rows)
    assert waits == [7.0] * done.retries
    assert done.retries > 0


def test_of_many_records_against_the_order_the_last_are_known_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_KNOWN", 3)
    found = Seen({}, "id")
    for start in (20, 17, 14):
        found.new([{"id": start - n} for n in range(3)], "api", {}, lambda _: [])
    assert found.new([{"id": n} for n in (13, 12, 11)], "api", {}, lambda _: []) == [2]


def test_an_api_in_no_order_is_asked_once_more_from_where_new_records_can_stand(server: Api) -> None:
    listing = Listing("unordered", "inclusive", "id", 3)
    listing.come([0] * 5)
    server.answer = listing.page
    source, state, asked = Http(f"{server.url}/a", cursor="at", since="since"), None, []
    for _ in range(4):
        server.asked = []
        _, state = read(server, listing, source, state, iter([]))
        asked.append(server.asked[0].params.get("since"))
        listing.come([len(listing.ids) - 3])  # at the end
    assert asked == [None, "3", "8", "10"]


def test_pages_by_offset_shift_too(server: Api) -> None:
    listing = Listing("descending", "inclusive", "id", 3)
    listing.come([0] * 4)

    def answer(asked: Asked) -> Answer:
        start = int(asked.params["offset"])
        listing.come([0] if start else [])
        return Answer([listing.record(number) for number in listing.ids[start : start + 3]])

    server.answer = answer
    source = Http(f"{server.url}/a", paging=Offset(limit=3), cursor="at", since="since")
    batches = list(source.batches(None, Reading("append", {})))
    assert [n for batch in batches if batch.frame is not None for n in batch.frame["id"]] == [7, 6, 5, 4, 3, 2, 1]
    assert batches[-1].warning.startswith("3 records equal to what an earlier page")
