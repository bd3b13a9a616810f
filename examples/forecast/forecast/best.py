"""The chosen model, fitted once more on all that is known: a version in the registry, and what it says of the next 28 days."""

from typing import Any

import numpy as np
import polars as pl

import mainspring as ms
from forecast import boosting, training
from forecast.panel import FEATURES, HORIZON, PAST, Panel, Windows, windows
from forecast.raw import STATIONS
from mainspring.data import DatasetVersion
from mainspring.evaluation import Evaluation, GateReport
from mainspring.models import ModelVersion, Predictor, register, update_version
from mainspring.workspace import current_workspace

MODEL = "station-rides"
MEANING = "Rides of a station on a day, as a share of their mean over the last 56 days that are known"


@ms.step(**training.TOLERANCE)
def fitted(name: str, rides: DatasetVersion, games: DatasetVersion, years: int, rounds: int, epochs: int) -> Any:
    """The chosen model, of all rides."""
    panel = Panel.of(rides, games)
    at = len(panel.rides) - 1
    if name == "boosted":
        return boosting.fit(panel, at, 0.5, years=years, rounds=rounds)
    return training.fit(panel, at, years=years, epochs=epochs)


@ms.step
def registered(
    model: Any, name: str, rides: DatasetVersion, games: DatasetVersion, points: Evaluation, gates: list[GateReport]
) -> ModelVersion:
    """A version in the registry; refused if a gate has failed."""
    for report in gates:
        report.raise_for_failure()
    rows = _rows(name, _asked(Panel.of(rides, games)))
    version = register(model, MODEL, signature=rows, input_example=rows[:2], evaluation=points, gates=gates[0])
    return update_version(version, description=MEANING)


@ms.step(**training.TOLERANCE)
def announced(version: ModelVersion, name: str, rides: DatasetVersion, games: DatasetVersion) -> pl.DataFrame:
    """What the version says of each station and each of the next 28 days, in thousands of rides."""
    panel = Panel.of(rides, games)
    asked = _asked(panel)
    said = np.array(Predictor.load(version, current_workspace().blobs)(_rows(name, asked).to_dicts()))
    days = [panel.day(len(panel.rides) + ahead) for ahead in range(HORIZON)]
    return pl.DataFrame(
        {
            "station": np.repeat(STATIONS, HORIZON).tolist(),
            "date": days * len(STATIONS),
            "forecast": said * np.repeat(asked.level, HORIZON),
        }
    )


def _asked(panel: Panel) -> Windows:
    """What is known of each station at the end of all rides."""
    last = np.full(len(STATIONS), len(panel.rides) - 1)
    return windows(panel, last, np.arange(len(STATIONS)), truth=False)


def _rows(name: str, asked: Windows) -> pl.DataFrame:
    """One row for each station and day, as the model takes it: the network also reads the days before."""
    if name == "boosted":
        return pl.DataFrame(asked.rows, schema=FEATURES)
    past = np.repeat(asked.history, HORIZON, axis=0)
    return pl.DataFrame(np.concatenate([asked.rows, past], axis=1), schema=[*FEATURES, *PAST])
