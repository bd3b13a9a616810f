"""Metrics on a million rows against their bare NumPy, and a bootstrap of the ROC AUC against sorting once for each resample.

Budgets: a mean at most 1.5 times NumPy's own, the AUC at most 1.5 times one sort of the scores (average precision 2), and
1,000 resamples of 100,000 rows in at most 0.35 of what sorting each anew takes; over one, it exits with 1. `--small` runs it
once, briefly, and holds it to nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from bench_table_commit import seconds

from mainspring.evaluation import get_metric
from mainspring.evaluation.scored import Scored
from mainspring.stats import RocAuc, jackknife, resampled


def floors(y: np.ndarray, s: np.ndarray) -> dict[str, tuple[Callable[[], object], float]]:
    """What NumPy needs for each metric at the least, and the budget over it."""
    return {
        "mae": (lambda: np.mean(np.abs(y - s)), 1.5),
        "brier": (lambda: np.mean(np.square(s - (y == 1))), 1.5),
        "f1": (
            lambda: (np.count_nonzero((y == 1) & (s >= 0.5)), np.count_nonzero(y == 1), np.count_nonzero(s >= 0.5)),
            2.0,
        ),
        "roc_auc": (lambda: np.argsort(s), 1.5),
        "average_precision": (lambda: np.argsort(s), 2.0),
    }


def sorted_anew(y: np.ndarray, s: np.ndarray, resamples: int) -> None:
    """The bootstrap as it is written by hand: draw rows, sort them."""
    generator = np.random.default_rng(0)
    for _ in range(resamples):
        rows = generator.integers(0, s.size, s.size)
        RocAuc(y[rows] == 1, s[rows]).value()


def main() -> None:
    """Print the ratios."""
    small = "--small" in sys.argv
    rows, rounds, resamples = (20_000, 1, 20) if small else (1_000_000, 5, 1_000)
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, rows).astype(np.float64)
    s = np.clip(generator.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    over = []
    for name, (floor, budget) in floors(y, s).items():
        statistic = partial(lambda metric: metric.statistic(Scored(y, s)).value(), get_metric(name))
        pairs = [(seconds(floor), seconds(statistic)) for _ in range(rounds)]
        bare, ours = (min(column) for column in zip(*pairs, strict=True))
        print(f"{name} of {rows:,} rows: {ours * 1e3:.1f} ms, {ours / bare:.2f} x NumPy (budget {budget})")
        over += [name] if ours > budget * bare else []
    part = slice(0, rows // 10)
    auc = RocAuc(y[part] == 1, s[part])
    few = max(resamples // 50, 1)
    floor = seconds(lambda: sorted_anew(y[part], s[part], few)) / few * resamples
    took = seconds(lambda: resampled([auc], resamples))
    print(
        f"{resamples:,} resamples of the AUC of {rows // 10:,} rows: {took:.2f} s, "
        f"{took / floor:.2f} x sorting each anew (budget 0.35)"
    )
    print(f"the jackknife of its BCa interval, 200 parts: {seconds(lambda: jackknife([auc])):.2f} s")
    over += ["bootstrap"] if took > 0.35 * floor else []
    if over and not small:
        sys.exit(f"over budget: {', '.join(over)}")


if __name__ == "__main__":
    main()
