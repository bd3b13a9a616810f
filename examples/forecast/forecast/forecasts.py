"""A forecast as a table: what a model says of each station and day, with what came if it is known."""

import numpy as np
import polars as pl

from forecast.panel import HORIZON, Panel
from forecast.raw import STATIONS

QUANTILES = (0.1, 0.5, 0.9)
LEVEL = QUANTILES[-1] - QUANTILES[0]


def forecast(panel: Panel, origin: int, said: np.ndarray) -> pl.DataFrame:
    """From stations × 28 days × quantiles, in thousands of rides; the quantiles are put in order, and are never below 0."""
    low, middle, high = np.moveaxis(np.sort(np.maximum(said, 0), axis=2), 2, 0)
    places = np.arange(origin + 1, origin + HORIZON + 1)
    known = places[-1] < len(panel.rides)
    came = panel.rides[places].T.ravel() if known else None
    return pl.DataFrame(
        {
            "origin": [panel.day(origin)] * (HORIZON * len(STATIONS)),
            "station": np.repeat(STATIONS, HORIZON).tolist(),
            "date": [panel.day(place) for place in places] * len(STATIONS),
            "horizon": np.tile(np.arange(1, HORIZON + 1), len(STATIONS)),
            "low": low.ravel(), "forecast": middle.ravel(), "high": high.ravel(),
            "rides": came,
        },
        schema_overrides={"rides": pl.Float64},
    )  # fmt: skip
