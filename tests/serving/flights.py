"""A model of the features of flights: two airports' weather, the plane by a key of two columns, the hour on demand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from mainspring.data import dataset
from mainspring.features import (
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    TrainingSet,
    apply,
    materialize,
    training_set,
)
from mainspring.models import ModelVersion, register

NOW = datetime.now(UTC)
WEATHER = pl.DataFrame(
    {
        "origin": ["EWR", "JFK", "LGA", "SFO"],
        "at": [NOW - timedelta(hours=hours) for hours in (1, 2, 100, 1)],
        "wind": [5, 7, 9, None],
    }
)
PLANES = pl.DataFrame(
    {"carrier": ["UA", "UA"], "flight": [1, 2], "at": [NOW - timedelta(hours=1)] * 2, "seats": [100, 200]}
)
REQUEST = {
    "origin": "EWR",
    "dest": "JFK",
    "carrier": "UA",
    "flight": 2,
    "leaves_at": "2013-01-01T06:00:00Z",
    "distance": 3,
}
ANSWER = 5 + 70 + 2_000 + 6_000 + 30_000
INPUTS = ["wind", "dest_wind", "seats", "hour", "distance"]


def service(*more: Any) -> FeatureService:
    weather = FeatureView(
        "weather_at", entity=Entity("origin"), source="weather", event_time="at", ttl="1d", features=["wind", *more]
    )
    plane = FeatureView(
        "plane", entity=Entity("plane", {"carrier": str, "flight": int}), source="planes", event_time="at",
        features=["seats"],
    )  # fmt: skip
    calendar = OnDemandView(
        "calendar", request={"leaves_at": "datetime[UTC]"}, features={"hour": pl.col("leaves_at").dt.hour()}
    )
    return FeatureService("late", [weather, weather["wind"].keyed(origin="dest").prefixed("dest_"), plane, calendar])


def trained() -> TrainingSet:
    """The features of flights that leave now, after they were defined and materialized."""
    dataset("weather").commit(WEATHER)
    dataset("planes").commit(PLANES)
    apply(service())
    for view in ("weather_at", "plane"):
        materialize(view)
    rows = pl.DataFrame({name: [value] * 5 for name, value in REQUEST.items()})
    leaves = pl.Series("leaves_at", [NOW + timedelta(hours=hour) for hour in range(5)])
    return training_set(rows.with_columns(leaves), "late", time="leaves_at")


def late(made: TrainingSet | None = None, *, imputed: bool = True, **more: Any) -> ModelVersion:
    """A registered model: wind + 10 dest_wind + 10 seats + 1000 hour + 10000 distance, and -1 for what is missing."""
    made = made or trained()
    random = np.random.default_rng(0).normal(size=(20, len(INPUTS)))
    steps = [SimpleImputer(strategy="constant", fill_value=-1)] if imputed else []
    model = make_pipeline(*steps, LinearRegression()).fit(random, random @ [1, 10, 10, 1_000, 10_000])
    table = made.frame.select(INPUTS).with_columns(pl.col("distance").cast(pl.Float64))
    return register(model, "delay", **{"signature": table, "features": made, **more})
