"""Each feature names the columns of the raw data that it is computed from, however it is computed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.features import Entity, FeatureService, FeatureView, OnDemandView, Stream, agg, apply, get_definition
from mainspring.features.discovery import Origins
from mainspring.workspace import Workspace
from tests.features.conftest import Module

AT = datetime(2013, 1, 1, tzinfo=UTC)
RAW = pl.DataFrame(
    {"origin": ["EWR"], "at": [AT], "temp": [30.5], "wind": [5], "gust": [9], 'odd "name': ["x"], "unused": [1]}
)
STATION = Entity("origin")


def columns(view: FeatureView | OnDemandView | FeatureService, workspace: Workspace) -> dict[str, list[str]]:
    apply(view)
    kind: Any = (
        "view" if isinstance(view, FeatureView) else "service" if isinstance(view, FeatureService) else "on_demand"
    )
    found = Origins(workspace).of(get_definition(kind, view.name))
    return {name: [str(origin) for origin in origins] for name, origins in found.items()}


def view(**more: Any) -> FeatureView:
    given: dict[str, Any] = {"name": "v", "entity": STATION, "source": "weather", "event_time": "at"} | more
    return FeatureView(**given)


@pytest.fixture(autouse=True)
def raw(workspace: Workspace) -> None:
    dataset("weather").commit(RAW)


pytestmark = pytest.mark.one_backend("definitions are read, nothing is stored")


def test_expressions_say_what_they_read(workspace: Workspace) -> None:
    import polars.selectors as cs

    features = {
        "wind": "wind", "renamed": pl.col("temp"), "ratio": pl.col("gust") / pl.col("wind"),
        "chosen": pl.when(pl.col('odd "name') == "x").then(pl.col("temp")).otherwise(None),
        "all": pl.sum_horizontal(cs.by_dtype(pl.Int64)), "mean": pl.col("temp").mean().over("origin"),
    }  # fmt: skip
    assert columns(view(features=features), workspace) == {
        "wind": ["weather: wind"], "renamed": ["weather: temp"], "ratio": ["weather: wind, gust"],
        "chosen": ['weather: temp, odd "name'], "all": ["weather: wind, gust, unused"],
        "mean": ["weather: origin, temp"],
    }  # fmt: skip


def test_aggregates_name_their_column_and_counts_of_events_the_time(workspace: Workspace) -> None:
    found = columns(view(features=[agg.mean("wind", ["1h", "6h"]), agg.count(windows="1h")]), workspace)
    assert found == {
        "wind_mean_1h": ["weather: wind"], "wind_mean_6h": ["weather: wind"], "count_1h": ["weather: at"]
    }  # fmt: skip


def test_sql_names_the_columns_below_each_of_its_own(workspace: Workspace) -> None:
    sql = """
        SELECT origin, "at", temp - gust AS spread,
               "odd ""name" AS odd, wind FROM weather WHERE unused > 0;
    """
    found = columns(view(transform=sql, features=["spread", "odd", (pl.col("wind") + 1).alias("more")]), workspace)
    assert found == {
        "spread": ["weather: temp, gust, unused"], "odd": ['weather: odd "name, unused'],
        "more": ["weather: wind, unused"],
    }  # fmt: skip


def test_functions_are_followed_and_one_that_collects_has_read_all_it_collected(
    workspace: Workspace, module: Module
) -> None:
    views = module(
        "views",
        """
        import polars as pl

        def lazily(rows):
            return rows.filter(pl.col("wind") > 0).with_columns(hot=pl.col("temp") > 30, other=pl.col("gust"))

        def eagerly(rows):
            return rows.select("origin", "at", "temp").collect().with_columns(hot=pl.col("temp") > 30)

        def demanded(frame):
            return frame.select(d=frame["wind"] * frame["hour"])
        """,
    )
    assert columns(view(transform=views.lazily, features=["hot", "other"]), workspace) == {
        "hot": ["weather: temp, wind"], "other": ["weather: wind, gust"]
    }  # fmt: skip
    assert columns(view(name="w", transform=views.eagerly, features=["hot"]), workspace) == {
        "hot": ["weather: origin, at, temp"]
    }
    plain = view(name="plain", features={"wind": pl.col("gust") - pl.col("wind"), "temp": "temp"})
    demand = OnDemandView(
        "d", request={"hour": "i64", "day": "i64"}, inputs=[plain], features={"d": "i64"}, transform=views.demanded
    )
    assert columns(demand, workspace) == {"d": ["request: hour", "weather: wind, gust"]}


def test_a_service_names_those_of_its_views_under_its_own_names(workspace: Workspace) -> None:
    clicks = FeatureView(
        "clicks", entity=STATION, source=Stream("clicks", {"origin": "str", "n": "i64"}), features=[agg.sum("n", "1h")]
    )
    plain = view(features={"wind": "wind", "hot": pl.col("temp") > 30})
    demand = OnDemandView(
        "d", request={"hour": "i64"}, inputs=[plain["wind"]],
        features={"h": pl.col("hour") + 1, "both": pl.col("wind") * pl.col("hour")},
    )  # fmt: skip
    service = FeatureService("s", [plain["hot"].prefixed("here_"), clicks, demand])
    assert columns(service, workspace) == {
        "here_hot": ["weather: temp"], "n_sum_1h": ["clicks: n"], "h": ["request: hour"],
        "both": ["request: hour", "weather: wind"],
    }  # fmt: skip
