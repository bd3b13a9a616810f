"""The back-test: what each model would have said at origins 29 days apart, judged by what came.

With four weeks between them all origins would be of one weekday, and so would be all days so many days ahead.

The earlier half of the origins chooses between the models, the later half judges the chosen one: a model that was chosen by
what it is judged on looks better than it is.
"""

from datetime import date

import polars as pl

import mainspring as ms
from forecast.forecasts import LEVEL
from forecast.panel import HORIZON, Panel
from forecast.raw import STATIONS
from mainspring.data import DatasetVersion
from mainspring.evaluation import (
    Bootstrap,
    Comparison,
    Evaluation,
    Gate,
    GateReport,
    compare,
    decide,
    evaluate,
    naive_scale,
)

POINTS = ["mase", "rmsse", "wape"]
APART_DAYS = HORIZON + 1
COVERAGE = f"coverage_error@{LEVEL:g}"
INTERVALS = ["coverage", COVERAGE, "interval_width", f"interval_score@{LEVEL:g}"]
CANDIDATES = ("boosted", "networked")
GATES = [
    Gate("mase", at_most=1.0),
    Gate("mase", at_most=1.0, worst_slice="week"),
    Gate("wape", at_most=0.1),
    Gate("mase", better_than_champion=True),
]


@ms.step
def origins(rides: DatasetVersion, games: DatasetVersion, count: int) -> list[date]:
    """So many days, oldest first; the last has its 28 days just before the end of what is known."""
    panel = Panel.of(rides, games)
    last = len(panel.rides) - 1 - HORIZON
    return [panel.day(last - APART_DAYS * ahead) for ahead in reversed(range(count))]


@ms.step
def gathered(naive: list[pl.DataFrame], boosted: list[pl.DataFrame], networked: list[pl.DataFrame]) -> pl.DataFrame:
    """All forecasts, by station, date and model, and by which half of the origins they are."""
    parts = {"naive": naive, "boosted": boosted, "networked": networked}
    both = pl.concat(
        pl.concat(frames).with_columns(model=pl.lit(name), week=(pl.col("horizon") - 1) // 7 + 1)
        for name, frames in parts.items()
    )
    half = both["origin"].unique().sort()[len(naive) // 2]
    tests = pl.when(pl.col("origin") < half).then(pl.lit("choice")).otherwise(pl.lit("test"))
    return both.with_columns(half=tests).sort("model", "station", "date")


@ms.step(outputs=("points", "intervals"))
def assessed(forecasts: pl.DataFrame, rides: DatasetVersion, name: str) -> tuple[Evaluation, Evaluation]:
    """How far a model is off, in all, by station and by week ahead; and how often its intervals hold what came."""
    part = of(forecasts, name)
    slices = ["station", "week"]
    points = evaluate(
        part["rides"], part["forecast"], POINTS, frame=part, slices=slices, subject=name, scale=_scale(part, rides),
        bootstrap=Bootstrap(500, groups="date", method="percentile"),
    )  # fmt: skip
    ends = part.select("low", "high").to_numpy()
    intervals = evaluate(part["rides"], ends, INTERVALS, frame=part, slices=slices, subject=f"{name}, intervals")
    for metric, value in (points.metrics | intervals.metrics).items():
        ms.log_metric(f"{name}/{metric}", value)
    print(points, intervals, sep="\n")
    return points, intervals


@ms.step
def chosen(forecasts: pl.DataFrame, rides: DatasetVersion) -> str:
    """The candidate with the smaller error at the earlier origins."""
    errors = {}
    for name in CANDIDATES:
        part = of(forecasts, name, half="choice")
        errors[name] = evaluate(part["rides"], part["forecast"], ["mase"], scale=_scale(part, rides)).value("mase")
        print(f"{name}: {errors[name]:.4f}")
    return min(errors, key=errors.__getitem__)


@ms.step
def compared(forecasts: pl.DataFrame, rides: DatasetVersion, name: str, other: str) -> Comparison:
    """A model against another on the same days: in all by resampling days, by station by the test of Diebold and Mariano.

    The errors of a station follow each other in time; those of twenty stations on one day are no independent witnesses.
    """
    part, against = of(forecasts, name), of(forecasts, other)
    said = part["rides"], part["forecast"], against["forecast"], ["mase"]
    method = Bootstrap(500, groups="date", method="percentile")
    given = {"frame": part, "scale": _scale(part, rides), "bootstrap": method}
    whole = compare(*said, **given)
    stations = compare(*said, slices=["station"], horizon=HORIZON, **given)
    both = (*whole.differences, *stations.on_slices("mase"))
    found = Comparison(whole.rows, both, whole.alpha, name, other)
    print(found)
    return found


@ms.step
def decided(points: Evaluation, intervals: Evaluation, comparison: Comparison) -> list[GateReport]:
    """Whether the gates let the chosen model pass, each with its reason; one of them is to beat the baseline."""
    reports = [decide(points, GATES, comparison=comparison), decide(intervals, [Gate(COVERAGE, at_most=0.15)])]
    print(*reports, sep="\n")
    return reports


def of(forecasts: pl.DataFrame, name: str, half: str = "test") -> pl.DataFrame:
    """The forecasts of one model at the origins of one half, by station and date."""
    return forecasts.filter((pl.col("model") == name) & (pl.col("half") == half))


def _scale(part: pl.DataFrame, rides: DatasetVersion):
    """What the same weekday of a week ago errs by, of each station, before any of the forecasts."""
    before = rides.to_polars().filter(pl.col("date") <= part["origin"].min()).sort("date")
    history = {name: before.filter(pl.col("station") == name)["rides"] for name in STATIONS}
    return naive_scale(history, season=7, series=part["station"])
