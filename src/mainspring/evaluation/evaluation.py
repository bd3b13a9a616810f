"""What evaluation gives: every metric overall and on every slice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from mainspring.errors import NotFoundError, close_names
from mainspring.evaluation.tables import SMALL_ROWS, Cells, Tabled, shown, slice_label
from mainspring.stats import Interval

if TYPE_CHECKING:
    import polars as pl

_IN_REPR = 2


class SliceValues(msgspec.Struct, frozen=True):
    """The metrics on one value of a slice; one that is not defined there is None."""

    slice: str
    value: str
    rows: int
    metrics: dict[str, float | None]
    intervals: dict[str, Interval | None] = {}

    @property
    def small(self) -> bool:
        """Whether it has so few rows that its metrics are mostly noise."""
        return self.rows < SMALL_ROWS


class Evaluation(Tabled, frozen=True):
    """How a model did on one table. `higher_is_better` says which way each metric goes; None is not defined."""

    rows: int
    metrics: dict[str, float | None]
    higher_is_better: dict[str, bool]
    slices: tuple[SliceValues, ...] = ()
    subject: str = ""
    intervals: dict[str, Interval | None] = msgspec.field(default_factory=dict)

    def value(self, metric: str) -> float | None:
        """A metric overall; raises `NotFoundError` if it wasn't evaluated."""
        if metric not in self.metrics:
            raise NotFoundError("metric", metric, close_names(metric, self.metrics), "It was not evaluated.")
        return self.metrics[metric]

    def worst(self, metric: str, slice_name: str = "") -> SliceValues | None:
        """The slice value on which a metric is worst, of one slice or of all; None if none is defined.

        Small slices count as others do: `Slice(…, at_least=…)` leaves them out.
        """
        self.value(metric)
        known = [
            values
            for values in self.slices
            if (not slice_name or values.slice == slice_name) and values.metrics.get(metric) is not None
        ]
        sign = 1 if self.higher_is_better[metric] else -1
        return min(known, key=lambda values: sign * _number(values.metrics[metric]), default=None)

    def to_polars(self) -> pl.DataFrame:
        """One row for the whole and one for each slice value."""
        import polars as pl

        rows = [SliceValues("", "", self.rows, self.metrics), *self.slices]
        return pl.DataFrame(
            [{"slice": each.slice, "value": each.value, "rows": each.rows, **each.metrics} for each in rows],
            schema={
                "slice": pl.String,
                "value": pl.String,
                "rows": pl.Int64,
                **dict.fromkeys(self.metrics, pl.Float64),
            },
        )

    def __repr__(self) -> str:
        # Short enough for the line that a run shows of it; the rest is what printing it is for.
        metrics = [f"{name} {shown(value)}" for name, value in self.metrics.items()][:_IN_REPR]
        more = ", …" if len(self.metrics) > _IN_REPR else ""
        return f"<evaluation on {self.rows:,} rows, {', '.join(metrics)}{more}>"

    def _tables(self) -> list[Cells]:
        names = list(self.metrics)
        cells = [[self.subject, "rows", *names]]
        for label, rows, metrics, intervals in [
            ("all", self.rows, self.metrics, self.intervals),
            *(
                (slice_label(each.slice, each.value, each.rows), each.rows, each.metrics, each.intervals)
                for each in self.slices
            ),
        ]:
            values = (shown(metrics.get(name), intervals.get(name)) for name in names)
            cells.append([label, f"{rows:,}", *values])
        return [cells]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
