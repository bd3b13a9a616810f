"""The search for parameters: a few trials on a part of the rows, two at a time, each a run of its own."""

import polars as pl

import mainspring as ms
from flights.features import FEATURES, NUMBERS
from flights.model import classifier, late_share
from mainspring.evaluation import evaluate

EVERY, JOBS = 8, 2


def quality(learning_rate: float, leaves: int, least: int, train: pl.DataFrame, validation: pl.DataFrame) -> float:
    """The area under the curve on later months, of a model fitted with these parameters."""
    # Boosting takes no column without any value, and a part of the rows may have one.
    numbers = [name for name in NUMBERS if train[name].count()]
    model = classifier(learning_rate, leaves, least, rounds=40, numbers=numbers)
    model.fit(train.select(FEATURES), train["late"].to_numpy())
    return evaluate(validation["late"], late_share(model, validation), ["roc_auc"]).value("roc_auc")


@ms.step(outputs=("params", "trials"))
def tuned(train: pl.DataFrame, validation: pl.DataFrame, trials: int) -> tuple[dict, pl.DataFrame]:
    """The best parameters, and what was tried."""
    parts = {"train": train.gather_every(EVERY), "validation": validation.gather_every(EVERY // 4)}
    study = ms.study(
        "flight-delay",
        quality,
        space={
            "learning_rate": ms.log_float(0.05, 0.4),
            "leaves": ms.ints(8, 64, log=True),
            "least": ms.ints(20, 500, log=True),
        },
        inputs={name: part.select(*FEATURES, "late") for name, part in parts.items()},
        metric="roc_auc",
        direction="maximize",
        sampler="random",
        trials=trials,
        jobs=JOBS,
    )
    print(study)
    rows = [{"trial": each.number, **each.params, **each.values} for each in study.trials("complete")]
    return study.best_params, pl.DataFrame(rows)
