"""What the back-test looks like: forecasts against what came, and the error by days ahead."""

from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.figure import Figure

import mainspring as ms
from forecast.forecasts import LEVEL

SHOWN = ("Clark_Lake", "Addison", "Oak_Park")
COLOURS = {"naive": "#9a9a9a", "boosted": "#1f77b4", "networked": "#d9541e"}


@ms.step
def drawn(forecasts: pl.DataFrame, name: str) -> Path:
    """Two figures, kept with the run; and a folder of them, which a later run takes from the cache."""
    folder = ms.scratch() / "figures"
    folder.mkdir()
    figures = {"forecasts.png": against_what_came(forecasts, name), "error-by-days-ahead.png": by_days_ahead(forecasts)}
    for path, figure in figures.items():
        ms.log_figure(figure, path)
        figure.savefig(folder / path, dpi=100)
        plt.close(figure)
    return folder


def against_what_came(forecasts: pl.DataFrame, name: str) -> Figure:
    """Three stations over all origins: what came, the chosen model with its interval, the baseline."""
    figure, axes = plt.subplots(len(SHOWN), 1, figsize=(11, 8), sharex=True, layout="constrained")
    for axis, station in zip(axes, SHOWN, strict=True):
        part = forecasts.filter(pl.col("station") == station).sort("date")
        chosen, naive = (part.filter(pl.col("model") == model) for model in (name, "naive"))
        axis.plot(naive["date"], naive["forecast"], color=COLOURS["naive"], lw=0.9, ls="--", label="naive")
        axis.fill_between(
            chosen["date"], chosen["low"], chosen["high"], color=COLOURS[name], alpha=0.2, lw=0, label=f"{LEVEL:.0%}"
        )
        axis.plot(chosen["date"], chosen["forecast"], color=COLOURS[name], lw=1.3, label=name)
        axis.plot(chosen["date"], chosen["rides"], "k.", ms=3, label="came")
        for origin in chosen["origin"].unique():
            axis.axvline(origin, color="#cccccc", lw=0.8)
        axis.set_title(station.replace("_", " "), loc="left", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].set_ylabel("thousands of rides a day")
    axes[0].legend(ncols=4, frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    figure.autofmt_xdate(rotation=0, ha="center")
    return figure


def by_days_ahead(forecasts: pl.DataFrame) -> Figure:
    """The sum of errors as a share of the sum of rides, of each day ahead, of each model; all origins."""
    error = (pl.col("rides") - pl.col("forecast")).abs().sum() / pl.col("rides").sum()
    found = forecasts.group_by("model", "horizon").agg(error.alias("wape")).sort("horizon")
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for model, colour in COLOURS.items():
        part = found.filter(pl.col("model") == model)
        axis.plot(part["horizon"], 100 * part["wape"], color=colour, marker="o", ms=3, label=model)
    axis.set_xlabel("days ahead")
    axis.set_ylabel("error, % of rides")
    axis.set_xticks(range(7, 29, 7))
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure
