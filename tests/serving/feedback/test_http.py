"""Labels over HTTP: what is answered is in the log, also when the server is killed; what is wrong is told by its place."""

from __future__ import annotations

import asyncio
import json
import random
from http.client import HTTPConnection
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mainspring.serving import Endpoint, ServingApp, bind
from mainspring.serving.feedback import labelled, scan_labels
from mainspring.serving.feedback.intake import FeedbackLog
from mainspring.workspace import Workspace, using
from tests.serving.lines import answers_until_killed, make_project

one_backend = pytest.mark.one_backend("the log is files")
_NDJSON = "application/x-ndjson"


def asked(
    app: ServingApp, body: Any, path: str = "/feedback", kind: str = "application/json", method: str = "POST"
) -> tuple[int, Any]:
    """The status and the document that are answered."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)

    async def post() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"content-type", kind.encode())]
        await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
        return sent

    sent = asyncio.run(post())
    text = b"".join(each.get("body", b"") for each in sent)
    return sent[0]["status"], msgspec.json.decode(text) if text[:1] in b"{[" else text.decode()


@pytest.fixture
def app(workspace: Workspace, flights: Endpoint) -> ServingApp:
    return ServingApp(workspace, "delays")


def test_labels_of_answered_predictions_are_taken_in_each_form(workspace: Workspace, app: ServingApp) -> None:
    rows = [{"flight": f"UA{number}", "day": "2024-10-04", "x": 1.0} for number in range(4)]
    app.live["delays"].predictor.predictor.model.predict = lambda given: [1.0] * len(given)
    status, answer = asked(app, rows, "/predict")
    assert status == 200, answer
    first, second, third, _ = answer["ids"]
    assert asked(app, {"labels": [{"prediction": first, "label": 1}]})[1]["accepted"] == 1
    assert asked(app, [{"prediction": second, "label": 2}], "/feedback/delays")[0] == 200
    lines = b'{"prediction": "%s", "label": 3}\n\n{"flight": "UA3", "day": "2024-10-04", "label": 4}\n' % third.encode()
    assert asked(app, lines, kind=_NDJSON)[1]["accepted"] == 2
    found = labelled("delays").select("input.flight", "label").collect().sort("input.flight")
    assert found["label"].to_list() == [1, 2, 3, 4]
    status, text = asked(app, b"", "/metrics", method="GET")
    assert 'mainspring_labels_total{endpoint="delays",outcome="accepted"} 4' in text
    assert "/feedback/delays" in asked(app, b"", "/openapi.json", method="GET")[1]["paths"]
    many = {"labels": [{"prediction": first, "label": float(number)} for number in range(2_000)]}
    assert asked(app, many)[1]["accepted"] == 2_000, "these are taken in a thread"


@one_backend
def test_what_is_wrong_is_told_by_its_place_and_the_rest_is_accepted(app: ServingApp) -> None:
    right = {"prediction": "0" * 32, "label": 5}
    status, answer = asked(app, [right, {**right, "label": "late"}])
    assert (status, answer["accepted"], answer["refused"]) == (422, 1, 1)
    assert answer["problems"] == [{"path": "[1].label", "message": '"late" is a str, expected a number'}]
    assert scan_labels("delays").collect().height == 1
    for body, kind, path, wanted in (
        (b"{", "application/json", "/feedback", 400), ([right], "text/csv", "/feedback", 415),
        ({"labels": 5}, "application/json", "/feedback", 422), ([right], "application/json", "/feedback/other", 404),
        (b"5", "application/json", "/feedback", 422), (b"x" * (17 << 20), "application/json", "/feedback", 413),
    ):  # fmt: skip
        assert asked(app, body, path, kind)[0] == wanted, (kind, path)
    assert asked(app, b"", method="GET")[0] == 405


@one_backend
def test_a_full_disk_answers_503_with_a_time_to_come_again(app: ServingApp, small_disk: Path) -> None:
    app.live["delays"].intake._log = FeedbackLog(small_disk / "feedback")
    labels = [{"prediction": f"{number:032x}", "label": number} for number in range(5_000)]
    statuses = [asked(app, labels)[0] for _ in range(10)]
    assert (statuses[0], statuses[-1]) == (200, 503)


@one_backend
def test_a_server_follows_how_labels_join(workspace: Workspace, app: ServingApp) -> None:
    assert asked(app, [{"flight": "UA1", "label": 5}])[0] == 422
    bind("delays", label_key=["flight"])
    app.follow("delays")
    assert asked(app, [{"flight": "UA1", "label": 5}])[0] == 200
    assert app.live["delays"].intake.counts == [("accepted", 1), ("refused", 1)]


def _sent(link: HTTPConnection) -> list[str]:
    """The predictions whose labels are sent, and acknowledged."""
    ids = [f"{random.getrandbits(128):032x}" for _ in range(3)]
    body = json.dumps([{"prediction": each, "label": 1.0} for each in ids])
    link.request("POST", "/feedback", body, {"Content-Type": "application/json"})
    return ids if json.loads(link.getresponse().read())["accepted"] == len(ids) else []


@one_backend
@pytest.mark.parametrize("kills", [1, pytest.param(40, marks=pytest.mark.soak)])
def test_no_acknowledged_label_is_missing_after_a_kill(tmp_path: Path, kills: int) -> None:
    make_project(tmp_path)
    acknowledged: set[str] = set()
    for _ in range(kills):
        answers = answers_until_killed(tmp_path, _sent, least=random.randrange(20, 70), clients=4)
        acknowledged.update(chain.from_iterable(answers))
    with Workspace.open(tmp_path) as workspace, using(workspace):
        found = set(scan_labels("lines").collect()["prediction"])
    assert acknowledged <= found
