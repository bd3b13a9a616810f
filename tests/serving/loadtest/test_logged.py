"""What callers sent is sent again: their requests as they were, newest of a time, and only if the log holds all of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

from mainspring.errors import InvalidError, NotFoundError
from mainspring.models import Field, Output, Signature, register
from mainspring.serving import ServingApp, bind
from mainspring.serving.loadtest import Records, Step, load_test, posts, records_of, requests, server_at
from mainspring.serving.predictions import compact_predictions, scan_predictions
from mainspring.serving.predictions.log import prediction_log
from mainspring.web.server import serve_aside
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("what is read of the log has suites of its own on both")
Ask = Callable[..., None]


def registered(*columns: str, nullable: bool = False) -> None:
    """A version of the model that takes these columns, and its endpoint."""
    fields = tuple(Field(name, "f64", nullable=nullable and name == "y") for name in columns)
    model: Any = DummyRegressor().fit(np.ones((2, len(columns))), np.array([0.0, 2.0]))
    version = register(model, "line", signature=Signature(fields, Output("number")), input_kind="numpy")
    bind("line", "line@production", version=str(version))


@pytest.fixture
def url(workspace: Workspace) -> Iterator[str]:
    registered("x", "y")
    with serve_aside(ServingApp(workspace, "line")) as url:
        yield url


@pytest.fixture
def ask(url: str) -> Ask:
    def asked(*rows: tuple[float, float], **headers: str) -> None:
        body = json.dumps({"records": [{"x": x, "y": y} for x, y in rows]}).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with urlopen(Request(f"{url}/predict/line", body, {"Content-Type": "application/json"} | named)) as answer:
            assert answer.status == 200

    return asked


def logged(url: str, **more: Any) -> Records:
    return records_of(server_at(url), logged=True, **more)


def sent(posted: list[bytes]) -> list[Any]:
    """The records of requests."""
    return [json.loads(each.partition(b"\r\n\r\n")[2])["records"] for each in posted]


def test_requests_are_those_of_the_log_with_their_rows_and_route_keys_in_order(url: str, ask: Ask) -> None:
    ask((1, 2), (3, 4), X_Route_Key="who\xe9")
    ask((5, 6), X_Request_Id="again")
    ask((7, 8), X_Request_Id="again")
    target, records = server_at(url), logged(url)
    whole = posts(target, records)
    one, two, three, four = ({"x": x, "y": x + 1} for x in (1.0, 3.0, 5.0, 7.0))
    assert list(records) == [one, two, three, four]
    assert sent(whole) == [[one, two], [three], [four]]
    assert ["X-Route-Key: who\xe9\r\n".encode("latin-1") in each for each in whole] == [True, False, False]
    assert sent(posts(target, records, rows=3)) == [[one, two, three]]
    tensors = posts(target, records, protocol="oip")
    assert [target.ask(each).status for each in [*whole, *tensors]] == [200] * 6
    assert b"X-Route-Key: who" in tensors[0]
    assert (records.rows, records_of(target).rows) == (0, 1)


def test_what_a_load_test_asked_is_not_asked_again(url: str, ask: Ask) -> None:
    ask((1, 2))
    target = server_at(url)
    for _ in range(2):
        found = logged(url)
        assert list(found) == [{"x": 1, "y": 2}]
        report = load_test(target, posts(target, found), [Step(100, 0.04)], rows=found.rows, connections=1)
        assert report.steps[0].outcomes == {"200": 4}
    assert "1 row a request" in report.conditions
    assert scan_predictions("line", role="loadtest").collect().height == 10


def test_a_time_is_kept_to(url: str, ask: Ask) -> None:
    ask((1, 2))
    time.sleep(0.002)
    between = datetime.now(UTC)
    time.sleep(0.002)
    ask((3, 4))
    assert [each["x"] for each in logged(url, since=between)] == [3]
    assert [each["x"] for each in logged(url, until=between)] == [1]
    with pytest.raises(
        InvalidError, match=r"`line` is not an endpoint with requests in its log since .* Name an earlier"
    ):
        logged(url, since=datetime(2100, 1, 1, tzinfo=UTC))


def test_the_newest_are_taken_in_whole_requests(url: str, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_MOST_RECORDS", 3)
    ask((1, 0), (2, 0), (3, 0), (4, 0), (5, 0))
    assert [each["x"] for each in logged(url)] == [3, 4, 5]
    ask((6, 0), (7, 0))
    assert [each["x"] for each in logged(url)] == [6, 7]
    ask((8, 0))
    assert [each["x"] for each in logged(url)] == [6, 7, 8]


def test_what_was_compacted_is_found_beside_what_was_not(
    workspace: Workspace, ask: Ask, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (1, 3):
        ask((first, 0), (first + 1, 0))
        prediction_log(workspace).rotate()
        assert compact_predictions().rows == 2
    ask((5, 0))
    assert [each["x"] for each in logged(url)] == [1, 2, 3, 4, 5]
    monkeypatch.setattr(requests, "_MOST_RECORDS", 3)
    assert [each["x"] for each in logged(url)] == [3, 4, 5]


def test_a_column_that_is_not_in_the_log_is_named(workspace: Workspace) -> None:
    with serve_aside(_app(workspace, "x", "y")) as url:
        assert "Send other records with --data or --dataset." in _refused(url, "`line` is not an endpoint with")
    bind("line", redact=["x", "y"])
    with serve_aside(ServingApp(workspace, "line")) as url:
        _ask(url, {"x": 1, "y": 2})
        said = _refused(
            url, "logged: `x, y` is not in all that `line` logged in that time: redacted, or not taken then"
        )
        assert "\n" not in said
    bind("line", redact=[], log="off")
    with serve_aside(ServingApp(workspace, "line")) as url:
        at = datetime.now(UTC)
        assert "It logs nothing" in _refused(url, "`line` is not an endpoint with", since=at)


def test_a_null_is_sent_again_unless_it_may_be_what_was_redacted(workspace: Workspace) -> None:
    with serve_aside(_app(workspace, "x", "y", nullable=True)) as url:
        _ask(url, {"x": 1, "y": None})
        assert list(logged(url)) == [{"x": 1, "y": None}]
    bind("line", redact=["y"])
    with serve_aside(ServingApp(workspace, "line")) as url:
        _ask(url, {"x": 1, "y": 2})
        _refused(url, "logged: `y` is not in all that `line` logged")


def test_a_server_whose_endpoint_the_workspace_has_not_is_refused(url: str, workspace: Workspace) -> None:
    target = server_at(f"{url}/score")
    with pytest.raises(InvalidError, match="an address without a path"):
        records_of(target, logged=True)
    with workspace.database.transaction() as tx:
        tx.execute("UPDATE endpoint SET name = 'lines'")
    with pytest.raises(NotFoundError, match=r"No endpoint `line`\. Nearest: lines"):
        logged(url)


def _app(workspace: Workspace, *columns: str, nullable: bool = False) -> ServingApp:
    registered(*columns, nullable=nullable)
    return ServingApp(workspace, "line")


def _ask(url: str, *records: dict[str, Any]) -> None:
    body = json.dumps({"records": records}).encode()
    urlopen(Request(f"{url}/predict/line", body, {"Content-Type": "application/json"})).close()


def _refused(url: str, begin: str, **more: Any) -> str:
    with pytest.raises(InvalidError) as caught:
        logged(url, **more)
    assert begin in str(caught.value)
    return str(caught.value)
