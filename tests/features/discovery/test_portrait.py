"""What is shown of a definition: its values, computed once for a content, its freshness, users and raw data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.features import Entity, FeatureService, FeatureView, agg, apply, materialize
from mainspring.features.discovery import describe
from mainspring.features.discovery.statistics import histogram
from mainspring.workspace import Workspace

AT = datetime(2013, 1, 1, tzinfo=UTC)
ROWS = pl.DataFrame(
    {
        "origin": ["EWR", "JFK"] * 500, "at": [AT + timedelta(minutes=number) for number in range(1_000)],
        "wind": [None, *range(1, 1_000)], "temp": [float(number % 7) for number in range(1_000)],
    }
)  # fmt: skip


@pytest.fixture
def service(workspace: Workspace, tmp_path: Path) -> FeatureService:
    ROWS.write_parquet(tmp_path / "raw.parquet")
    raw = dataset("raw").commit(ROWS, source=tmp_path / "raw.parquet")
    dataset("weather").commit(ROWS, source=raw)
    station = Entity("origin")
    weather = FeatureView(
        "weather",
        entity=station,
        source="weather",
        event_time="at",
        features={"wind": "wind", "hot": pl.col("temp") > 3},
    )
    winds = FeatureView(
        "winds", entity=station, source="weather", event_time="at", features=[agg.count(windows="1h"), agg.mean("wind", "1h")]
    )  # fmt: skip
    made = FeatureService("late", [weather["wind"].prefixed("here_"), winds])
    apply(weather, made)
    return made


def test_a_view_is_shown_with_values_freshness_and_raw_data(service: FeatureService, tmp_path: Path) -> None:
    materialize("weather", until=AT + timedelta(hours=2))
    found = describe("weather")
    wind, hot = found.features
    assert wind.profile is not None
    assert (wind.profile.nulls, wind.profile.min, wind.profile.max, wind.profile.mean) == (1, 1, 999, 500.0)
    assert wind.histogram is not None
    assert sum(wind.histogram.counts) == 999
    assert (str(wind.origins[0]), str(hot.origins[0])) == ("weather: wind", "weather: temp")
    (state,) = found.views
    assert state.statistics is not None
    assert (state.source, state.statistics.rows, state.statistics.entities) == ("weather/1", 1_000, 2)
    assert state.watermark is not None
    assert state.watermark.version == "weather/1"
    assert state.age_us is not None
    assert state.age_us > 0
    assert state.upstream[0] == "raw/1"
    assert state.upstream[1].endswith("raw.parquet")
    assert (found.versions, found.uses) == (("weather/1",), ())


def test_aggregates_are_shown_as_they_were_at_events_and_a_service_under_its_names(service: FeatureService) -> None:
    found = describe("late")
    assert [each.name for each in found.features] == ["here_wind", "count_1h", "wind_mean_1h"]
    here, count, mean = (each.profile for each in found.features)
    assert here is not None and count is not None and mean is not None  # noqa: PT018  # of one kind
    assert (here.max, count.max, count.min, count.nulls) == (999, 33, 1, 0)
    assert mean.nulls == 1
    assert [each.view for each in found.views] == ["weather/1", "winds/1"]


@pytest.mark.one_backend("the same rows of one table")
def test_values_are_computed_once_for_a_content(service: FeatureService, monkeypatch: pytest.MonkeyPatch) -> None:
    first = describe("weather")
    monkeypatch.setattr("mainspring.features.discovery.statistics._computed", None)
    dataset("weather").commit(ROWS[:10])
    dataset("weather").commit(ROWS)
    again = describe("weather")
    assert [each.profile for each in again.features] == [each.profile for each in first.features]
    assert again.views[0].source == "weather/3"
    assert describe("weather", values=False).features[0].profile is None


@pytest.mark.one_backend("nothing is stored")
def test_there_are_never_more_entities_than_rows(workspace: Workspace) -> None:
    planes = pl.DataFrame(
        {"plane": [f"K{number}" for number in range(3_322)], "at": [AT] * 3_322, "built": [1990] * 3_322}
    )
    dataset("planes").commit(planes)
    apply(FeatureView("planes", entity=Entity("plane"), source="planes", event_time="at", features=["built"]))
    found = describe("planes").views[0].statistics
    assert found is not None
    assert 3_000 < found.entities <= found.rows


@pytest.mark.one_backend("nothing is stored")
def test_a_source_that_does_not_fit_any_more_is_said(service: FeatureService) -> None:
    dataset("weather").commit(ROWS.drop("wind"))
    found = describe("weather")
    assert "wind" in found.views[0].problem
    assert [each.origins for each in found.features] == [(), ()]


def test_a_histogram_has_the_outermost_values_in_its_first_and_last_bars() -> None:
    far = histogram(pl.Series([*range(1_000), 10**9]))
    assert far is not None
    assert far.edges[-1] < 1_000
    assert sum(far.counts) == 1_001
    assert max(far.counts) < 120
    for nothing in (pl.Series([1, 1]), pl.Series([None, None]), pl.Series(["a", "b"]), pl.Series([float("nan"), 1.0])):
        assert histogram(nothing) is None
