"""What is lost when an input is wrong: each column shuffled (permutation importance), and each column missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mainspring.errors import NotFoundError, close_names, shorten
from mainspring.evaluation._classes import named_classes
from mainspring.evaluation.bootstrap import defined
from mainspring.evaluation.evaluate import chosen_metrics
from mainspring.evaluation.evidence import Fact
from mainspring.evaluation.given import count_of, expect_function, several
from mainspring.evaluation.inputs import Inputs
from mainspring.evaluation.metric import Metric
from mainspring.evaluation.scored import scored
from mainspring.evaluation.tables import Cells, Tabled, shown


class ColumnDrop(msgspec.Struct, frozen=True):
    """How much worse the metric gets: with the column shuffled (the mean over repeats, and their deviation), and with it
    missing; None where that is not defined, with the model's error if it refuses missing values.
    """

    column: str
    shuffled: float | None
    deviation: float | None
    missing: float | None
    error: str = ""


class Robustness(Tabled, frozen=True):
    """What each column is worth, the most important first; a drop is how much worse the metric gets."""

    metric: str
    baseline: float | None
    columns: tuple[ColumnDrop, ...]

    def facts(self) -> dict[str, Fact]:
        """`missing_drop`, `shuffled_drop`: those of the worst column."""
        found = {}
        for name, field in (("missing_drop", "missing"), ("shuffled_drop", "shuffled")):
            known = [(getattr(each, field), each.column) for each in self.columns]
            # A column without which there is no answer is the worst of all.
            if any(value is None for value, _ in known) or not known:
                found[name] = Fact(None)
            else:
                value, column = max(known)
                found[name] = Fact(value, where=column)
        return found

    def __repr__(self) -> str:
        first = f", {self.columns[0].column} matters most" if self.columns else ""
        return f"<robustness of {self.metric} {shown(self.baseline)}{first}>"

    def _tables(self) -> list[Cells]:
        cells = [[f"drop of {self.metric} {shown(self.baseline)}", "shuffled", "±", "missing"]]
        for each in self.columns:
            missing = f"fails: {each.error}" if each.error else shown(each.missing)
            cells.append([each.column, shown(each.shuffled), shown(each.deviation), missing])
        return [cells]


def robustness(
    predict: Callable[[Any], Any],
    frame: Any,
    y_true: Any,
    metric: str | Metric,
    *,
    columns: Iterable[str] = (),
    repeats: int = 5,
    seed: int = 0,
    classes: Iterable[Any] = (),
) -> Robustness:
    """How much worse a metric gets on rows with one column shuffled among them, or null in all of them (Breiman 2001).

    `predict` takes a table like `frame` (of Polars, pandas or Arrow) and gives scores; `columns` are all of them unless
    given. Columns that say the same share their importance: shuffling one of them costs little.

    Raises:
        NotFoundError: no such column or metric.
        InvalidError: `repeats` is below 1, or as `evaluate` says.
        WrongTypeError: `predict` is no function, such as a model.
    """
    import numpy as np

    expect_function(predict)
    repeats, classes = count_of("repeats", repeats), named_classes(classes)
    inputs = Inputs(frame)
    known, asked = inputs.table.columns, [str(name) for name in several("columns", columns, str)]
    if unknown := [name for name in asked if name not in known]:
        raise NotFoundError("column", unknown[0], close_names(unknown[0], known))
    data = scored(y_true, predict(inputs.whole), classes=classes)
    chosen = chosen_metrics([metric], data)[0]
    baseline = chosen.statistic(data).value()
    sign = 1 if chosen.higher_is_better else -1

    def drop(table: Any) -> float:
        changed = scored(y_true, predict(table), classes=classes)
        return sign * (baseline - chosen.statistic(changed).value())

    generator = np.random.default_rng(seed)
    found = []
    for name in asked or known:
        orders = (generator.permutation(data.rows) for _ in range(repeats))
        drops = np.array([drop(inputs.shuffled(name, order)) for order in orders])
        missing, error = _without(drop, inputs, name)
        mean, deviation = defined(float(drops.mean())), defined(float(drops.std()))
        found.append(ColumnDrop(name, mean, deviation, missing, error))
    found.sort(key=lambda each: -(each.shuffled or 0.0))
    return Robustness(chosen.name, defined(baseline), tuple(found))


def _without(drop: Callable[[Any], float], inputs: Inputs, name: str) -> tuple[float | None, str]:
    emptied = inputs.without(name)
    try:
        return defined(drop(emptied)), ""
    except Exception as error:  # noqa: BLE001  # a model may refuse missing values with any error; it is kept
        return None, shorten(f"{type(error).__name__}: {error}")
