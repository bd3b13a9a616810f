"""A model gets values of any type as its training set had them: features, and columns of requests in each form."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.dummy import DummyRegressor

from mainspring.data import dataset
from mainspring.errors import CodecError, InvalidError
from mainspring.features import (
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    TrainingSet,
    apply,
    materialize,
    training_set,
)
from mainspring.models import export_model, export_onnx, register
from mainspring.serving import ServingApp, bind
from mainspring.serving.openapi import record_schema
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("values are looked at above every store")
NOW = datetime.now(UTC)
STORED = pl.DataFrame(
    {
        "user": ["a", "b"], "at": [NOW - timedelta(hours=1)] * 2, "emb": [[0.5, -1.25, 3.0], [0.0, 0.25, 1e-3]],
        "price": [Decimal("12.30"), Decimal("-0.05")], "gap": [timedelta(hours=1, microseconds=7), timedelta(0)],
        "opens": [time(8, 30), time(0, 0, 0, 5)], "tags": [["x", "y"], []], "spot": [{"x": 1, "near": [2.5]}] * 2,
    },
    schema_overrides={"emb": pl.Array(pl.Float32, 3), "price": pl.Decimal(10, 2), "tags": pl.List(pl.String)},
)  # fmt: skip
FEATURES = ["emb", "price", "gap", "opens", "tags", "spot"]
ASKED = {"query": "list[f64]", "paid": "decimal[10, 2]", "wait": "duration[us]", "hour": "time", "keys": "list[bin]"}
ROWS = pl.DataFrame(
    {
        "user": ["a", "b"], "query": [[1.5, 2.0], [0.1]], "paid": [Decimal("1.50"), Decimal("7.00")],
        "wait": [timedelta(minutes=3), timedelta(seconds=-1)], "hour": [time(1, 2, 3), time(23, 59)],
        "keys": [[b"\xff"], [b"", b"a"]], "t": [NOW] * 2,
    },
    schema_overrides={"paid": pl.Decimal(10, 2)},
)  # fmt: skip
SAME = {f"own_{name}": pl.col(name) for name in ASKED}


class Keeper:
    """A model that keeps what it was given."""

    def predict(self, frame: pl.DataFrame) -> list[float]:
        self.given = frame
        return [1.0] * len(frame)


@pytest.fixture
def made(workspace: Workspace) -> TrainingSet:
    dataset("users").commit(STORED)
    view = FeatureView("of_user", entity=Entity("user"), source="users", event_time="at", features=FEATURES)
    apply(FeatureService("all", [view, OnDemandView("own", request=ASKED, features=SAME)]))
    materialize("of_user")
    found = training_set(ROWS, "all", time="t")
    table = found.frame.select(*FEATURES, *SAME, *ASKED)
    register(DummyRegressor().fit([[0]], [1.0]), "typed", signature=table, features=found, input_kind="polars")
    bind("typed", "typed@production", version="typed/1")
    return found


def test_a_model_gets_what_its_training_set_held(workspace: Workspace, made: TrainingSet) -> None:
    app, keeper = ServingApp(workspace, "typed"), Keeper()
    predict = app.live["typed"].predictor
    cast(Any, predict.predictor).model = keeper
    meant = made.frame.select(*FEATURES, *SAME, *ASKED)
    asked = ROWS.drop("t")

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(cast(Any, app))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/predict", content=msgspec.json.encode({"records": asked.to_dicts()}))

    for given in (asked, asked.to_dicts()):
        keeper.given = pl.DataFrame()
        assert predict(given) == [1.0, 1.0]
        assert_frame_equal(keeper.given, meant)
    keeper.given = pl.DataFrame()
    answer = asyncio.run(post())
    assert (answer.status_code, answer.json()["predictions"]) == (200, [1.0, 1.0])
    assert_frame_equal(keeper.given, meant)


def test_a_value_that_does_not_fit_is_named(workspace: Workspace, made: TrainingSet) -> None:
    predict = ServingApp(workspace, "typed").live["typed"].predictor
    (good, _) = ROWS.drop("t").to_dicts()
    for change, said in (
        ({"query": [1, "a"]}, '[0].query: item 1: "a" is a str, expected a number'),
        ({"query": 3}, "[0].query: 3 is an int, expected a list, each a number"),
        ({"paid": "1.555"}, "[0].paid: 1.555 does not fit decimal[10, 2]"),
        ({"wait": "soon"}, '[0].wait: "soon" is a str, expected a duration (ISO 8601)'),
        ({"hour": "25:00"}, '[0].hour: "25:00" is a str, expected a time of day (ISO 8601)'),
        ({"keys": ["?"]}, '[0].keys: item 0: "?" is a str, expected bytes (base64)'),
    ):
        assert [str(each) for each in predict.check([good | change])[1]] == [said]
    told = record_schema(predict.takes)["properties"]
    assert told["query"]["items"] == {"type": ["number", "null"]}
    assert told["paid"]["type"] == ["string", "number", "null"]
    assert (told["wait"]["format"], told["hour"]["format"]) == ("duration", "time")


def test_what_an_export_has_no_form_for_is_refused(made: TrainingSet, tmp_path: Path) -> None:
    for form in ("folder", "mlflow"):
        with pytest.raises(InvalidError, match=r"signature\.emb: `array\[f32, 3\]` is not "):
            export_model("typed/1", tmp_path / form, form=form)
    with pytest.raises(CodecError):
        export_onnx("typed/1")
