"""Definitions that a pipeline's step applies: the step is reused while they and their data are the same."""

from __future__ import annotations

import pytest

from mainspring.testing.workspaces import Lab, states

VIEWS = """
import polars as pl
from mainspring.features import Entity, FeatureService, FeatureView

def reports(weather):
    return weather.with_columns(wind=pl.col("wind") * 1)

weather = FeatureView(
    "weather_at", entity=Entity("origin"), source="weather", event_time="at", features=["wind"], transform=reports
)
late = FeatureService("late", [weather])
"""
FLOW = """
import polars as pl
from datetime import UTC, datetime

import views
from mainspring.data import DatasetVersion, dataset
from mainspring.features import apply, get_definition

@ms.step
def kept() -> DatasetVersion:
    return dataset("weather").commit(
        pl.DataFrame({"origin": ["EWR"], "at": [datetime(2013, 1, 1, tzinfo=UTC)], "wind": [5]})
    )

@ms.step
def defined(weather: DatasetVersion):
    apply(views, sources={"weather": weather})
    return get_definition("service", "late")

@ms.pipeline
def main():
    return defined(kept())
"""


@pytest.mark.parametrize("applied", ["views", "views.late"])
def test_a_step_that_applies_definitions_is_reused_until_they_change(applied: str, lab: Lab) -> None:
    lab.write(VIEWS, "views")
    lab.write(FLOW.replace("apply(views,", f"apply({applied},"))
    first = lab.run()
    assert str(first.value) == "late/1", first.run.error
    assert states(lab.run()) == {"kept": "reused", "defined": "reused"}
    lab.write(VIEWS.replace('time="at"', 'time="at", ttl="2h"'), "views")
    again = lab.run()
    assert states(again)["defined"] == "succeeded"
    assert str(again.value) == "late/2"
