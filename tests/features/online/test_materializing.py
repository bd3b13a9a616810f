"""The online store holds what the training set gives at the same instant; newer events stay; nothing is missing meanwhile."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.features import (
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    agg,
    apply,
    choose_features,
    describe,
    get_definition,
    store_training_set,
    training_set,
)
from mainspring.features.online.materializing import materialize
from mainspring.features.online.pushing import push
from mainspring.features.online.reader import FeatureReader
from mainspring.features.online.watermark import watermark_of
from mainspring.features.parity import VectorLog, verify
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace

START = datetime(2013, 1, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


WEATHER = pl.DataFrame(
    {"origin": ["EWR", "EWR", "JFK"], "at": [at(0), at(2), at(0)], "wind": [5, None, 7], "temp": [30.0, 40.0, 50.0]}
)


def view(**changed: Any) -> FeatureView:
    given: dict[str, Any] = {
        "entity": Entity("origin"), "source": "weather", "event_time": "at", "ttl": "2h",
        "features": ["wind", (pl.col("temp") < 32).alias("is_freezing")],
    }  # fmt: skip
    return FeatureView("weather_at", **given | changed)


def late(base: FeatureView) -> FeatureService:
    hour = OnDemandView(
        "calendar", request={"leaves_at": "datetime[us, UTC]"}, inputs=[base["wind"]],
        features={"hour": pl.col("leaves_at").dt.hour(), "windy_hour": pl.col("wind") * pl.col("leaves_at").dt.hour()},
    )  # fmt: skip
    return FeatureService("late", [base, base["wind"].keyed(origin="dest").prefixed("dest_"), hour])


def test_keys_of_128_bits_go_the_whole_way(workspace: Workspace) -> None:
    keys = [1, 2**64 + 1, 2**127, 2**128 - 1]
    typed, moments = pl.Series("k", keys, pl.UInt128), [at(0)] * 4
    dataset("large").commit(pl.DataFrame({"k": typed, "at": moments, "v": [0, 1, 2, 3]}))
    entity = Entity("large", {"k": int})
    large = FeatureView("large", entity=entity, source="large", event_time="at", features=["v"])
    sums = FeatureView("sums", entity=entity, source="large", event_time="at", features=[agg.sum("v", "9999d")])
    apply(FeatureService("large", [large, sums]))
    rows, wanted = pl.DataFrame({"k": typed, "when": [at(1)] * 4}), [[number, number] for number in range(4)]
    assert [list(row[2:]) for row in training_set(rows, "large", time="when").frame.rows()] == wanted
    stored = store_training_set(rows, "large", time="when", to="set", partitions=2).version.to_polars()
    assert [list(row[2:]) for row in stored.rows()] == wanted
    materialize("large")
    materialize("sums")
    reader = FeatureReader(get_definition("service", "large"), workspace)
    log, asked = VectorLog(workspace, share=1), [{"k": key} for key in keys]
    assert [vector.values for vector in log.read(reader, asked, list("abcd"))] == wanted
    assert (verify("large").verified, verify("large").mismatched) == (4, 0)
    push("large", pl.DataFrame({"k": typed[2:3], "at": [at(2)], "v": [7]}))
    assert reader.read(asked[2:3])[0].values == [7, 2]
    with pytest.raises(WrongTypeError, match="a key of type int"):
        reader.read([{"k": 2**128}])


def test_a_vector_says_what_the_training_set_says(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    apply(late(view()))
    done = materialize("weather_at", until=at(1))
    assert (done.stored, done.newest_us, done.source) == (2, us(at(0)), "weather/1")
    reader = FeatureReader(get_definition("service", "late"), workspace)
    request = {"origin": "EWR", "dest": "JFK", "leaves_at": at(1)}
    (vector,) = reader.read([request], at_us=us(at(1)))
    assert dict(zip(reader.names, vector.values, strict=True)) == {
        "wind": 5, "is_freezing": True, "dest_wind": 7, "hour": 1, "windy_hour": 5,
    }  # fmt: skip
    assert vector.statuses == ["PRESENT"] * 5
    (text,) = reader.read([request | {"leaves_at": "2013-01-01T01:00:00Z"}], at_us=us(at(1)))
    assert text == vector

    materialize("weather_at", until=at(3))
    known, unknown, old = reader.read(
        [request, request | {"origin": "LGA"}, request | {"origin": "JFK"}], at_us=us(at(3))
    )
    assert (known.values[:2], known.statuses[:2]) == ([None, False], ["NULL_VALUE", "PRESENT"])
    assert unknown.statuses[:3] == ["NOT_FOUND", "NOT_FOUND", "OUTSIDE_MAX_AGE"]
    assert (old.values[:2], old.event_us[:2]) == ([None, None], [us(at(0))] * 2)


@pytest.mark.parametrize("seed", range(3))
def test_any_history_is_served_as_the_join_gives_it(workspace: Workspace, seed: int) -> None:
    """Rows come in parts, are materialized in between, in full or not, and read at instants between and on the rows'."""
    chance = random.Random(seed)
    base = view(
        created_time="known", ttl=f"{chance.randint(1, 6)}h", entity=Entity("key", {"origin": "str", "n": "int"})
    )
    service = FeatureService("late", [base])
    rows = [
        {"origin": chance.choice("ab"), "n": chance.randint(0, 1), "at": at(moment),
         "known": at(moment + chance.choice((0, 0, 1, 5))), "wind": chance.choice((None, 1, 2)),
         "temp": chance.uniform(0, 60)}
        for moment in sorted(chance.randint(0, 20) for _ in range(60))
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema_overrides={"wind": pl.Int64})
    dataset("weather").commit(frame[:20])
    apply(service)
    reader = FeatureReader(get_definition("service", "late"), workspace)
    entities = [{"origin": origin, "n": n} for origin in "abc" for n in (0, 1, 2)]
    for known, until in ((20, 5), (40, 9), (60, 14), (60, 30)):
        if known > 20:
            dataset("weather").append(frame[known - 20 : known])
        materialize("weather_at", until=at(until), full=chance.random() < 0.3)
        asked = pl.DataFrame(entities).with_columns(when=pl.lit(at(until)))
        wanted = training_set(asked, "late", time="when").frame.select(reader.names).rows()
        assert [tuple(vector.values) for vector in reader.read(entities, at_us=us(at(until)))] == wanted


