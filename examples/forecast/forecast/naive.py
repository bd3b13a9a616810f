"""The baseline: a day will be as the same weekday of the last week that is known, and as wrong as it used to be."""

from datetime import date

import numpy as np
import polars as pl

import mainspring as ms
from forecast.forecasts import QUANTILES, forecast
from forecast.panel import HORIZON, YEAR, Panel
from mainspring.data import DatasetVersion


@ms.step
def naive(origin: date, rides: DatasetVersion, games: DatasetVersion) -> pl.DataFrame:
    """A forecast at an origin; the interval has the errors that it made in the two years before, as many weeks ahead."""
    panel = Panel.of(rides, games)
    at = panel.place(origin)
    past = panel.rides[at + 1 - 2 * YEAR : at + 1]
    said = []
    for ahead in range(1, HORIZON + 1):
        back = 7 * -(-ahead // 7)
        low, _, high = np.quantile(past[back:] - past[:-back], QUANTILES, axis=0)
        value = panel.rides[at + ahead - back]
        said.append(np.stack([value + low, value, value + high], axis=1))
    return forecast(panel, at, np.stack(said, axis=1))
