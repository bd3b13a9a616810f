"""A served model reads its features: the keys of a request are enough, and what is missing is said."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from mainspring.errors import InvalidError, NotFoundError
from mainspring.features import apply, get_definition, materialize, store_training_set
from mainspring.models import example_of, get_model_version
from mainspring.serving import OnlinePredictor, bind, load_predictor
from mainspring.serving.online import OVERRIDDEN
from mainspring.workspace import Workspace
from tests.serving.flights import ANSWER, INPUTS, REQUEST, late, service, trained


@pytest.fixture
def predict(workspace: Workspace) -> OnlinePredictor:
    return load_predictor(late())


def counts(predict: OnlinePredictor, *records: dict[str, Any]) -> dict[str, int]:
    columns, problems = predict.check(records)
    assert problems == []
    return dict(predict.fill(columns, len(records)).statuses)


def test_a_model_answers_keys_with_its_features(predict: OnlinePredictor, workspace: Workspace) -> None:
    other = REQUEST | {"origin": "JFK", "dest": "EWR", "flight": 1}
    assert predict([REQUEST, other]) == pytest.approx([ANSWER, 7 + 50 + 1_000 + 6_000 + 30_000])
    assert predict(pl.DataFrame([REQUEST])) == pytest.approx([ANSWER])
    assert [field.name for field in predict.takes.inputs] == list(REQUEST)
    assert list(predict.features) == INPUTS[:-1]
    assert predict([]) == []
    assert set(example_of(get_model_version("delay"), workspace.blobs)[0]) == {*REQUEST, *INPUTS}


def test_what_is_missing_reaches_the_model_as_null_and_is_counted(predict: OnlinePredictor) -> None:
    unknown, old, null = (REQUEST | {"origin": each} for each in ("XXX", "LGA", "SFO"))
    assert predict([unknown, old, null]) == pytest.approx([ANSWER - 6] * 3)
    assert counts(predict, REQUEST) == {"PRESENT": 4}
    assert counts(predict, unknown, old, null) == {
        "PRESENT": 9, "NOT_FOUND": 1, "OUTSIDE_MAX_AGE": 1, "NULL_VALUE": 1
    }  # fmt: skip


def test_a_model_that_takes_no_null_names_the_feature_that_is_missing(workspace: Workspace) -> None:
    predict = load_predictor(late(imputed=False))
    assert predict([REQUEST]) == pytest.approx([ANSWER])
    with pytest.raises(
        InvalidError, match=r"\[1\]\.dest_wind: there is no value \(NOT_FOUND\), and the model takes no"
    ):
        predict([REQUEST, REQUEST | {"dest": "XXX"}])
    many = [REQUEST | {"dest": "XXX"}] * 50
    assert len(predict.fill(predict.check(many)[0], 50).problems) == 20


@pytest.mark.one_backend("what a record holds is checked before the store is asked")
def test_a_record_that_is_not_taken_is_named_by_its_path(predict: OnlinePredictor) -> None:
    for change, problem in (
        ({"flight": "two"}, '[1].flight: "two" is a str, expected a whole number'),
        ({"flight": 1 << 130}, "does not fit i128"),
        ({"origin": 7}, "[1].origin: 7 is an int, expected text"),
        ({"dest": None}, "[1].dest: null, expected text"),
        ({"carrier": ...}, "[1].carrier: missing, expected text"),
        ({"leaves_at": "soon"}, "[1].leaves_at"),
        ({"distance": ...}, "[1].distance: missing, expected a number"),
        ({"wind": 3}, "[1].wind: a feature, which is read by the keys"),
        ({"winds": 3}, "[1].winds: unknown column"),
    ):
        record = {name: value for name, value in (REQUEST | change).items() if value is not ...}
        assert problem in str(predict.check([REQUEST, record])[1][0])
    assert len(predict.check([REQUEST | {"wind": 1}] * 50)[1]) == 20


def test_overrides_are_taken_row_by_row_where_they_are_allowed(workspace: Workspace) -> None:
    predict = load_predictor(late(), overrides=True)
    changed = [REQUEST, REQUEST | {"wind": 6}, REQUEST | {"wind": None, "seats": 300, "origin": "XXX"}]
    assert predict(changed) == pytest.approx([ANSWER, ANSWER + 1, ANSWER - 6 + 1_000])
    assert counts(predict, *changed) == {"PRESENT": 9, OVERRIDDEN: 3}
    assert "[1].wind" in str(predict.check([3, REQUEST | {"wind": "much"}])[1])


def test_a_served_model_stays_with_the_definitions_that_it_was_registered_with(workspace: Workspace) -> None:
    before = late()
    apply(service((pl.col("wind") * 2).alias("twice")))
    assert get_definition("service", "late").number == 2
    materialize("weather_at")
    predict = load_predictor(before)
    assert str(predict.reader and predict.reader.service) == "late/1"
    assert predict([REQUEST]) == pytest.approx([ANSWER])


def test_a_predictor_is_found_by_endpoint_and_by_model(workspace: Workspace) -> None:
    late()
    bind("delays", "delay@production", version="delay/1", overrides=True)
    assert load_predictor("delays").overrides
    assert not load_predictor("delays", overrides=False).overrides
    assert not load_predictor("delay@production").overrides
    with pytest.raises(NotFoundError, match="No registered model `dealy`"):
        load_predictor("dealy")


@pytest.mark.one_backend("what a set is made of has its own tests on both")
def test_a_set_that_is_stored_gives_the_example_too(workspace: Workspace) -> None:
    made = trained()
    rows = made.frame.drop(made.features)
    stored = store_training_set(rows, "late", time="leaves_at", to="set")
    table = made.frame.select(INPUTS).with_columns(pl.col("distance").cast(pl.Float64))
    version = late(made, signature=table, features=stored)
    assert example_of(version, workspace.blobs) == example_of(late(made), workspace.blobs)


def test_a_key_may_be_an_input_too(workspace: Workspace) -> None:
    made = trained()
    table = made.frame.select(*INPUTS[:-1], pl.col("flight").cast(pl.Float64))
    predict = load_predictor(late(made, signature=table))
    keys = {name: value for name, value in REQUEST.items() if name != "distance"}
    assert predict([keys]) == pytest.approx([ANSWER - 10_000])  # 2 in the place of 3
