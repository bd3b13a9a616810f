"""What is answered together is read together, and each request has what it has alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring import clock
from mainspring.data import dataset
from mainspring.features import (
    Entity,
    FeatureService,
    FeatureView,
    apply,
    get_definition,
    materialize,
    verify,
)
from mainspring.ledger import sample_limit
from mainspring.models import Field, Signature, register
from mainspring.serving import OnlinePredictor, ServingApp, bind
from mainspring.serving.predictions.log import predictions_folder
from mainspring.serving.predictions.record import decode
from mainspring.store import read_segments
from mainspring.store.lmdb import LmdbKeyValue
from mainspring.workspace import Workspace
from tests.serving.flights import late

pytestmark = pytest.mark.one_backend("the database is not asked")
KEYS = [*range(8), 3, 99, 2**130, "3", None]  # 99 is unknown, and the last three are wrong


@pytest.fixture(params=[0.0, 0.0005, 1.0], ids=["quick", "batched", "slow"])
def app(workspace: Workspace, request: pytest.FixtureRequest) -> ServingApp:
    """A model that answers the value of its one feature, which it can't do without, plus 100 times what it is given."""
    at = clock.now() - timedelta(minutes=1)
    dataset("rows").commit(pl.DataFrame({"k": range(8), "at": [at] * 8, "value": [float(k) for k in range(8)]}))
    apply(FeatureService("one", [FeatureView("rows", entity=Entity("k", {"k": int}), source="rows", event_time="at",
                                             features=["value"])]))  # fmt: skip
    materialize("rows")
    random = np.random.default_rng(0).normal(size=(20, 2))
    model = LinearRegression().fit(random, random @ [1, 100])
    signature = Signature((Field("value", "f64"), Field("own", "f64")))
    register(model, "sum", signature=signature, input_kind="numpy", features=get_definition("service", "one"))
    bind("sums", "sum@production", version="sum/1")
    made = ServingApp(workspace, "sums")
    log = made.live["sums"].predictor.log
    assert log is not None
    log.limit = sample_limit(1.0)  # all are verified
    batcher = made.live["sums"].batcher
    batcher.is_quick, batcher.is_slow = request.param == 0, request.param == 1
    return made


async def ask(client: httpx.AsyncClient, *records: dict[str, Any]) -> tuple[int, Any]:
    answer = await client.post("/predict", json={"records": list(records)})
    return answer.status_code, answer.json()


def told(app: ServingApp, *requests: list[dict[str, Any]], together: bool) -> list[tuple[int, Any]]:
    async def all_of() -> list[tuple[int, Any]]:
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # raw ASGI
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            if together:
                return await asyncio.gather(*[ask(client, *records) for records in requests])
            return [await ask(client, *records) for records in requests]

    return asyncio.run(all_of())


def meaning(answer: tuple[int, Any]) -> Any:
    status, body = answer
    return status, [round(each) for each in body.get("predictions", [])], body.get("features"), body.get("error")


def test_each_request_of_a_batch_has_what_it_has_alone(app: ServingApp, workspace: Workspace) -> None:
    requests = [[{"k": key, "own": number}] for number, key in enumerate(KEYS)]
    requests += [[{"k": 1, "own": 1}, {"k": 2, "own": 2}], [{"k": 1, "own": 1}, {"k": 98, "own": 2}], []]
    alone = told(app, *requests, together=False)
    assert [status for status, _ in alone] == [200] * 9 + [422] * 4 + [200, 422, 200]
    assert meaning(alone[8]) == (200, [803], {"PRESENT": 1}, None)
    assert "[1].value: there is no value (NOT_FOUND)" in alone[-2][1]["error"]
    together = told(app, *requests, together=True)
    assert list(map(meaning, together)) == list(map(meaning, alone))
    assert app.live["sums"].features == {"PRESENT": 2 * (9 + 2)}
    records = [decode(each.record) for each in read_segments(predictions_folder(workspace))]
    assert sum(each.rows for each in records) == 2 * (9 + 2)
    for each in records:  # each with its own part of what was read
        assert each.features is not None
        assert [list(values) for values in each.features.values] == [[key] for key in each.inputs["k"]]
        assert each.features.watermarks[0]
    report = verify("one", workspace=workspace)
    assert (report.passed, report.vectors) == (True, 2 * (10 + 2 + 2)), "also where nothing was answered"


def test_what_is_answered_together_is_one_read(app: ServingApp, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    plain = LmdbKeyValue.get_many

    def get_many(own: LmdbKeyValue, keys: Any) -> Any:
        reads.append(len(keys))
        return plain(own, keys)

    monkeypatch.setattr(LmdbKeyValue, "get_many", get_many)
    told(app, *[[{"k": key, "own": 0}] for key in range(8)], together=True)
    is_alone = app.live["sums"].batcher.is_quick
    assert sum(reads) <= 16
    assert (len(reads) == 8) if is_alone else (min(reads) >= 2 and len(reads) < 8)


def test_features_on_demand_are_computed_before_the_first_request(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    late()
    bind("delays", "delay@production", version="delay/1")
    filled: list[int] = []
    plain = OnlinePredictor.fill

    def fill(own: OnlinePredictor, columns: Any, rows: int, *more: Any) -> Any:
        filled.append(rows)
        return plain(own, columns, rows, *more)

    monkeypatch.setattr(OnlinePredictor, "fill", fill)
    live = ServingApp(workspace, "delays").live["delays"]
    assert (len(filled), live.rows_at_hand) == (5, 0)


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("together", [False, True])
def test_what_ends_the_process_while_features_are_read_fails_these_requests_alone(
    app: ServingApp, monkeypatch: pytest.MonkeyPatch, together: bool, raised: type[BaseException]
) -> None:
    def ends(*_: Any, **__: Any) -> Any:
        raise raised(3)

    requests = [[{"k": k, "own": 1.0}] for k in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(OnlinePredictor, "fill", ends)
        patch.setattr(OnlinePredictor, "fill_together", ends)
        assert [status for status, _ in told(app, *requests, together=together)] == [500] * 3
    assert [status for status, _ in told(app, *requests, together=together)] == [200] * 3
