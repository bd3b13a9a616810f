"""The classifier, how good it is, and whether that is good enough."""

import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

import mainspring as ms
from flights.features import CATEGORIES, FEATURES, NUMBERS
from mainspring.evaluation import Evaluation, Gate, GateReport, decide, evaluate
from mainspring.models import ModelVersion, register

GATES = [
    Gate("roc_auc", at_least=0.64),
    Gate("brier", at_most=0.18),
    Gate("roc_auc", at_least=0.55, worst_slice="origin"),
]


@ms.step
def fit(train: pl.DataFrame, learning_rate: float, rounds: int) -> Pipeline:
    """Gradient boosting over categories and numbers; missing values stay missing."""
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    model = Pipeline(
        [
            ("columns", ColumnTransformer([("categories", encode, CATEGORIES), ("numbers", "passthrough", NUMBERS)])),
            (
                "boosting",
                HistGradientBoostingClassifier(
                    learning_rate=learning_rate, max_iter=rounds, categorical_features=[0, 1, 2], early_stopping=False
                ),
            ),
        ]
    )
    model.fit(train.select(FEATURES), train["late"].to_numpy())
    return model


@ms.step
def assess(model: Pipeline, test: pl.DataFrame) -> Evaluation:
    """How well the model ranks and how honest its probabilities are, over all and on slices."""
    score = model.predict_proba(test.select(FEATURES))[:, 1]
    metrics = ["roc_auc", "average_precision", "log_loss", "brier"]
    slices = ["carrier", "origin", "month"]
    evaluation = evaluate(test["late"].to_numpy(), score, metrics, slices=slices, frame=test, subject="later months")
    for name, value in evaluation.metrics.items():
        ms.log_metric(name, value)
    print(evaluation)
    return evaluation


@ms.step
def decided(evaluation: Evaluation) -> GateReport:
    """Whether the gates let the model pass, each with its reason."""
    report = decide(evaluation, GATES)
    print(report)
    return report


@ms.step
def registered(model: Pipeline, evaluation: Evaluation, gates: GateReport, train: pl.DataFrame) -> ModelVersion:
    """A version in the registry; refused if a gate has failed."""
    return register(model, "flight-delay", signature=train.select(FEATURES), evaluation=evaluation, gates=gates)