def test_an_older_event_never_replaces_a_newer_one(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    apply(late(view()))
    assert push("weather_at", pl.DataFrame({"origin": ["EWR"], "at": [at(4)], "wind": [9], "temp": [1.0]})) == 1
    assert push("weather_at", pl.DataFrame({"origin": ["EWR"], "at": [at(3)], "wind": [8], "temp": [1.0]})) == 0
    materialize("weather_at", until=at(5))
    reader = FeatureReader(get_definition("service", "late"), workspace)
    request = {"origin": "EWR", "dest": "EWR", "leaves_at": at(5)}
    assert reader.read([request], at_us=us(at(5)))[0].values[:3] == [9, True, 9]
    done = materialize("weather_at", until=at(5), full=True)  # the source has no such row
    assert (done.removed, reader.read([request], at_us=us(at(4)))[0].values[:2]) == (0, [None, False])
    dataset("weather").commit(WEATHER[:2])
    assert materialize("weather_at", until=at(5), full=True).removed == 1


@pytest.mark.one_backend("nothing is stored")
def test_rows_that_a_definition_can_not_be_computed_of_are_refused(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    apply(late(view()))
    with pytest.raises(InvalidError, match=r'weather_at\.features.*unable to find column "temp"'):
        push("weather_at", WEATHER.drop("temp"))


@pytest.mark.one_backend("nothing is stored")
def test_a_pushed_value_that_does_not_fit_its_column_is_refused(workspace: Workspace) -> None:
    row: dict[str, Any] = {
        "origin": "EWR",
        "at": at(1),
        "n": 1,
        "text": "a",
        "raw": b"a",
        "day": at(0).date(),
        "is": True,
    }
    row |= {"tags": ["x"], "deep": {"n": 1, "at": [at(1)]}}
    dataset("kinds").commit(pl.DataFrame([row]))
    apply(
        FeatureView(
            "kinds", entity=Entity("origin"), source="kinds", event_time="at", features=["n", "text", "raw", "day"]
        )
    )
    wrong: list[tuple[str, Any]] = [
        ("n", 5.7), ("n", True), ("n", "12"), ("n", 2**63), ("text", 5), ("raw", "x"), ("day", at(1.5)), ("is", 1),
        ("at", 1_700_000_000), ("day", 5), ("tags", "abc"), ("tags", {"a": 1}),
        ("deep", {"n": 1, "at": [1_700_000_000]}), ("deep", {"m": 1, "at": [at(1)]}),
    ]  # fmt: skip
    for name, value in wrong:
        for given in (pl.DataFrame([row | {name: value}]), row | {name: value}, [row, row | {name: value}]):
            with pytest.raises(WrongTypeError, match=rf"^{name}[.\w\[\]]*: .*expected a value of type"):
                push("kinds", given)
    assert (
        push(
            "kinds",
            pl.DataFrame([row]).with_columns(pl.col("n").cast(pl.Int8), at=pl.col("at").dt.cast_time_unit("ns")),
        )
        == 1
    )


@pytest.mark.one_backend("nothing is stored")
@pytest.mark.one_backend("what is given is looked at before anything is read")
def test_what_is_given_is_taken_or_named(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    sums = FeatureView(
        "sums", entity=Entity("origin"), source="weather", event_time="at", features=[agg.sum("wind", "9h")]
    )
    with pytest.raises(WrongTypeError, match="Pass them one by one"):
        apply([view()])
    apply(late(view()), sums)
    until: Any = "2020"
    with pytest.raises(WrongTypeError, match="until: `2020` is a str, expected a datetime with a time zone"):
        materialize("weather_at", until=until)
    with pytest.raises(InvalidError, match=r"until: `2020-01-01T00:00:00`.*tzinfo=UTC"):
        materialize("weather_at", until=datetime(2020, 1, 1))
    row = {"origin": "LGA", "at": at(0), "wind": 3, "temp": 1}
    assert (push("weather_at", row), push("weather_at", [row, {**row, "origin": "SFO", "wind": None}])) == (1, 2)
    with pytest.raises(WrongTypeError, match=r"wind: `\[1\]` is a list"):
        push("weather_at", [row, {**row, "wind": [1]}])
    assert push("weather_at", []) == 0
    for given in (row, [1]):
        with pytest.raises(InvalidError, match="Aggregates are fed by a stream"):
            push("sums", given)


@pytest.mark.one_backend("what is given is looked at before anything is read")
def test_what_is_no_service_or_view_is_named(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    base: Any = view()
    service = late(base)
    apply(service)
    of_view, of_service = get_definition("view", "weather_at"), get_definition("service", "late")
    rows, kind = WEATHER.rename({"at": "leaves_at"}), "vew"
    for given in (base, 5):
        for act in (
            lambda given: training_set(rows, given, time="leaves_at"),
            lambda given: store_training_set(rows.lazy(), given, time="leaves_at", to="set"),
            lambda given: FeatureReader(given, workspace), lambda given: verify(given), lambda given: describe(given),
            lambda given: get_definition("service", given), lambda given: watermark_of(given),
        ):  # fmt: skip
            with pytest.raises(WrongTypeError, match=r"expected a (name|feature service)"):
                act(given)
    for refuse in (
        lambda: training_set(rows, of_view, time="leaves_at"), lambda: FeatureReader(of_view, workspace),
        lambda: verify(of_view),
    ):  # fmt: skip
        with pytest.raises(InvalidError, match="`weather_at/1` is not a feature service"):
            refuse()
    with pytest.raises(InvalidError, match="`late/1` is not a feature view"):
        watermark_of(of_service)
    with pytest.raises(InvalidError, match="kind: `vew` is not one of view, on_demand, service"):
        get_definition(kind, "weather_at")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(InvalidError, match="features: `\\[\\]` is not at least one name"):
        choose_features([])
    FeatureReader(of_service, workspace)
    assert verify(of_service) == msgspec.structs.replace(verify("late/1"), service="late/1")


@pytest.mark.one_backend("keys are brought to one form in memory")
@pytest.mark.parametrize("kind", [str, bytes])
def test_keys_of_uuids_are_pushed_in_any_form(workspace: Workspace, kind: type) -> None:
    ids = [UUID(int=number) for number in range(4)]
    known = [str(each) if kind is str else each.bytes for each in ids]
    dataset("tails").commit(pl.DataFrame({"tail": known[:1], "raw": [b"a"], "at": [at(0)], "n": [0]}))
    tails = FeatureView("tails", entity=Entity("tail", {"tail": UUID}), source="tails", event_time="at", features=["n"])
    apply(FeatureService("tails", [tails]))
    row = {"raw": bytearray(b"b"), "at": at(1)}
    push("tails", [{**row, "tail": ids[1], "n": 1}, {**row, "tail": known[2], "n": 2}, {**row, "tail": ids[0], "n": 5}])
    objects = pl.Series("tail", [ids[3]], dtype=pl.Object)
    push("tails", pl.DataFrame([objects, pl.Series("at", [at(1)]), pl.Series("n", [3])]))
    read = FeatureReader(get_definition("service", "tails"), workspace).read([{"tail": each} for each in ids])
    assert [vector.values for vector in read] == [[5], [1], [2], [3]]
    bad: Any = "nope" if kind is str else b"nope"
    with pytest.raises(WrongTypeError, match=rf"tail: `{bad if kind is str else bad.hex()}` is a str"):
        push("tails", [{**row, "tail": ids[1], "n": 1}, {**row, "tail": bad, "n": 1}])
    with pytest.raises(InvalidError, match="tail: `1 null` is not a key in every row"):
        push("tails", [{**row, "tail": ids[1], "n": 1}, {**row, "tail": None, "n": 1}])
    for alone in ([{**row, "tail": None, "n": 1}], [{**row, "tail": None, "n": 1}] * 3):
        with pytest.raises(InvalidError, match=r"tail: `.* nulls?` is not a key in every row"):
            push("tails", alone)


@pytest.mark.parametrize("features", [["wind"], [agg.sum("wind", "9h")]])
def test_rows_without_a_key_are_left_out_and_counted(workspace: Workspace, features: list[Any]) -> None:
    """Also one that is to come: it holds up no increment."""
    entity = Entity("route", {"origin": str, "dest": str})
    rows = pl.DataFrame(
        {"origin": ["EWR", None, "EWR", None], "dest": ["JFK", "JFK", None, "JFK"],
         "at": [at(0), at(0), at(0), at(10**6)], "wind": [1, 2, 3, 4]}
    )  # fmt: skip
    dataset("routes").commit(rows)
    apply(
        FeatureService(
            "routes", [FeatureView("routes", entity=entity, source="routes", event_time="at", features=features)]
        )
    )
    done = materialize("routes")
    assert (done.rows, done.stored, done.keyless) == (1, 1, 3)
    mark = watermark_of("routes")
    assert mark is not None
    assert mark.ahead == 0
    dataset("routes").append(rows[:2].with_columns(origin=pl.Series(["LGA", None]), at=pl.lit(at(1))))
    done = materialize("routes")
    assert (done.rows, done.stored, done.keyless) == (1, 1, 1)
    asked = [{"origin": "EWR", "dest": "JFK"}, {"origin": "LGA", "dest": "JFK"}]
    reader, now = FeatureReader(get_definition("service", "routes"), workspace), done.until_us
    assert now is not None
    VectorLog(workspace, share=1).read(reader, asked, ["a", "b"], at_us=now)
    report = verify("routes")
    assert (report.verified, report.mismatches) == (2, ())


def test_expressions_over_other_rows_are_not_pushed(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    apply(view(features=[(pl.col("temp") - pl.col("temp").mean()).alias("above")]))
    with pytest.raises(InvalidError, match=r"weather_at\.above: .* is not an expression of single rows"):
        push("weather_at", WEATHER[:1])


def test_versions_of_a_view_do_not_meet(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    base = view()
    apply(late(base))
    materialize("weather_at", until=at(1))
    old = FeatureReader(get_definition("service", "late"), workspace)
    base.ttl_us = 1
    apply(late(base))
    new = FeatureReader(get_definition("service", "late"), workspace)
    request = {"origin": "EWR", "dest": "JFK", "leaves_at": at(1)}
    assert old.read([request], at_us=us(at(0)))[0].values[0] == 5
    assert new.read([request], at_us=us(at(0)))[0].statuses[0] == "NOT_FOUND"


def test_nothing_is_missing_while_it_is_written(workspace: Workspace) -> None:
    many = pl.DataFrame(
        {"origin": [str(n) for n in range(300)], "at": [at(0)] * 300, "wind": range(300), "temp": [1.0] * 300}
    )
    dataset("weather").commit(many)
    apply(FeatureService("late", [view()]))
    materialize("weather_at", until=at(1))
    reader = FeatureReader(get_definition("service", "late"), workspace)
    entities = [{"origin": str(n)} for n in range(300)]

    def write(full: bool) -> None:
        for _ in range(3):
            materialize("weather_at", until=at(1), full=full, workspace=workspace)

    def read() -> None:
        for _ in range(20):
            assert [vector.values[0] for vector in reader.read(entities, at_us=us(at(1)))] == list(range(300))

    at_once(partial(write, full=False), partial(write, full=True), read)


def test_what_a_request_lacks_is_named(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    apply(late(view()))
    reader = FeatureReader(get_definition("service", "late"), workspace)
    with pytest.raises(InvalidError, match="dest: `null` is not a key of type str"):
        reader.read([{"origin": "EWR", "leaves_at": at(0)}])
    with pytest.raises(WrongTypeError, match="origin: `7` is an int, expected a key of type str"):
        reader.read([{"origin": 7, "dest": "EWR", "leaves_at": at(0)}])
    with pytest.raises(WrongTypeError, match="leaves_at"):
        reader.read([{"origin": "EWR", "dest": "EWR", "leaves_at": "soon"}])
    assert reader.read([]) == []


def test_freshness_is_recorded_and_never_goes_back(workspace: Workspace) -> None:
    dataset("weather").commit(WEATHER)
    apply(late(view()))
    assert watermark_of("weather_at") is None
    assert materialize("weather_at", until=at(3)).newest_us == us(at(2))
    again = materialize("weather_at", until=at(1))
    found = watermark_of("weather_at")
    assert found is not None
    assert (found.until_us, found.reaches_us, found.version) == (us(at(3)), us(at(3)), "weather/1")
    assert (again.until_us, again.newest_us) == (us(at(3)), None)
