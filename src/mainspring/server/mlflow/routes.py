"""Every endpoint of MLflow's that is served here."""

from __future__ import annotations

from mainspring.server.mlflow import (
    artifacts,
    experiments,
    logged_models,
    metrics,
    model_versions,
    registered_models,
    runs,
)
from mainspring.server.mlflow.wire import Route

ROUTES: tuple[Route, ...] = tuple(
    route
    for noun in (
        experiments, runs, metrics, artifacts, logged_models, registered_models, model_versions,
    )
    for route in noun.ROUTES
)  # fmt: skip
