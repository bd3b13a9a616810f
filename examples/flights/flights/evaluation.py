"""How good the model is, on slices and against the one it would replace, and whether that is good enough."""

import msgspec
import polars as pl
from sklearn.pipeline import Pipeline

import mainspring as ms
from flights.model import late_share, usual_share
from mainspring.evaluation import (
    Bootstrap,
    Calibration,
    Comparison,
    Evaluation,
    Fairness,
    Gate,
    GateReport,
    Slice,
    calibration,
    compare,
    decide,
    evaluate,
    fairness,
    measure_cost,
)
from mainspring.models import ModelVersion, load_model

METRICS = ["roc_auc", "average_precision", "log_loss", "brier"]
SLICES = [Slice("carrier", at_least=1_000), Slice("origin"), Slice("month")]
# The flights of a day share its weather and its jams, so days are resampled, not flights.
DAYS = Bootstrap(200, groups="day")
NONE = Bootstrap(0)
CALLED_LATE = 0.25
GATES = [
    Gate("brier", at_most=0.18),
    Gate("roc_auc", at_least=0.55, worst_slice="origin"),
    Gate("calibration_error", at_most=0.06),
    Gate("equal_opportunity_gap", at_most=0.25),
    Gate("roc_auc", no_worse_than_champion=True, margin=0.005),
]


def dated(part: pl.DataFrame) -> pl.DataFrame:
    """The rows with the day of departure."""
    return part.with_columns(day=pl.col("time_hour").dt.date())


@ms.step
def baseline(train: pl.DataFrame, part: pl.DataFrame) -> Evaluation:
    """How well one does without a model."""
    return evaluate(part["late"], usual_share(train, part), METRICS, subject="baseline")


@ms.step
def assess(model: Pipeline, part: pl.DataFrame, name: str, bootstrap: Bootstrap = NONE) -> Evaluation:
    """How well the model ranks and how honest its probabilities are, over all and on slices."""
    score = late_share(model, part)
    evaluation = evaluate(
        part["late"], score, METRICS, slices=SLICES, frame=dated(part), subject=name, bootstrap=bootstrap
    )
    for metric, value in evaluation.metrics.items():
        ms.log_metric(f"{name}/{metric}", value)
    print(evaluation)
    return evaluation


@ms.step
def compared(model: Pipeline, champion: ModelVersion | None, train: pl.DataFrame, part: pl.DataFrame) -> Comparison:
    """The model against the one it would replace on the same flights; against the baseline if there is none yet."""
    theirs = usual_share(train, part) if champion is None else late_share(load_model(champion), part)
    found = compare(
        part["late"],
        late_share(model, part),
        theirs,
        ["roc_auc", "brier"],
        slices=[Slice("origin")],
        frame=dated(part),
        bootstrap=DAYS,
    )
    print(found)
    return msgspec.structs.replace(found, champion=str(champion or "baseline"))


@ms.step(outputs=("honest", "fair"))
def examined(model: Pipeline, part: pl.DataFrame) -> tuple[Calibration, Fairness]:
    """Whether the probabilities are what happens, and whether the airports are served alike."""
    score = late_share(model, part)
    honest = calibration(part["late"], score)
    fair = fairness(part["late"], score, "origin", frame=part, threshold=CALLED_LATE, bootstrap=200)
    print(honest, fair, sep="\n\n")
    return honest, fair


@ms.step(rtol=1e6)
def measured(model: Pipeline, part: pl.DataFrame) -> pl.DataFrame:
    """How long answers take, by the number of flights asked about at once. Times never repeat: a replay takes any."""
    cost = measure_cost(lambda rows: late_share(model, rows), part, batches=[1, 100], calls=30)
    print(cost)
    return pl.DataFrame(
        [{"flights": each.batch, "p50_ms": each.p50_ms, "p95_ms": each.p95_ms} for each in cost.latencies]
    )


@ms.step
def decided(
    evaluation: Evaluation, comparison: Comparison, honest: Calibration, fair: Fairness, goal: list[Gate]
) -> GateReport:
    """Whether the gates let the model pass, each with its reason: the project's goal, ours, and the champion."""
    report = decide(evaluation, [*goal, *GATES], comparison=comparison, evidence=[honest, fair])
    print(report)
    return report
