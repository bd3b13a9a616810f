"""A model that is registered with features takes what the service gives, keeps the keys of its example, and learns of nulls."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from mainspring.errors import InvalidError, WrongTypeError
from mainspring.models import FeatureSet, Field, ModelVersion, Signature, example_of, register
from mainspring.workspace import Workspace

ROWS = pl.DataFrame(
    {"origin": ["EWR", "JFK"], "flight": [1, 2], "distance": [200, 900], "wind": [5, 7], "is_freezing": [True, False]}
)
INPUTS = ROWS.select("wind", "distance")
pytestmark = pytest.mark.one_backend("what the registry keeps has its own suite on both")


class Service:
    """Gives features as a version of a service does."""

    def __init__(self, rows: pl.DataFrame | None = None, **features: str) -> None:
        self.given = FeatureSet(
            "f" * 32,
            "late/1",
            features or {"wind": "i64", "is_freezing": "bool"},
            {"origin": "str", "flight": "int"},
            rows,
        )

    def feature_set(self, workspace: Workspace) -> FeatureSet:
        return self.given


def fitted(cls: Any = LinearRegression) -> Any:
    return cls().fit(INPUTS.to_numpy(), np.array([1.0, 2.0]))


def registered(features: Any, **more: Any) -> ModelVersion:
    return register(fitted(), "late", **{"signature": INPUTS, **more}, features=features)


def test_the_example_has_the_columns_of_a_request(workspace: Workspace) -> None:
    for version in (registered(Service(ROWS)), registered(Service(), input_example=ROWS)):
        assert version.features == "f" * 32
        assert example_of(version, workspace.blobs)[0] == {"origin": "EWR", "flight": 1, "wind": 5, "distance": 200}
    keyless = ROWS.with_columns(origin=pl.Series([None, "JFK"]))
    (kept,) = example_of(registered(Service(keyless), input_example=INPUTS, metrics={"mae": 1.0}), workspace.blobs)
    assert kept["origin"] == "JFK"
    alone = register(fitted(), "alone", signature=INPUTS, features=Service())
    assert example_of(alone, workspace.blobs)[0] == {"wind": 5, "distance": 200}


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (Service(rain="f64"), "The model takes wind, distance; it gives rain"),
        (Service(wind="str"), "signature: `wind: i64` is not what late/1 gives: wind: str"),
        (Service(wind="f64"), "is not what late/1 gives: wind: f64"),
        (
            Service(ROWS.drop("distance")),
            "signature: `distance` is not in the training set of late/1. Compute it in the service",
        ),
        (Service(ROWS.rename({"distance": "distances"})), "Nearest: distances"),
    ],
    ids=range(5),
)
def test_a_service_that_does_not_fit_is_refused_with_names(service: Service, said: str, workspace: Workspace) -> None:
    with pytest.raises(InvalidError) as refused:
        registered(service)
    assert said in str(refused.value)


def test_what_gives_no_features_is_refused(workspace: Workspace) -> None:
    with pytest.raises(WrongTypeError, match="a version of a feature service"):
        registered("late")


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        ("i64", "f32", True), ("f64", "f32", True), ("bool", "f64", False), ("i32", "i64", True), ("u32", "i64", True),
        ("u64", "i64", False), ("i64", "i32", False), ("i64", "u64", False), ("str", "cat", True), ("str", 'enum["a"]', False),
        ("datetime[us, UTC]", "datetime[ns, UTC]", True), ("datetime[us]", "datetime[us, UTC]", False),
        ("list[f64]", "list[f64]", True),
    ],
)  # fmt: skip
def test_types_pass_where_nothing_is_lost(given: str, wanted: str, fits: bool, workspace: Workspace) -> None:
    signature = Signature((Field("wind", wanted),))
    if fits:
        assert register(fitted(), "late", signature=signature, features=Service(wind=given)).number == 1
    else:
        with pytest.raises(InvalidError, match="is not what late/1 gives"):
            register(fitted(), "late", signature=signature, features=Service(wind=given))


def test_a_feature_takes_null_if_the_model_answers_without_it(workspace: Workspace) -> None:
    def nullable(model: Any, **more: Any) -> list[bool]:
        version = register(model, "late", **{"signature": INPUTS, **more}, features=Service(ROWS))
        assert version.signature is not None
        return [field.nullable for field in version.signature.inputs]

    trees = fitted(lambda: HistGradientBoostingRegressor(max_iter=1))
    assert nullable(fitted()) == [False, False]
    assert nullable(trees) == [True, False]  # the distance is no feature: a request has it
    assert nullable(trees, signature=Signature.infer(INPUTS)) == [False, False]  # as it was said


def test_of_several_features_those_take_null_that_the_model_can_miss(workspace: Workspace) -> None:
    class Model:
        def predict(self, rows: list[dict[str, Any]]) -> list[float]:
            return [float(row["wind"] * 2) for row in rows]

    from mainspring.models.registration import _with_nulls

    inputs = ROWS.select("wind", "is_freezing")
    found = _with_nulls(Model(), Signature.infer(inputs), "records", inputs.to_dicts(), Service().given)
    assert [field.nullable for field in found.inputs] == [False, True]
