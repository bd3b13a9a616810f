"""JSON APIs: every way of paging, cursors, retries as asked for, and tokens that go nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mainspring.data import dataset
from mainspring.data.ingestion import Http, LinkHeader, NextLink, Offset, PageNumber, Paging, Retry, Token, ingest
from mainspring.errors import InvalidError, NotFoundError, StorageError, UnavailableError
from mainspring.workspace import Workspace
from tests.data.ingestion.api import Answer, Api, Asked, api

pytestmark = [pytest.mark.usefixtures("workspace"), pytest.mark.one_backend("no backend is asked before rows are read")]
AT_ONCE = Retry(sleep=lambda _: None)
RECORDS = [{"id": n, "carrier": "UA"} for n in range(7)]


@pytest.fixture
def server() -> Iterator[Api]:
    with api() as found:
        yield found


def ids(name: str = "flights") -> list[Any]:
    return dataset(name).to_polars()["id"].to_list()


def pages(server: Api, kind: Paging) -> None:
    """Answer three records a page, the way that a kind of paging expects."""

    def answer(asked: Asked) -> Answer:
        start = int(next(iter(asked.params.values()), 0))
        if isinstance(kind, PageNumber):
            start = 3 * (start - 1)
        limit = int(asked.params.get("limit", 3))
        there, following = RECORDS[start : start + limit], start + limit
        more = following < len(RECORDS)
        links = {"Link": f'</items?start={following}>; rel="next"'} if more and isinstance(kind, LinkHeader) else {}
        meta = {"next": f"/items?start={following}" if more else None, "cursor": str(following) if more else ""}
        return Answer({"data": {"items": there}, "meta": meta}, headers=links)

    server.answer = answer


@pytest.mark.parametrize(
    "paging", [LinkHeader(), NextLink("meta.next"), PageNumber(), Offset(limit=3), Token("meta.cursor", "after")],
    ids=lambda kind: type(kind).__name__,
)  # fmt: skip
def test_every_page_is_read(server: Api, paging: Any) -> None:
    pages(server, paging)
    assert ingest(Http(f"{server.url}/items", "data.items", paging), to="flights").rows == 7
    assert ids() == list(range(7))


def test_only_what_is_new_is_asked_for_and_ties_are_taken_once(server: Api) -> None:
    there = [{"id": 1, "at": "2013-01-01"}, {"id": 2, "at": "2013-01-02"}]
    server.answer = lambda asked: Answer([each for each in there if str(each["at"]) >= asked.params.get("since", "")])
    source = Http(f"{server.url}/flights", cursor="at", since="since")
    assert ingest(source, to="flights").rows == 2
    there += [{"id": 3, "at": "2013-01-02"}]
    assert ingest(source, to="flights").rows == 1
    assert ingest(source, to="flights").rows == 0
    assert ids() == [1, 2, 3]
    assert [asked.params for asked in server.asked] == [{}, {"since": "2013-01-02"}, {"since": "2013-01-02"}]


def test_a_busy_server_is_asked_again_after_what_it_says(server: Api) -> None:
    answers = iter([Answer(status=429, headers={"Retry-After": "7"}), Answer(status=503), Answer([{"id": 1}])])
    server.answer = lambda _: next(answers)
    waits: list[float] = []
    done = ingest(f"{server.url}/flights", to="flights", retry=Retry(sleep=waits.append))
    assert (done.rows, done.retries, waits) == (1, 2, [7.0, 1.0])


def test_pages_that_were_read_are_not_asked_for_again(server: Api) -> None:
    pages(server, PageNumber())
    whole, failing = server.answer, iter([False, True, False, True])
    server.answer = lambda asked: Answer(status=500) if next(failing, False) else whole(asked)
    source = Http(f"{server.url}/items", "data.items", PageNumber())
    assert ingest(source, to="flights", retry=AT_ONCE).retries == 2
    assert ids() == list(range(7))
    assert [asked.params["page"] for asked in server.asked] == ["1", "2", "2", "3", "3", "4"]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(status=404), NotFoundError, "No address"),
        (Answer(status=401, text="who are you"), StorageError, r"401 .*\(who are you\)\. Check the token"),
        (Answer(status=500), UnavailableError, "it answered 500"),
        (Answer(text="<html>"), InvalidError, "is not a JSON document"),
        (Answer({"items": []}), InvalidError, "is not a list of JSON objects"),
        (Answer([{"id": 1}, {"id": "x"}]), InvalidError, "column `id`"),
        (Answer([{"id": 1}], headers={"Link": '<http://elsewhere.example/>; rel="next"'}), InvalidError, "of the same host"),
        (Answer([{"id": 1}], headers={"Link": '</a?b=1>; rel="next"'}), InvalidError, "another page than this one"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said(server: Api, answer: Answer, kind: type[Exception], said: str) -> None:
    server.answer = lambda _: answer
    with pytest.raises(kind, match=said):
        ingest(f"{server.url}/flights", to="flights", retry=AT_ONCE)


def test_tokens_are_sent_but_not_recorded(server: Api, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "correct-horse-battery")
    server.answer = lambda _: Answer([{"id": 1}])
    source = Http(
        f"{server.url}/flights", token="secret:env/API_KEY", params={"key": "secret:env/API_KEY", "size": 5},
        headers={"X-Key": "secret:env/API_KEY"},
    )  # fmt: skip
    version = ingest(source, to="flights").version
    (asked,) = server.asked
    assert asked.headers["Authorization"] == "Bearer correct-horse-battery"
    assert (asked.params, asked.headers["X-Key"]) == (
        {"key": "correct-horse-battery", "size": "5"}, "correct-horse-battery",
    )  # fmt: skip
    assert version is not None
    assert "horse" not in f"{version.source}{workspace.database.query('SELECT * FROM dataset_cursor')}"


def test_records_may_lack_columns_and_bring_new_ones(server: Api) -> None:
    answers = iter([[{"id": 1}], [{"id": 2.5, "gate": "A"}], []])
    server.answer = lambda _: Answer(next(answers))
    done = ingest(Http(f"{server.url}/flights", paging=PageNumber()), to="flights")
    assert dataset("flights").to_polars().rows() == [(1.0, None), (2.5, "A")]
    assert done.widened == {"id": "i64 became f64", "gate": "came later; null before"}


def test_a_server_that_is_not_there_is_transient() -> None:
    with pytest.raises(UnavailableError, match="can't be reached"):
        ingest("http://127.0.0.1:9/flights", to="flights", retry=Retry(attempts=1))
