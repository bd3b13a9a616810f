"""JSON APIs: every way of paging, cursors, retries as asked for, and tokens that go nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from mainspring.data import dataset
from mainspring.data.ingestion import (
    Http,
    Limits,
    LinkHeader,
    NextLink,
    Offset,
    PageNumber,
    Paging,
    Retry,
    Token,
    ingest,
    list_cursors,
    seen,
)
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


@pytest.mark.parametrize("status", [400, 503])
def test_the_next_ingest_goes_on_with_the_page_that_failed(server: Api, status: int) -> None:
    pages(server, LinkHeader())
    whole = server.answer
    server.answer = lambda asked: Answer(status=status) if asked.params.get("start") == "3" else whole(asked)
    source = Http(f"{server.url}/items", "data.items", cursor="id", since="since")
    with pytest.raises(StorageError, match=f"it answered {status}"):
        ingest(source, to="flights", retry=AT_ONCE)
    server.answer, server.asked = whole, []
    done = ingest(source, to="flights")
    assert (done.rows, done.resumed_rows, [asked.params["start"] for asked in server.asked]) == (7, 3, ["3", "6"])
    assert ids() == list(range(7))


def test_without_a_cursor_an_interrupted_ingest_begins_anew(server: Api) -> None:
    """Nothing would tell what came in between, nor which of equal records are one."""
    there = [{"v": n} for n in (3, 2, 1)]
    busy = True

    def answer(asked: Asked) -> Answer:
        start = int(asked.params["offset"])
        return Answer(status=400) if busy and start else Answer(there[start:][:2])

    server.answer = answer
    source = Http(f"{server.url}/items", paging=Offset(limit=2))
    with pytest.raises(StorageError):
        ingest(source, to="t", retry=AT_ONCE)
    busy = False
    there.insert(0, {"v": 4})
    done = ingest(source, to="t")
    assert (done.rows, done.resumed_rows, done.warnings) == (4, 0, ())
    assert dataset("t").to_polars()["v"].to_list() == [4, 3, 2, 1]


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


@pytest.mark.parametrize("pages_of", [1, 3])
def test_of_values_of_several_kinds_text_is_made_where_it_is_declared(server: Api, pages_of: int) -> None:
    there = [{"id": n, "v": each} for n, each in enumerate([5, "x", 2.5, True, [1, "a"], {"a": 1.0}])]
    server.answer = lambda asked: Answer(there[int(asked.params["offset"]) :][:pages_of])
    source = Http(f"{server.url}/items", paging=Offset(limit=pages_of))
    with pytest.raises(InvalidError, match=r"/items.*, column `v`: .* types=\{'v': 'str'\}"):
        ingest(source, to="t")
    ingest(source, to="t", types={"v": "str"})
    assert dataset("t").to_polars()["v"].to_list() == ["5", "x", "2.5", "true", '[1,"a"]', '{"a":1.0}']


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("i64", [2**53 + 1, 1.0]), ("decimal[38, 18]", [1.1, 3]), ("decimal[38, 1]", [2**53 + 1, 1.5, "2"])],
)
def test_numbers_keep_their_digits_in_whole_numbers_and_decimals(server: Api, dtype: str, values: list[Any]) -> None:
    server.answer = lambda _: Answer([{"v": each} for each in values])
    ingest(f"{server.url}/items", to="t", types={"v": dtype})
    assert dataset("t").to_polars()["v"].to_list() == [Decimal(str(each)) for each in values]


@pytest.mark.parametrize(
    ("dtype", "value", "shown"),
    [
        ("f64", "late", "late"), ("i64", 1.5, r"1\.5"), ("i64", {"x": 1}, r"\{.x.: ?1\}"), ("i8", 300, "300"),
        ("f64", "8 8", "8 8"), ("list[i64]", ["late"], "late"), ("list[i64]", 5, "5"), ("i64", [1], r"\[1\]"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named_with_its_row(server: Api, dtype: str, value: Any, shown: str) -> None:
    fits = [1] if dtype == "list[i64]" else 1
    server.answer = lambda _: Answer([{"v": fits}, {}, {"v": value}])
    with pytest.raises(InvalidError, match=rf"/items, (row|record) 3, column `v`: `{shown}` is not .*\. [A-Z]"):
        ingest(f"{server.url}/items", to="t", types={"v": dtype})
    server.answer = lambda _: Answer([{"v": "8 "}, {"v": 2}] if dtype == "f64" else [])
    ingest(f"{server.url}/items", to="t", types={"v": dtype})
    assert dtype != "f64" or dataset("t").to_polars()["v"].to_list() == [8.0, 2.0]


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


@pytest.mark.parametrize("since", ["day", ""])
def test_records_that_were_taken_are_left_out_and_counted(server: Api, since: str) -> None:
    """Of an API that looks at the day alone, or at nothing."""
    there = [{"at": f"2013-01-0{day}T{hour}", "id": f"{day}-{hour}"} for day in (1, 2) for hour in (10, 11)]
    server.answer = lambda asked: Answer(
        [each for each in there if not since or each["at"][:10] >= asked.params.get("since", "")[:10]]
    )
    source = Http(f"{server.url}/flights", cursor="at", since="since")
    assert ingest(source, to="flights").rows == 4
    for hour in (12, 13):
        left = hour - 11 if since else hour - 9
        there.append({"at": f"2013-01-02T{hour}", "id": f"2-{hour}"})
        done = ingest(source, to="flights")
        assert (done.rows, len(done.warnings)) == (1, 1)
        told = "1 record that {} gave before was" if left == 1 else f"{left} records that {{}} gave before were"
        assert done.warnings[0] == f"{told.format(server.url + '/flights')} left out."
    there.append(late := {"at": "2013-01-02T09", "id": "late"})
    done = ingest(source, to="flights")
    assert (done.rows, "1 record whose `at` is below `2013-01-02T13`" in done.warnings[0]) == (1, True)
    assert "was appended: late, changed" in done.warnings[0]
    assert ids() == [each["id"] for each in there]
    assert there[-1] == late
    assert ingest(source, to="flights").rows == 0


@pytest.mark.parametrize(
    ("first", "later", "at_once"),
    [
        (["7", "8", "9"], ["10", "80"], 1),
        (["2013-01-01T02:30:00.5"], ["2013-01-01T02:30:01", "2013-01-01T02:30:01.25"], 50),
        (["2013-01-01T02:30:00Z"], ["2013-01-01T02:30:00.5Z"], 50),
        (["2013-01-01T02:30+02:00"], ["2013-01-01T02:10+01:00"], 1),
        (["v8", "v9"], ["v10", "v11"], 50),
        (["b", "a"], ["B"], 1),
    ],
)
def test_no_record_is_lost_by_an_order_that_is_the_apis_own(
    server: Api, first: list[str], later: list[str], at_once: int
) -> None:
    """The API knows what came later by its place in the list."""
    there = [{"id": each} for each in first]

    def answer(asked: Asked) -> Answer:
        begin = next((n for n, each in enumerate(there) if each["id"] == asked.params.get("since")), 0)
        start = begin + int(asked.params.get("offset", 0))
        return Answer(there[start : start + at_once])

    server.answer = answer
    source = Http(f"{server.url}/orders", paging=Offset(limit=at_once), cursor="id", since="since")
    ingest(source, to="orders")
    for each in later:
        there.append({"id": each})
        assert ingest(source, to="orders").rows == 1
        assert ingest(source, to="orders").rows == 0
    assert ids("orders") == [*first, *later]


def test_digits_and_times_are_asked_from_the_greatest_as_such(server: Api) -> None:
    there = [{"id": str(n)} for n in range(1, 81)]
    server.answer = lambda asked: Answer(
        [each for each in there if int(each["id"]) >= int(asked.params.get("since", 0))]
    )
    source = Http(f"{server.url}/orders", cursor="id", since="since")
    ingest(source, to="orders")
    there.append({"id": "101"})
    assert (ingest(source, to="orders").rows, server.asked[-1].params["since"]) == (1, "80")


@pytest.mark.parametrize("is_descending", [False, True])
def test_of_many_records_the_newest_are_known(
    server: Api, is_descending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "_KNOWN", 3)
    there = [{"id": n} for n in range(8)]
    if is_descending:
        there.reverse()
    server.answer = lambda asked: Answer(
        [each for each in there if each["id"] >= int(asked.params.get("since", 2)) - 2]
    )
    source = Http(f"{server.url}/orders", cursor="id", since="since")
    assert ingest(source, to="orders").rows == 8
    assert ingest(source, to="orders").rows == 0
    (cursor,) = list_cursors("orders")
    assert len(cursor.state["taken"]) == 3


def test_an_answer_without_records_forgets_nothing(server: Api) -> None:
    answers = iter([[{"id": 1}], [], [{"id": 1}, {"id": 2}]])
    server.answer = lambda _: Answer(next(answers))
    source = Http(f"{server.url}/orders", cursor="id", since="since")
    assert [ingest(source, to="orders").rows for _ in range(3)] == [1, 0, 1]


def test_what_was_left_out_before_a_page_failed_is_counted(server: Api) -> None:
    there = [{"id": n} for n in range(6)]
    busy = iter([False])
    server.answer = lambda asked: (
        Answer(status=503) if next(busy, False) else Answer(there[int(asked.params["offset"]) :][:2])
    )
    source = Http(f"{server.url}/orders", paging=Offset(limit=2), cursor="id", since="since")
    ingest(source, to="orders")
    busy = iter([False, True])
    done = ingest(source, to="orders", retry=AT_ONCE)
    assert (done.rows, done.retries) == (0, 1)
    assert done.warnings[0].startswith("5 records that ")


def test_an_upsert_takes_a_record_that_changed_back(server: Api) -> None:
    record = {"id": 1, "at": "2013-01-01", "v": "old"}
    server.answer = lambda _: Answer([dict(record)])
    source = Http(f"{server.url}/flights", cursor="at", since="since")
    for value in ("old", "new", "old"):
        record["v"] = value
        version = ingest(source, to="flights", mode="upsert", key="id").version
        assert dataset("flights").to_polars()["v"].to_list() == [value]
    assert ingest(source, to="flights", mode="upsert", key="id").version == version


def test_equal_records_are_as_many_as_were_given(server: Api) -> None:
    there = [{"at": "2013-01-01"}] * 5
    server.answer = lambda asked: Answer([each for each in there if each["at"] >= asked.params.get("since", "")])
    source = Http(f"{server.url}/sales", cursor="at", since="since")
    counts = [ingest(source, to="sales").rows for _ in range(2)]
    there += [{"at": "2013-01-01"}]
    counts += [ingest(source, to="sales").rows for _ in range(2)]
    assert counts == [5, 0, 1, 0]


def test_the_cost_of_records_at_one_value_of_the_cursor_does_not_grow() -> None:
    """Counted in comparisons of texts, not in time."""
    compared = 0

    class Text(str):
        """Counts how often it is compared."""

        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    found = seen.Seen({"start": 1, "high": 1, "known": {Text(n): 1 for n in range(2_000)}}, "at")
    assert len(found.new([{"id": n, "at": 1} for n in range(2_000)], "api", {}, lambda _: [])) == 2_000
    assert compared < 100


def test_other_parameters_are_another_source_but_paging_and_secrets_are_not(
    server: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "correct-horse-battery")
    server.answer = lambda asked: Answer([{"id": 1, "region": asked.params["region"]}])

    def read(query: str, **params: Any) -> int:
        source = Http(f"{server.url}/a?{query}", params=params, cursor="id", since="since", paging=Offset(limit=2))
        return ingest(source, to="flights").rows

    assert [read("region=eu"), read("region=us"), read("", region="eu"), read("limit=7&region=us&since=0")] == [
        1,
        1,
        0,
        0,
    ]
    assert read("api_key=abcd1234", region="eu", key="secret:env/API_KEY") == 0
    assert server.asked[-1].params["key"] == "correct-horse-battery"
    told = [(cursor.source, cursor.version) for cursor in list_cursors("flights")]
    assert [source.partition("?")[2] for source, _ in told] == ["region=eu", "region=us"]


def test_another_cursor_does_not_go_on_where_the_first_one_was(server: Api) -> None:
    server.answer = lambda _: Answer([{"id": 7, "at": 1}])
    ingest(Http(f"{server.url}/a", cursor="id", since="since"), to="flights")
    with pytest.raises(InvalidError, match="cursor: `at` is not `id`, by which it was read so far"):
        ingest(Http(f"{server.url}/a", cursor="at", since="since"), to="flights")


def test_a_cursor_does_not_go_on_where_reading_without_one_was(server: Api) -> None:
    server.answer = lambda _: Answer([{"id": 7, "at": 1}])
    ingest(Http(f"{server.url}/a"), to="flights")
    with pytest.raises(InvalidError, match="cursor: `id` is not what it was read by so far: it had no cursor"):
        ingest(Http(f"{server.url}/a", cursor="id", since="since"), to="flights")
    assert ids() == [7]


def test_an_api_without_records_replaces_all_rows(server: Api) -> None:
    server.answer = lambda _: Answer([{"id": 7}])
    ingest(Http(f"{server.url}/a"), to="flights")
    server.answer = lambda _: Answer([])
    done = ingest(Http(f"{server.url}/a"), to="flights", mode="replace")
    assert done.version is not None
    assert (str(done.version), done.version.schema, ids()) == ("flights/2", (("id", "i64"),), [])


def test_a_replacing_ingest_asks_for_all_pages_anew(server: Api) -> None:
    pages(server, LinkHeader())
    whole = server.answer
    server.answer = lambda asked: Answer(status=400) if asked.params.get("start") == "3" else whole(asked)
    source = Http(f"{server.url}/items", "data.items")
    with pytest.raises(StorageError):
        ingest(source, to="flights", mode="replace")
    server.answer, server.asked = whole, []
    assert ingest(source, to="flights", mode="replace").resumed_rows == 0
    assert (len(server.asked), ids()) == (3, list(range(7)))


def test_attempts_count_for_each_page_anew(server: Api) -> None:
    pages(server, PageNumber())
    whole = server.answer
    source = Http(f"{server.url}/items", "data.items", PageNumber(), cursor="id", since="since")
    failing = iter([False, True, True])
    server.answer = lambda asked: Answer(status=500) if next(failing, True) else whole(asked)
    waits: list[float] = []
    with pytest.raises(UnavailableError, match="it answered 500"):
        ingest(source, to="flights", retry=Retry(attempts=3, sleep=waits.append))
    assert ([asked.params["page"] for asked in server.asked], waits) == (["1", "2", "2", "2"], [0.5, 1.0])
    failing = iter([True, False] * 4)
    done = ingest(source, to="flights", retry=Retry(attempts=2, sleep=waits.append))
    assert (done.retries, ids()) == (3, list(range(7)))


@pytest.mark.parametrize("elsewhere", ["http://{other}/b", "https://{here}/b"])
def test_nothing_is_sent_where_a_redirect_leads_out_of_the_origin(
    server: Api, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "correct-horse-battery")
    with api() as other:
        target = elsewhere.format(other=other.url.partition("//")[2], here=server.url.partition("//")[2])
        server.answer = lambda _: Answer([], status=302, headers={"Location": target})
        with pytest.raises(InvalidError, match=r"/a: redirect: .* is not an address of the same scheme, host and port"):
            ingest(Http(f"{server.url}/a", headers={"X-Api-Key": "secret:env/API_KEY"}), to="flights")
        assert other.asked == []


def test_redirects_within_the_origin_are_followed_but_not_for_ever(server: Api) -> None:
    server.answer = lambda asked: (
        Answer([{"id": 1}]) if asked.path == "/b" else Answer([], status=308, headers={"Location": "/b"})
    )
    assert ingest(Http(f"{server.url}/a", headers={"X-Api-Key": "abc"}), to="flights").rows == 1
    assert server.asked[-1].headers["X-Api-Key"] == "abc"
    server.answer = lambda asked: Answer([], status=302, headers={"Location": asked.path})
    with pytest.raises(StorageError, match=r"it can't be read .*redirects"):
        ingest(f"{server.url}/c", to="others", retry=AT_ONCE)


@pytest.mark.parametrize("written", ["correct+horse/battery", "correct%2Bhorse%2Fbattery", "correct%2bhorse/battery"])
def test_a_secret_that_the_next_page_echoes_is_not_recorded(
    server: Api, workspace: Workspace, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "correct+horse/battery")
    recorded = []

    def answer(asked: Asked) -> Answer:
        if "page" in asked.params:
            recorded.append(str(workspace.database.query("SELECT state FROM dataset_staged")))
        first, busy = "page" not in asked.params, len(server.asked) == 2
        headers = {"Link": f'</a?api_key={written}&page=2>; rel="next"'} if first else {}
        return Answer([{"id": 1 if first else 2}], status=503 if busy else 200, headers=headers)

    server.answer = answer
    source = Http(f"{server.url}/a", params={"api_key": "secret:env/API_KEY"})
    assert ingest(source, to="flights", retry=AT_ONCE, limits=Limits(rows=1)).retries == 1
    keys = {asked.params["api_key"] for asked in server.asked}
    assert (ids(), keys <= {"correct+horse/battery", "correct horse/battery"}) == ([1, 2], True)
    assert not any("horse" in each for each in recorded)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(status=404), NotFoundError, "No address"),
        (Answer(status=401, text="who are you"), StorageError, r"401 .*\(who are you\)\. Check the token"),
        (Answer(status=500), UnavailableError, "it answered 500"),
        (Answer(text="<html>"), InvalidError, "is not a JSON document"),
        (Answer({"items": []}), InvalidError, "is not a list of JSON objects"),
        (Answer([{"id": 1}, {"id": "x"}]), InvalidError, "column `id`"),
        (Answer([{"id": 1, "o": {"b": 1}}, {"id": 2, "o": {"b": "x"}}]), InvalidError, "column `o"),
        (Answer([{"id": 2**53 + 1}, {"id": 0.5}]), InvalidError, "column `id`: `9007199254740993` is not a number"),
        (Answer([{"id": 1}], headers={"Link": '<http://elsewhere.example/>; rel="next"'}), InvalidError, "of the same scheme"),
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


def test_a_decimal_has_the_digits_that_an_api_writes(server: Api) -> None:
    body = '[{"id": 1, "x": 0.10000000000000001, "of": {"x": 0.30000000000000001, "share": 0.5}},'
    body += ' {"id": 2, "x": 12345678901234567.25, "of": {"x": 1, "share": 1}}]'
    server.answer = lambda _: Answer(text=body)
    types = {"x": "decimal[38, 17]", "of": 'struct{"x": decimal[38, 17], "share": f64}'}
    ingest(Http(f"{server.url}/items", cursor="id", since="after"), to="t", types=types)
    assert [str(each) for each in dataset("t").to_polars()["x"]] == [
        "0.10000000000000001", "12345678901234567.25000000000000000",
    ]  # fmt: skip
    assert [each["share"] for each in dataset("t").to_polars()["of"]] == [0.5, 1.0]
    assert str(dataset("t").to_polars()["of"][0]["x"]) == "0.30000000000000001"
    assert ingest(Http(f"{server.url}/items", cursor="id", since="after"), to="t", types=types).rows == 0
