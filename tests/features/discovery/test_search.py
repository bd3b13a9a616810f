"""Features are found by any of their words, the likeliest first."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.features import Entity, FeatureService, FeatureView, OnDemandView, agg, apply
from mainspring.features.discovery import search_definitions
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("definitions are read, nothing is stored")


@pytest.fixture(autouse=True)
def defined(workspace: Workspace) -> None:
    at = [datetime(2013, 1, 1, tzinfo=UTC)]
    dataset("metar").commit(pl.DataFrame({"origin": ["EWR"], "at": at, "temp": [30.5], "wind": [5]}))
    dataset("arrivals").commit(pl.DataFrame({"carrier": ["UA"], "at": at, "delay": [1.0]}))
    weather = FeatureView(
        "weather", entity=Entity("airport", "origin"), source="metar", event_time="at",
        features={"wind": "wind", "freezing": pl.col("temp") < 32}, description="The last report.", owner="ann",
        tags=["noaa"],
    )  # fmt: skip
    delays = FeatureView(
        "carrier_delay", entity=Entity("carrier"), source="arrivals", event_time="at",
        features=[agg.mean("delay", "1h")], description="How late a carrier is, whatever the weather.",
    )  # fmt: skip
    hour = pl.col("leaves_at").dt.hour()
    calendar = OnDemandView("calendar", request={"leaves_at": "datetime[UTC]"}, features={"hour": hour})
    apply(FeatureService("late", [weather, delays, calendar]))


@pytest.mark.parametrize(
    ("words", "names", "first"),
    [
        ("weather", ["weather", "late", "carrier_delay"], "name weather"),
        ("WIND", ["weather", "late"], "feature wind"),
        ("noaa", ["weather"], "tag noaa"),
        ("airport", ["weather"], "entity airport"),
        ("ann", ["weather"], "owner ann"),
        ("metar", ["weather"], "source metar"),
        ("temp", ["weather"], "column temp"),
        ("origin", ["weather", "late"], "key origin"),
        ("delay", ["carrier_delay", "late"], "feature delay_mean_1h"),
        ("report last", ["weather"], "description"),
        ("weather carrier", ["carrier_delay", "late"], "name carrier_delay"),
        ("leaves", ["calendar", "late"], "column leaves_at"),
        ("wether", [], ""),
    ],
)
def test_every_word_must_be_somewhere_and_names_come_first(words: str, names: list[str], first: str) -> None:
    found = search_definitions(words)
    assert [match.definition.name for match in found] == names
    assert not found or found[0].where[0] == first
