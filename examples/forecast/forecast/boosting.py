"""Gradient boosting over rows of one station and day: a model for each quantile."""

from datetime import date

import lightgbm
import numpy as np
import polars as pl

import mainspring as ms
from forecast.forecasts import QUANTILES, forecast
from forecast.panel import FEATURES, HORIZON, Panel, windows
from forecast.raw import STATIONS
from mainspring.data import DatasetVersion


def fit(panel: Panel, at: int, quantile: float, *, years: int, rounds: int) -> lightgbm.LGBMRegressor:
    """Learn a quantile from the years before an origin, every third day of each window."""
    seen = windows(panel, *panel.before(at, years), truth=True)
    some = np.arange(seen.truth.size) % 3 == 0
    model = lightgbm.LGBMRegressor(
        objective="quantile", alpha=quantile, n_estimators=rounds, learning_rate=0.08, num_leaves=31,
        min_child_samples=40, deterministic=True, force_row_wise=True, n_jobs=1, verbose=-1,
    )  # fmt: skip
    return model.fit(table(seen.rows[some]), seen.truth.ravel()[some], categorical_feature=["station"])


def table(rows: np.ndarray):
    """Rows with the names of their columns, as LightGBM keeps them."""
    return pl.DataFrame(rows, schema=FEATURES).to_pandas()


@ms.step(rtol=1e-6)
def boosted(origin: date, rides: DatasetVersion, games: DatasetVersion, years: int, rounds: int) -> pl.DataFrame:
    """A forecast at an origin by models that were fitted on what was known then."""
    panel = Panel.of(rides, games)
    at = panel.place(origin)
    asked = windows(panel, np.full(len(STATIONS), at), np.arange(len(STATIONS)), truth=False)
    said = [fit(panel, at, quantile, years=years, rounds=rounds).predict(table(asked.rows)) for quantile in QUANTILES]
    shares = np.stack(said, axis=1).reshape(len(STATIONS), HORIZON, len(QUANTILES))
    return forecast(panel, at, shares * asked.level[:, None, None])
