"""How differently a model treats groups: the rates of each, and the named gaps between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from mainspring.errors import InvalidError
from mainspring.evaluation.bootstrap import Bootstrap, Codes, bootstrap_of, defined, estimated
from mainspring.evaluation.evaluate import chosen_metrics
from mainspring.evaluation.evidence import Fact
from mainspring.evaluation.given import number_of
from mainspring.evaluation.inputs import table_of
from mainspring.evaluation.scored import Array, column_of, probabilities, scored
from mainspring.evaluation.tables import SMALL_ROWS, Cells, Tabled, shown
from mainspring.stats import Interval, Sums

_RATES = ("selection_rate", "true_positive_rate", "false_positive_rate", "precision")


class GroupRates(msgspec.Struct, frozen=True):
    """One group: the share called positive, that among the positives and among the negatives, and the precision."""

    group: str
    rows: int
    selection_rate: float | None
    true_positive_rate: float | None
    false_positive_rate: float | None
    precision: float | None

    @property
    def small(self) -> bool:
        """Whether it has so few rows that its rates are mostly noise."""
        return self.rows < SMALL_ROWS


class Gap(msgspec.Struct, frozen=True):
    """The largest difference between two groups, and which have the highest and the lowest rate."""

    name: str
    value: float | None
    highest: str
    lowest: str
    interval: Interval | None = None


class Fairness(Tabled, frozen=True):
    """Rates by group, and gaps: 0 is equal treatment. Names are those of Hardt et al. (2016) and Chouldechova (2017)."""

    threshold: float
    groups: tuple[GroupRates, ...]
    gaps: tuple[Gap, ...]

    def facts(self) -> dict[str, Fact]:
        """The gaps: `demographic_parity_gap` and so on."""
        return {
            f"{gap.name}_gap": Fact(gap.value, interval=gap.interval, where=f"{gap.highest} against {gap.lowest}")
            for gap in self.gaps
        }

    def gap(self, name: str) -> Gap:
        """A gap by its name, such as `equal_opportunity`."""
        return next(gap for gap in self.gaps if gap.name == name)

    def __repr__(self) -> str:
        told = ", ".join(f"{gap.name} {shown(gap.value)}" for gap in self.gaps)
        return f"<fairness of {len(self.groups)} groups, {told}>"

    def _tables(self) -> list[Cells]:
        groups = [["group", "rows", *_RATES]]
        for each in self.groups:
            name = f"{each.group} (small)" if each.small else each.group
            groups.append([name, f"{each.rows:,}", *(shown(getattr(each, rate)) for rate in _RATES)])
        gaps = [["gap", "value", "highest", "lowest"]]
        gaps += [[gap.name, shown(gap.value, gap.interval), gap.highest, gap.lowest] for gap in self.gaps]
        return [groups, gaps]


def fairness(
    y_true: Any,
    y_score: Any,
    group: Any,
    *,
    frame: Any = None,
    threshold: float | None = None,
    at_least: int = 1,
    bootstrap: int | Bootstrap = 0,
) -> Fairness:
    """Gaps between groups of rows, with intervals if `bootstrap` is given; each group keeps its size when resampled.

    `group` is a column, or the name of one of `frame`, a table of Polars, pandas or Arrow; rows go by their position. Rows
    are called positive from a probability of 0.5 on, or from a `threshold` on the scores' own scale. Demographic parity
    compares the shares that are called positive, equal opportunity the true positive rates, equalized odds the larger gap
    of true and false positive rates, predictive parity the precisions. The largest gap of several groups is above 0 by
    chance alone, most of all with small ones: look at the interval, and leave groups with fewer than `at_least` rows out.

    Raises:
        InvalidError: fewer than two groups are large enough, or as `evaluate` says.
        NotFoundError: the table has no such column.

    >>> fair = fairness([1, 0, 1, 0], [0.9, 0.1, 0.9, 0.8], ["a", "a", "b", "b"])
    >>> fair.gap("demographic_parity").value, fair.gap("equal_opportunity").value
    (0.5, 0.0)
    """
    data = scored(y_true, y_score)
    chosen_metrics(["recall"], data)
    at = number_of("threshold", 0.5 if threshold is None else threshold)
    if threshold is None:
        probabilities(data)
    labels = np.array([str(label) for label in column_of(table_of(frame), group, data.rows).tolist()])
    names, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if (large := sizes >= at_least).sum() < 2:
        raise InvalidError("group", ", ".join(names), f"a column of two groups of at least {at_least} rows")
    if not large.all():
        kept = large[codes]
        data, (names, codes) = data.take(np.flatnonzero(kept)), np.unique(labels[kept], return_inverse=True)
    members = codes[:, None] == np.arange(names.size)
    positive, called = (data.truth == 1)[:, None], (data.scores >= at)[:, None]
    columns = [*members.T, *(members & positive).T, *(members & called).T, *(members & positive & called).T]
    statistics = [Sums(columns, _spread(name)) for name in _GAPS]
    estimates = estimated(statistics, bootstrap_of(bootstrap), Codes(strata=codes))
    rates = _rates([column.sum(dtype=np.float64) for column in columns])
    gaps = tuple(
        Gap(name, estimate.value, *_ends(name, rates, names), estimate.interval)
        for name, estimate in zip(_GAPS, estimates, strict=True)
    )
    rows = members.sum(axis=0)
    groups = tuple(
        GroupRates(str(names[place]), int(rows[place]), *(defined(float(rates[rate][place])) for rate in _RATES))
        for place in range(names.size)
    )
    return Fairness(at, groups, gaps)


_GAPS = {
    "demographic_parity": ("selection_rate",),
    "equal_opportunity": ("true_positive_rate",),
    "equalized_odds": ("true_positive_rate", "false_positive_rate"),
    "predictive_parity": ("precision",),
}


def _rates(sums: Any) -> dict[str, Array]:
    """The rates of each group (first axis) from sums of rows, positives, calls and both, groups in order."""
    rows, positives, calls, both = np.split(np.asarray(sums, np.float64), 4)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (calls / rows, both / positives, (calls - both) / (rows - positives), both / calls)
    return dict(zip(_RATES, values, strict=True))


def _spread(name: str) -> Callable[..., Any]:
    """The gap, as a function of the sums."""

    def gap(_: Any, *sums: Any) -> Any:
        rates = _rates(sums)
        return np.max([rates[rate].max(axis=0) - rates[rate].min(axis=0) for rate in _GAPS[name]], axis=0)

    return gap


def _ends(name: str, rates: dict[str, Array], names: Array) -> tuple[str, str]:
    widest = max((rates[rate] for rate in _GAPS[name]), key=lambda values: float(np.ptp(values)))
    if np.isnan(widest).any():
        return "", ""
    return str(names[widest.argmax()]), str(names[widest.argmin()])
