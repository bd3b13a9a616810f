"""The classifier, what one would know without it, and the registry."""

from collections.abc import Sequence

import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

import mainspring as ms
from flights import ALIAS, MODEL
from flights.features import CATEGORIES, FEATURES, NUMBERS
from mainspring.artifacts import content_digest
from mainspring.errors import NotFoundError
from mainspring.evaluation import Evaluation, GateReport
from mainspring.features import Definition
from mainspring.models import ModelVersion, alias_history, get_model_version, register


def classifier(
    learning_rate: float, leaves: int, least: int, rounds: int, numbers: Sequence[str] = NUMBERS
) -> Pipeline:
    """Gradient boosting over categories and numbers; missing values stay missing."""
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    boosting = HistGradientBoostingClassifier(
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=least,
        max_iter=rounds,
        categorical_features=[0, 1, 2],
        early_stopping=False,
    )
    columns = ColumnTransformer([("categories", encode, CATEGORIES), ("numbers", "passthrough", list(numbers))])
    return Pipeline([("columns", columns), ("boosting", boosting)])


def late_share(model: Pipeline, part: pl.DataFrame) -> pl.Series:
    """How probable it is that a flight comes late, says the model."""
    return pl.Series("score", model.predict_proba(part.select(FEATURES))[:, 1])


def usual_share(train: pl.DataFrame, part: pl.DataFrame) -> pl.Series:
    """What one knows without a model: the share of late flights of the same carrier and hour in the months before."""
    usual = train.group_by("carrier", "hour", maintain_order=True).agg(pl.col("late").mean().alias("usual"))
    known = part.select("carrier", "hour").join(usual, on=["carrier", "hour"], how="left", maintain_order="left")
    return known["usual"].fill_null(train["late"].mean())


@ms.step
def fit(train: pl.DataFrame, params: dict, rounds: int) -> Pipeline:
    """The classifier with these parameters, fitted on all rows."""
    model = classifier(**params, rounds=rounds)
    model.fit(train.select(FEATURES), train["late"].to_numpy())
    return model


@ms.step
def identified(model: Pipeline) -> str:
    """What a model is called by its content."""
    return content_digest(model)


@ms.step(cache=False)
def rival(content: str) -> ModelVersion | None:
    """Whom a model is to replace: the last champion that is another one. The registry is asked each time."""
    try:
        moves = alias_history(MODEL, ALIAS)
    except NotFoundError:
        return None
    versions = (get_model_version(f"{MODEL}/{move.to_number}") for move in moves if move.to_number)
    return next((version for version in versions if version.content_digest != content), None)


@ms.step
def registered(
    model: Pipeline, evaluation: Evaluation, gates: GateReport, train: pl.DataFrame, service: Definition
) -> ModelVersion:
    """A version in the registry, with the features it is served with; refused if a gate has failed."""
    signature = train.select(FEATURES)
    return register(model, MODEL, signature=signature, evaluation=evaluation, gates=gates, features=service)
