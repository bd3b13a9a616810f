"""Recorded traffic sent again: a request says as of when its features are read, if the server takes that."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from mainspring.serving import bind
from mainspring.serving.app import ServingApp
from mainspring.serving.feedback import coverage, log_labels
from mainspring.workspace import Workspace
from tests.serving.flights import ANSWER, NOW, REQUEST, late

pytestmark = pytest.mark.one_backend("the instant of a read is passed on to any store alike")


def answered(workspace: Workspace, time: str = "", *, replay: bool) -> httpx.Response:
    async def ask() -> httpx.Response:
        app: Any = ServingApp(workspace, "delays", replay=replay)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/predict", json=REQUEST, headers={"Feature-Time": time})

    return asyncio.run(ask())


@pytest.fixture
def bound(workspace: Workspace) -> Workspace:
    late()
    bind("delays", "delay@production", version="delay/1")
    return workspace


@pytest.mark.parametrize(("at", "present"), [(NOW, 4), (NOW + timedelta(days=2), 2)])
def test_features_are_read_as_of_the_instant_that_a_request_says(bound: Workspace, at: datetime, present: int) -> None:
    answer = answered(bound, at.isoformat(), replay=True).json()
    assert answer["features"]["PRESENT"] == present
    assert (answer["predictions"] == pytest.approx([ANSWER])) == (present == 4)


def test_an_instant_is_refused_if_it_is_none_or_the_server_replays_nothing(bound: Workspace) -> None:
    refused = answered(bound, NOW.isoformat(), replay=False)
    assert (refused.status_code, "--replay" in refused.json()["error"]) == (422, True)
    unread = answered(bound, "yesterday", replay=True)
    assert (unread.status_code, "`yesterday`" in unread.json()["error"]) == (422, True)


def test_a_label_is_as_late_as_it_was_after_the_instant_that_a_replayed_request_says(bound: Workspace) -> None:
    at = NOW - timedelta(days=300)
    for hours in (1, 2, 3):
        prediction = answered(bound, at.isoformat(), replay=True).json()["ids"][0]
        log_labels("delays", [{"prediction": prediction, "label": 1.0, "known_at": at + timedelta(hours=hours)}])
    told = coverage("delays")
    assert told.labelled == 3
    assert told.delay_s == pytest.approx((7_200, 10_080, 10_728))


@pytest.mark.parametrize("replay", [True, False])
def test_a_label_of_any_other_request_is_as_late_as_it_came_after_the_answer(bound: Workspace, replay: bool) -> None:
    prediction = answered(bound, replay=replay).json()["ids"][0]
    log_labels("delays", [{"prediction": prediction, "label": 1.0}])
    delay_s = coverage("delays").delay_s
    assert delay_s is not None
    assert 0 < delay_s[0] < 600
