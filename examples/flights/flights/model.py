"""The classifier, how good it is, and whether that is good enough."""

import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

import mainspring as ms
from flights.features import CATEGORIES, FEATURES, NUMBERS
from mainspring.evaluation import Evaluation, Gate, GateReport, Slice, decide, evaluate
from mainspring.features import Definition
from mainspring.models import ModelVersion, register

METRICS = ["roc_auc", "average_precision", "log_loss", "brier"]
SLICES = [Slice("carrier", at_least=1_000), Slice("origin"), Slice("month")]
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
def baseline(train: pl.DataFrame, part: pl.DataFrame) -> Evaluation:
    """How well one does without a model: by the share of late flights of the same carrier and hour in the months before."""
    usual = train.group_by("carrier", "hour", maintain_order=True).agg(pl.col("late").mean().alias("usual"))
    known = part.select("carrier", "hour").join(usual, on=["carrier", "hour"], how="left", maintain_order="left")
    score = known["usual"].fill_null(train["late"].mean())
    return evaluate(part["late"], score, METRICS, subject="baseline")


@ms.step
def assess(model: Pipeline, part: pl.DataFrame, name: str) -> Evaluation:
    """How well the model ranks and how honest its probabilities are, over all and on slices."""
    score = model.predict_proba(part.select(FEATURES))[:, 1]
    evaluation = evaluate(part["late"].to_numpy(), score, METRICS, slices=SLICES, frame=part, subject=name)
    for metric, value in evaluation.metrics.items():
        ms.log_metric(f"{name}/{metric}", value)
    print(evaluation)
    return evaluation


@ms.step
def decided(evaluation: Evaluation, usual: Evaluation) -> GateReport:
    """Whether the gates let the model pass, each with its reason; one of them is to beat the baseline."""
    report = decide(evaluation, [*GATES, Gate("average_precision", at_least=usual.value("average_precision"))])
    print(report)
    return report


@ms.step
def registered(
    model: Pipeline, evaluation: Evaluation, gates: GateReport, train: pl.DataFrame, service: Definition
) -> ModelVersion:
    """A version in the registry, with the features it is served with; refused if a gate has failed."""
    signature = train.select(FEATURES)
    return register(model, "flight-delay", signature=signature, evaluation=evaluation, gates=gates, features=service)
