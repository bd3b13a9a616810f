"""Whether a model's probabilities are honest: the reliability curve, the calibration error, the Brier score in parts."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.errors import InvalidError
from mainspring.evaluation.bootstrap import Bootstrap, Codes, bootstrap_of, estimated
from mainspring.evaluation.evidence import Fact
from mainspring.evaluation.scored import probabilities, scored
from mainspring.evaluation.tables import Cells, Tabled, shown
from mainspring.stats import (
    Callback,
    Interval,
    Sums,
    brier_decomposition,
    expected_calibration_error,
    reliability,
    wilson_interval,
)


class CalibrationBin(msgspec.Struct, frozen=True):
    """Rows of similar probability: the mean of it, and the share that happened with its interval."""

    rows: int
    predicted: float
    happened: float
    interval: Interval


class Calibration(Tabled, frozen=True):
    """How honest probabilities are. `brier` is `reliability` − `resolution` + `uncertainty`; `error` is the ECE."""

    rows: int
    error: float
    bins: tuple[CalibrationBin, ...]
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    bias: float
    interval: Interval | None = None

    def facts(self) -> dict[str, Fact]:
        """`calibration_error`, `calibration_bias` (the mean probability minus the share that happened, without sign)."""
        return {"calibration_error": Fact(self.error, interval=self.interval), "calibration_bias": Fact(abs(self.bias))}

    def __repr__(self) -> str:
        return f"<calibration on {self.rows:,} rows, error {self.error:.4f}>"

    def __str__(self) -> str:
        parts = f"reliability {self.reliability:.4f} − resolution {self.resolution:.4f}"
        head = f"calibration error {shown(self.error, self.interval)}, bias {self.bias:+.4f}"
        brier = f"Brier {self.brier:.4f} = {parts} + uncertainty {self.uncertainty:.4f}"
        return "\n".join([head, brier, super().__str__()])

    def _tables(self) -> list[Cells]:
        rows = [[f"{each.predicted:.4f}", shown(each.happened, each.interval), f"{each.rows:,}"] for each in self.bins]
        return [[["predicted", "happened", "rows"], *rows]]


def calibration(y_true: Any, y_score: Any, *, bins: int = 10, bootstrap: int | Bootstrap = 0) -> Calibration:
    """How honest probabilities of the class 1 are, over bins of equal mass.

    Raises:
        InvalidError: lengths differ, there are no rows, a value is missing, or a score is no probability.

    >>> round(calibration([0, 0, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2).error, 4)
    0.1
    """
    from mainspring.evaluation.evaluate import chosen_metrics

    data = scored(y_true, y_score)
    if not data.rows:
        raise InvalidError("y_true", "no rows", "at least one")
    chosen_metrics(["brier"], data)
    truth, scores = data.truth, probabilities(data)
    curve = reliability(truth, scores, bins=bins)
    parts = brier_decomposition(truth, scores, bins=bins)
    error = Callback(lambda rows: expected_calibration_error(truth[rows], scores[rows], bins=bins), data.rows)
    # The error is bounded by 0 and biased upwards, where BCa's correction overshoots.
    method = msgspec.structs.replace(bootstrap_of(bootstrap), method="percentile")
    estimate = estimated([error], method, Codes())[0]
    found = tuple(
        CalibrationBin(int(rows), float(predicted), float(happened), wilson_interval(float(rows * happened), int(rows)))
        for rows, predicted, happened in zip(*curve, strict=True)
    )
    brier = Sums([(scores - truth) ** 2], lambda n, total: total / n).value()
    bias = float(scores.mean() - truth.mean())
    return Calibration(data.rows, estimate.value or 0.0, found, brier, *parts, bias, estimate.interval)
