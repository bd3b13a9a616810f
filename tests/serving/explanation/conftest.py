"""A model that a pipeline made of a file, which answers with features of another, and one logged request of two rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from mainspring.features import materialize
from mainspring.models import register
from mainspring.serving import bind, get_endpoint, load_predictor
from mainspring.serving.predictions import Entry, Source, prediction_log
from mainspring.serving.predictions.ids import ids_from
from mainspring.workspace import Workspace

PIPELINE = """
import polars as pl
from sklearn.linear_model import LogisticRegression

import mainspring as ms
from mainspring.data import dataset
from mainspring.features import Entity, FeatureService, FeatureView, apply, training_set
from mainspring.models import register

weather = FeatureView("weather_at", entity=Entity("origin"), source="weather", event_time="at", features=["wind"])
service = FeatureService("late", [weather, weather["wind"].keyed(origin="dest").prefixed("dest_")])


def read(name, path):
    frame = pl.read_csv(path, try_parse_dates=True)
    return dataset(name).commit(frame.with_columns(pl.col("at").dt.replace_time_zone("UTC")), source=path)


@ms.step
def load():
    return read("flights", ms.file("flights.csv"))


@ms.step
def train(flights):
    read("weather", ms.file("weather.csv"))
    apply(service)
    made = training_set(flights.to_polars(), "late", time="at")
    table = made.frame.select("wind", "dest_wind", pl.col("distance").cast(pl.Float64))
    return register(LogisticRegression().fit(table, made.frame["delayed"]), "delay", input_example=table, features=made)


@ms.pipeline
def main():
    return train(load())
"""
FILES = {
    "flights.csv": "origin,dest,distance,delayed,at\nEWR,JFK,3,0,2013-01-01T06:00:00\nJFK,EWR,300,1,2013-01-01T07:00:00\n",
    "weather.csv": "origin,at,wind\nEWR,2013-01-01T05:00:00,5\nJFK,2013-01-01T04:00:00,7\n",
    "flights_pipeline.py": PIPELINE,
}
RECORDS = [{"origin": "EWR", "dest": "JFK", "distance": 3.0}, {"origin": "JFK", "dest": "EWR", "distance": 30.0}]


class Released(SimpleNamespace):
    """The ids of the two rows, the run that made the model, and the folder of the project."""

    ids: list[str]
    run: str
    folder: Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("flights_pipeline", None)


@pytest.fixture
def released(project: Path, workspace: Workspace) -> Released:
    import importlib

    run = importlib.import_module("flights_pipeline").main.run()
    materialize("weather_at")
    bind("delays", "delay@production", version="delay/1", note="the first one")
    return Released(ids=log_rows(workspace), run=run.id, folder=project)


def log_rows(workspace: Workspace) -> list[str]:
    """Log what the endpoint answers to the two records, and give their ids."""
    predictor, endpoint = load_predictor("delays"), get_endpoint("delays")
    columns, problems = predictor.check(RECORDS)
    assert not problems
    filled = predictor.fill(columns, len(RECORDS))
    answers = predictor.predictor.answer(filled.columns, len(RECORDS))
    entry = Entry("r1", "user-7", 0.0, columns, len(RECORDS))
    entry.filled = filled
    prediction_log(workspace).write(Source.of(endpoint, predictor), [(entry, answers)])
    return ids_from(entry.first, len(RECORDS))


def register_by_hand() -> None:
    """The next version of the model, made outside of a run."""
    from sklearn.linear_model import LogisticRegression

    table = pl.DataFrame({"distance": [3.0, 30.0]})
    register(LogisticRegression().fit(table, [1, 0]), "delay", input_example=table)
