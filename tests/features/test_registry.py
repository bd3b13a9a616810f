"""Applying definitions: versions, plans, what uses them, and what is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.errors import ExistsError, InvalidError, NotFoundError, WrongTypeError
from mainspring.features import (
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    Stream,
    agg,
    apply,
    choose_features,
    find_definition,
    get_definition,
    list_definitions,
    materialize,
    plan,
    training_set,
)
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import ServiceRecord, ViewRecord
from mainspring.features.definitions.rows import view_rows
from mainspring.features.discovery.portrait import describe
from mainspring.models import Field, Signature, register
from mainspring.serving import bind
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace, using
from tests.features.conftest import Module

AT = datetime(2013, 1, 1, 5, tzinfo=UTC)
WEATHER = pl.DataFrame({"origin": ["EWR", "JFK"], "at": [AT, AT], "temp": [30.0, 40.0], "wind": [5, None]})
ORIGIN = Entity("origin")


@pytest.fixture(autouse=True)
def weather(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)


def view(**changed: Any) -> FeatureView:
    given: dict[str, Any] = {
        "entity": ORIGIN, "source": "weather", "event_time": "at", "ttl": "2h",
        "features": ["wind", (pl.col("temp") < 32).alias("is_freezing")],
    }  # fmt: skip
    return FeatureView("weather_at", **given | changed)


def rows(record: Any, frame: pl.DataFrame, workspace: Workspace) -> pl.DataFrame:
    assert isinstance(record, ViewRecord)
    return view_rows(record, frame.lazy(), Functions(workspace)).collect()


def test_a_view_is_recorded_with_the_types_of_its_data(workspace: Workspace) -> None:
    made = apply(view())
    assert [(each.kind, each.name, each.action) for each in made.changes] == [("view", "weather_at", "new")]
    found = get_definition("view", "weather_at")
    assert (found.number, str(found)) == (1, "weather_at/1")
    assert [(field.name, field.dtype) for field in found.record.fields] == [("wind", "i64"), ("is_freezing", "bool")]
    assert rows(found.record, WEATHER, workspace).to_dicts() == [
        {"origin": "EWR", "at": AT, "wind": 5, "is_freezing": True},
        {"origin": "JFK", "at": AT, "wind": None, "is_freezing": False},
    ]


def test_a_feature_has_its_name_beside_it_and_the_fields_of_a_struct_have_theirs(workspace: Workspace) -> None:
    apply(view(features=[pl.struct(pl.col("wind").alias("speed"), "temp").alias("inner").alias("weather")]))
    record = get_definition("view", "weather_at").record
    assert [(each.name, each.dtype) for each in record.fields] == [("weather", 'struct{"speed": i64, "temp": f64}')]
    assert rows(record, WEATHER, workspace)["weather"].to_list() == [
        {"speed": 5, "temp": 30.0},
        {"speed": None, "temp": 40.0},
    ]


def test_numbers_that_are_not_finite_are_values_of_expressions(workspace: Workspace) -> None:
    apply(view(features=[pl.col("temp").clip(upper_bound=math.inf).fill_null(math.nan), pl.col("wind").fill_null(0)]))
    record = get_definition("view", "weather_at").record
    assert repr(rows(record, WEATHER.with_columns(temp=pl.lit(None, pl.Float64)), workspace)["temp"][0]) == "nan"


def test_the_same_again_changes_nothing_and_words_for_people_make_no_version() -> None:
    apply(view())
    again = plan(view())
    assert again.is_empty
    assert again.changes[0].action == "unchanged"
    described = apply(view(description="at the origin", owner="ann", tags=["weather"]))
    assert described.changes[0].action == "described"
    found = get_definition("view", "weather_at")
    assert (found.number, found.record.about.owner) == (1, "ann")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ttl": "3h"}, ["ttl: 2h → 3h"]),
        ({"ttl": None}, ["ttl: 2h → none"]),
        ({"features": ["wind"]}, ["feature `is_freezing` is gone"]),
        ({"features": ["wind", "temp", (pl.col("temp") < 32).alias("is_freezing")]}, ["feature `temp` is new"]),
        ({"features": {"wind": "temp", "is_freezing": pl.col("temp") < 32}}, ["feature `wind`: i64 → f64"]),
        ({"created_time": "at"}, ["created_time: none → at"]),
        ({"transform": "SELECT * FROM weather WHERE temp > 0 ORDER BY origin"},
         ["transform: none → SQL `SELECT * FROM weather WHERE temp > 0 ORDER BY origin`"]),
        ({"features": ["wind", (pl.col("temp") < 33).alias("is_freezing")]},
         ['feature `is_freezing`: [(col("temp")) < (dyn int: 32)] → [(col("temp")) < (dyn int: 33)]']),
        ({"features": [(pl.col("temp") < 32).alias("is_freezing"), "wind"]}, ["the order of features"]),
        ({"entity": Entity("station", "origin")}, ["entities: origin → station"]),
    ],
)  # fmt: skip
@pytest.mark.one_backend("definitions are compared in memory")
def test_a_change_is_a_new_version_and_told(change: dict[str, Any], told: list[str]) -> None:
    apply(view())
    (found,) = apply(view(**change)).changes
    assert (found.action, list(found.differences)) == ("changed", told)
    assert get_definition("view", "weather_at").number == 2
    assert get_definition("view", "weather_at/1").record.fields[0].name == "wind"


def test_a_function_is_recorded_with_its_code_and_the_old_version_keeps_it(
    workspace: Workspace, module: Module
) -> None:
    source = """
        import polars as pl
        from scale import FACTOR

        def scaled(rows):
            return rows.with_columns(wind=pl.col("wind") * FACTOR)
    """
    module("scale", "FACTOR = 2\n")
    apply(view(transform=module("views", source).scaled))
    first = get_definition("view", "weather_at")
    assert plan(view(transform=module("views", source.replace("def", "# a comment\n        def")).scaled)).is_empty

    module("scale", "FACTOR = 3\n")
    (change,) = apply(view(transform=module("views", source).scaled)).changes
    assert change.differences == ("constant scale.FACTOR changed",)
    second = get_definition("view", "weather_at")
    assert rows(first.record, WEATHER, workspace)["wind"].to_list() == [10, None]
    assert rows(second.record, WEATHER, workspace)["wind"].to_list() == [15, None]
    assert module("scale", "FACTOR = 3\n").FACTOR == 3  # what was imported here is as it was


@pytest.mark.one_backend("nothing is stored")
def test_a_function_is_the_same_beside_other_definitions_that_change(module: Module) -> None:
    source = """
        import polars as pl
        from mainspring.features import Entity, FeatureService, FeatureView
        origin, RANGE = Entity("origin"), [1, 2]
        def scaled(rows):
            return rows.with_columns(wind=pl.col("wind") * RANGE[1])
        one = FeatureView("one", entity=origin, source="weather", event_time="at", features=["wind"], transform=scaled)
        two = FeatureView("two", entity=origin, source="weather", event_time="at", features=["temp"], ttl="2h")
        svc = FeatureService("svc", [one])
    """
    other = 'three = FeatureView("three", entity=origin, source="weather", event_time="at", features=["temp"])'
    apply(module("views", source))
    edits = {
        "worded": source.replace('ttl="2h"', 'ttl="2h", description="new"'), "ttl": source.replace("2h", "3h"),
        "more": f"{source}\n        {other}", "reached": source.replace("[1, 2]", "[1, 3]"),
    }  # fmt: skip
    found = {}
    for what, text in edits.items():
        found[what] = {each.name: each.action for each in plan(module("views", text)).changes}
    same = {"one": "unchanged", "two": "unchanged", "svc": "unchanged"}
    assert found["worded"] == same | {"two": "described"}
    assert found["ttl"] == same | {"two": "changed"}
    assert found["more"] == same | {"three": "new"}
    assert found["reached"] == {"one": "changed", "two": "unchanged", "svc": "changed"}


def test_a_function_must_be_one_that_a_server_can_load(module: Module) -> None:
    with pytest.raises(InvalidError, match="Define it with `def` at the top level of a module"):
        apply(view(transform=lambda rows: rows))
    module("scale", "FACTOR = 2\n")
    late = module("late", "def scaled(rows):\n    from scale import FACTOR\n    return rows.head(FACTOR)\n").scaled
    with pytest.raises(InvalidError, match=r"`scaled with an import of `scale` inside a function of late\.py`"):
        apply(view(transform=late))
    broken = module("broken", "def scaled(rows):\n    return rows.collect()['nothing']\n").scaled
    with pytest.raises(InvalidError, match=r"broken:scaled.*ColumnNotFoundError"):
        apply(view(transform=broken))


@pytest.mark.one_backend("nothing is stored")
def test_rows_that_a_function_can_not_take_any_more_are_told_wherever_they_are_computed(module: Module) -> None:
    ages = module("ages", """
        import polars as pl
        def told(rows):
            return rows.with_columns(wind=pl.col("wind").cast(pl.String).str.to_integer())
    """).told  # fmt: skip
    apply(FeatureService("late", [view(transform=ages)]))
    dataset("weather").commit(WEATHER.with_columns(wind=pl.lit("strong")))
    asked = pl.DataFrame({"origin": ["EWR"], "when": [AT]})
    for compute in (
        lambda: training_set(asked, "late", time="when"), lambda: materialize("weather_at"),
    ):  # fmt: skip
        with pytest.raises(InvalidError, match=r"weather_at\.transform: `ages:told` is not computable of these rows"):
            compute()
    assert "`ages:told` is not computable" in describe("weather_at").views[0].problem


@pytest.mark.one_backend("nothing is stored")
@pytest.mark.parametrize("call", ["with_columns(wind=pl.col('nope') + 1)", "select(nope=1 + pl.col('nope'))"])
def test_a_function_that_fails_only_when_its_rows_are_collected_is_named(call: str, module: Module) -> None:
    lazy = module("lazy", f"import polars as pl\ndef scaled(rows):\n    return rows.{call}\n").scaled
    with pytest.raises(InvalidError, match=r'weather_at\.transform: `lazy:scaled`.*unable to find column "nope"'):
        apply(view(transform=lazy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["wnid"]}, "`wnid` is not a column of `weather`. Nearest: wind"),
        ({"event_time": "att"}, "`att` is not a column of `weather`. Nearest: at"),
        ({"event_time": "temp"}, "`Float64` is not a column of dates or times"),
        ({"entity": Entity("origin", {"origin": int})}, "`String` is not a column that holds keys of type int"),
        ({"source": "wether"}, "No dataset `wether`. Nearest: weather"),
        ({"features": [pl.col("temp").map_elements(abs).alias("x")]}, "Put a function of Python into `transform`"),
        ({"features": [pl.col("temp").shuffle().alias("x")]}, "Functions that give something else each time"),
        ({"features": [pl.col("origin").str.to_uppercase() + 1]}, "weather_at.features"),
        ({"transform": "SELECT nothing FROM weather"}, "weather_at.transform"),
        ({"transform": "SELECT at, wind FROM weather"}, 'words of SQL, too, need double quotes: "at"'),
        ({"features": [agg.mean("origin", "1h")], "ttl": None}, "origin"),
        (
            {"features": [pl.col("wind").cast(pl.Int128)]},
            "weather_at.wind: `i128` is not a type that can be served online",
        ),
    ],
)
@pytest.mark.one_backend("nothing is stored")
@pytest.mark.filterwarnings("ignore:")
def test_what_does_not_fit_the_data_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidError, NotFoundError), match=message):
        apply(view(**change))
    assert list_definitions() == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"features": ["at"]}, "names that no key, time or other feature has"),
        ({"features": []}, "a list of columns"),
        ({"features": ["wind", agg.count(windows="1h")]}, "Make two views"),
        ({"event_time": ""}, "A view of a dataset needs one"),
        ({"entity": (ORIGIN, Entity("other", "origin"))}, "entities with different keys"),
        ({"ttl": "soon"}, "weather_at.ttl"),
        ({"features": [agg.count(windows="1h")], "ttl": "2h"}, "Windows say how old the events of an aggregate may be"),
        ({"features": {"a__b": "wind"}}, "without `__`"),
    ],
)
@pytest.mark.one_backend("nothing is stored")
def test_what_can_be_no_definition_is_refused_where_it_is_written(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        view(**given)


def test_a_service_takes_its_views_along_and_changes_with_them() -> None:
    calendar = OnDemandView(
        "calendar", request={"leaves_at": "datetime[us, UTC]"}, inputs=[view()["wind"]],
        features={"hour": pl.col("leaves_at").dt.hour(), "gusty": pl.col("wind") > pl.col("leaves_at").dt.hour()},
    )  # fmt: skip
    there = view().keyed(origin="dest").prefixed("dest_")
    delays = FeatureService("delays", [view(), calendar])
    with pytest.raises(ExistsError, match="Two definitions of this name"):
        apply(FeatureService("delays", [view(), there]))
    base = view()
    calendar = OnDemandView(
        "calendar", request={"leaves_at": "datetime[us, UTC]"}, inputs=[base["wind"]],
        features={"hour": pl.col("leaves_at").dt.hour(), "gusty": pl.col("wind") > pl.col("leaves_at").dt.hour()},
    )  # fmt: skip
    delays = FeatureService("delays", [base, base.keyed(origin="dest").prefixed("dest_"), calendar])
    assert [(each.kind, each.action) for each in apply(delays).changes] == [
        ("view", "new"), ("on_demand", "new"), ("service", "new"),
    ]  # fmt: skip
    found = get_definition("service", "delays").record
    assert [field.name for field in found.fields] == [
        "wind",
        "is_freezing",
        "dest_wind",
        "dest_is_freezing",
        "hour",
        "gusty",
    ]
    assert isinstance(found, ServiceRecord)
    assert found.request == {"origin": "str", "dest": "str", "leaves_at": "datetime[us, UTC]"}

    base.ttl_us = 1
    changed = apply(delays)
    assert [(each.name, each.action) for each in changed.changes] == [
        ("weather_at", "changed"), ("calendar", "changed"), ("delays", "changed"),
    ]  # fmt: skip
    assert changed.changes[2].differences[0] == "view `weather_at` has a new version"


@pytest.mark.one_backend("nothing is stored")
@pytest.mark.parametrize(
    "over",
    [
        pl.col("z") - pl.col("z").mean(), pl.col("z").shift(1), pl.col("z").rank(), pl.col("z").sum().over("z"), pl.len(),
        pl.col("z").is_in(pl.col("y")), pl.col("z").replace(pl.col("y"), pl.col("z")), pl.col("s").str.to_date(strict=False),
        pl.col("z") + pl.lit(pl.Series([1, 2])), pl.col("s").cast(pl.Categorical).to_physical(),
    ],
)  # fmt: skip
def test_a_feature_on_demand_or_of_events_depends_on_no_other_row(over: pl.Expr) -> None:
    request = {"z": "i64", "y": "i64", "s": "str"}
    features = {"fine": pl.col("z").replace({1: 2}), "r": over}
    with pytest.raises(
        InvalidError, match=r"alone\.r: .* is not an expression of single rows\. What is answered would"
    ):
        apply(OnDemandView("alone", request=request, features=features))
    stream = Stream("events", request)
    with pytest.raises(
        InvalidError, match=r"fed\.r: .* is not an expression of single rows\. Rows come in any batches\."
    ):
        apply(FeatureView("fed", entity=Entity("y", {"y": int}), source=stream, features=features))
    assert list_definitions() == []


@pytest.mark.one_backend("nothing is stored")
@pytest.mark.parametrize(
    ("over", "hint"),
    [
        (pl.col("z").shift(), ""), (pl.col("z").is_in(pl.col("y")), "A set that is looked up in is literal"),
        (pl.col("s").str.to_date(strict=False), "Times in text need their format."),
        (pl.col("l").list.unique(), "`list.unique` needs"),
    ],
)  # fmt: skip
def test_why_an_expression_is_not_of_single_rows_is_told_where_it_is_known(over: pl.Expr, hint: str) -> None:
    request = {"z": "i64", "y": "i64", "s": "str", "l": "list[i64]"}
    with pytest.raises(InvalidError, match=rf"in the request\.{f' {hint}' if hint else '$'}"):
        apply(OnDemandView("alone", request=request, features={"r": over}))


@pytest.mark.one_backend("nothing is stored")
def test_keys_are_names_of_columns() -> None:
    for keys in (int, 3, [int], {1: int}):
        with pytest.raises(WrongTypeError, match=r"keys: .* expected a column, several, or columns with their types"):
            Entity("doc", cast(Any, keys))


@pytest.mark.one_backend("nothing is stored")
def test_no_feature_shows_the_codes_of_categories(workspace: Workspace) -> None:
    at = [datetime(2026, 1, 1, tzinfo=UTC)]
    dataset("raw").commit(pl.DataFrame({"k": ["a"], "at": at, "w": pl.Series(["x"], dtype=pl.Categorical), "s": ["x"]}))
    codes = pl.col("w").to_physical()
    for shown in (
        codes,
        pl.col("s").cast(pl.Categorical).to_physical(),
        codes.sum().over("s"),
        pl.max_horizontal("w", "w"),
    ):
        with pytest.raises(
            InvalidError, match=r"raw_at\.n: .* is not the same in each process, as the codes of categories"
        ):
            apply(FeatureView("raw_at", entity=Entity("k"), source="raw", event_time="at", features=[shown.alias("n")]))
    with pytest.raises(InvalidError, match=r"asked\.n: .* is not the same in each process"):
        apply(OnDemandView("asked", request={"w": "cat"}, features={"n": codes}))
    for hidden in (
        pl.col("s").cast(pl.Enum(["x"])).to_physical(),
        pl.col("w") == "x",
        pl.col("w").cast(pl.String).hash(),
    ):
        apply(FeatureView("raw_at", entity=Entity("k"), source="raw", event_time="at", features=[hidden.alias("n")]))


@pytest.mark.one_backend("nothing is stored")
def test_a_count_of_rows_is_none_of_a_column(workspace: Workspace) -> None:
    at = [datetime(2026, 1, 1, tzinfo=UTC)] * 2
    dataset("raw").commit(pl.DataFrame({"k": ["a", "b"], "at": at, "Len": [77, 88]}))
    counted = FeatureView(
        "raw_at", entity=Entity("k"), source="raw", event_time="at", features=[pl.len().alias("n"), pl.col("Len")]
    )
    apply(FeatureService("s", [counted]))
    made = training_set(pl.DataFrame({"k": ["a", "b"], "t": at}), "s", time="t")
    assert made.frame.select("n", "Len").rows() == [(2, 77), (2, 88)]


@pytest.mark.one_backend("nothing is stored")
def test_the_guard_knows_what_looks_into_other_rows_of_a_column(workspace: Workspace) -> None:
    at = [datetime(2026, 1, 1, tzinfo=UTC)] * 2
    dataset("raw").commit(pl.DataFrame({"k": ["a", "b"], "at": at, "made": at, "id": [1, 2], "bad": [2, None]}))
    among = pl.col("id").is_in(pl.col("bad")).alias("n")
    view = FeatureView(
        "raw_at", entity=Entity("k"), source="raw", event_time="at", created_time="made", features=[among]
    )
    apply(FeatureService("s", [view]))
    made = training_set(pl.DataFrame({"k": ["a", "b"], "t": at}), "s", time="t")
    assert (made.reports[0].guard.possible, made.reports[0].guard.why) == (False, "`n` looks at other rows")


@pytest.mark.one_backend("nothing is stored")
def test_services_and_on_demand_views_are_held_to_what_they_stand_on() -> None:
    with pytest.raises(NotFoundError, match=r"No feature `weather_at:wnid`\. Nearest: wind"):
        view()["wnid"]
    with pytest.raises(NotFoundError, match=r"No key `weather_at:orgin`\. Nearest: origin"):
        view().keyed(orgin="dest")
    with pytest.raises(InvalidError, match="Give those of one view a prefix"):
        FeatureService("delays", [view(), view().keyed(origin="dest")])
    bad = OnDemandView("calendar", request={"at": "str"}, features={"hour": pl.col("at").dt.hour()})
    with pytest.raises(InvalidError, match=r"calendar\.features"):
        apply(bad)
    other = FeatureView(
        "other", entity=Entity("origin", {"origin": "bytes"}), source="weather", event_time="at", features=["temp"]
    )
    with pytest.raises(InvalidError, match="the same in every view"):
        apply(view(), other)


def test_a_plan_names_the_models_and_endpoints_that_keep_the_old_version() -> None:
    base = view()
    service = FeatureService("delays", [base])
    apply(service)

    class Constant:
        def predict(self, rows: Any) -> list[float]:
            return [1.0] * len(rows)

    model = register(
        {"a": 1}, "late", signature=Signature((Field("wind", "f64"),)), input_kind="records",
        features=get_definition("service", "delays"),
    )  # fmt: skip
    bind("late", "late@production", version=str(model))
    base.ttl_us = 1
    planned = plan(service)
    assert [[str(use) for use in change.uses] for change in planned.changes] == [
        ["late/1 (by delays/1, served by late)"], ["late/1 (by delays/1, served by late)"],
    ]  # fmt: skip
    assert get_definition("service", "delays").number == 1  # a plan changes nothing
    gone = plan(view(), retire=True).changes[-1]
    assert (gone.name, gone.action, len(gone.uses)) == ("delays", "retired", 1)


def test_what_is_retired_is_not_listed_and_comes_back_when_applied() -> None:
    other = FeatureView("temperature", entity=ORIGIN, source="weather", event_time="at", features=["temp"])
    apply(view(), other)
    assert [change.action for change in plan(view()).changes] == ["unchanged", "missing"]
    apply(view(), retire=True)
    assert [each.name for each in list_definitions()] == ["weather_at"]
    told = "`temperature`. It is retired; its last version is `temperature/1`."
    for find in (lambda: get_definition("view", "temperature"), lambda: find_definition("temperature"),
                 lambda: choose_features(["temperature:temp"])):  # fmt: skip
        with pytest.raises(NotFoundError, match=told):
            find()
    assert get_definition("view", "temperature/1").retired_at is not None
    assert choose_features(["temperature/1:temp"]).record.fields[0].name == "temp"
    with pytest.raises(NotFoundError) as missing:
        get_definition("view", "temperatur")
    assert missing.value.near == (), "what is retired is nobody's nearest"
    assert [change.action for change in apply(view(), other).changes] == ["unchanged", "described"]
    assert [each.name for each in list_definitions("view")] == ["temperature", "weather_at"]


def test_events_of_a_stream_are_known_by_its_fields() -> None:
    arrivals = Stream("arrivals", {"carrier": "str", "delay": "f64"})
    delays = FeatureView(
        "carrier_delay",
        entity=Entity("carrier"),
        source=arrivals,
        features=[agg.mean("delay", ["1h", "7d"]), agg.count(windows="1h")],
    )
    apply(delays)
    record = get_definition("view", "carrier_delay").record
    assert isinstance(record, ViewRecord)
    assert [(field.name, field.dtype) for field in record.fields] == [
        ("delay_mean_1h", "f64"), ("delay_mean_7d", "f64"), ("count_1h", "i64"),
    ]  # fmt: skip
    assert (record.event_time, record.created_time, record.event_id) == ("event_time", "received_at", "event_id")


def test_appliers_at_one_instant_agree(workspace: Workspace) -> None:
    def one(hours: int) -> None:
        with using(workspace):
            apply(view(ttl=f"{hours}h"), workspace=workspace)

    at_once(*[partial(one, hours) for hours in (1, 2, 3, 4)])
    assert get_definition("view", "weather_at").number == 4


def test_a_missing_definition_names_the_nearest() -> None:
    apply(view())
    with pytest.raises(NotFoundError, match=r"No feature view `wether_at`\. Nearest: weather_at"):
        get_definition("view", "wether_at")
    with pytest.raises(NotFoundError, match="No feature view `weather_at/7`"):
        get_definition("view", "weather_at/7")


def test_features_on_demand_without_names_are_refused_by_what_was_given() -> None:
    listed: Any = ["x"]
    with pytest.raises(WrongTypeError, match=r"asked.features: `\['x'\]` is a list, expected features by name"):
        OnDemandView("asked", request={"x": "f64"}, features=listed)
