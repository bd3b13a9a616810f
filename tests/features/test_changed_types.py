"""A version of a view has its types for ever: a source of others is refused everywhere, or cast everywhere alike."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.ingestion import ingest_stream
from mainspring.errors import InvalidError, MainspringError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    Materialized,
    Stream,
    VectorLog,
    agg,
    apply,
    feed,
    fields_of,
    get_definition,
    iter_materialized,
    materialize,
    plan,
    push,
    store_training_set,
    training_set,
    verify,
)
from mainspring.features.parity import judging, verifying
from mainspring.streams import send
from mainspring.workspace import Workspace
from tests.features.conftest import Ticks

here = pytest.mark.one_backend("types are checked before anything is stored")
HOUR = timedelta(hours=1)
AGGREGATES = (agg.sum("x", "1h"), agg.last("x", "1h"))


def source(ticks: Ticks, x: pl.Series) -> pl.DataFrame:
    now = clock.from_us(ticks.now)
    return pl.DataFrame({"k": [*"abcdefgh"[: len(x)]], "at": [now - timedelta(minutes=5)] * len(x), "x": x})


def view(name: str, *features: Any, of: str = "raw", **changed: Any) -> FeatureView:
    return FeatureView(name, entity=Entity("k"), source=of, event_time="at", features=features or ["x"], **changed)


def asked(ticks: Ticks, count: int = 2) -> pl.DataFrame:
    return pl.DataFrame({"k": [*"abcdefgh"[:count]], "t": [clock.from_us(ticks.now)] * count})


def read(service: str, workspace: Workspace, ticks: Ticks, count: int = 2) -> list[list[Any]]:
    reader = FeatureReader(get_definition("service", service), workspace)
    return [list(each.values) for each in reader.read([{"k": key} for key in "abcdefgh"[:count]], at_us=ticks.now)]


CHANGES = {
    "to floats": (pl.Series([1, 2]), pl.Series([1.5, 2.9])),
    "to text": (pl.Series([1, 2]), pl.Series(["1", "q"])),
    "wider": (pl.Series([1, 2], dtype=pl.Int8), pl.Series([300, -129])),
    "finer": (pl.Series([timedelta(1)] * 2, dtype=pl.Duration("ms")), pl.Series([timedelta(microseconds=1)] * 2)),
}


@here
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("features", [("x",), (pl.col("x").alias("y"),), AGGREGATES])
def test_a_source_of_another_type_is_refused_wherever_values_are_made(
    workspace: Workspace, ticks: Ticks, change: str, features: tuple[Any, ...]
) -> None:
    before, after = CHANGES[change]
    first = dataset("raw").commit(source(ticks, before))
    apply(FeatureService("s", [view("v", *features)]))
    materialize("v")
    served = read("s", workspace, ticks)
    reader = FeatureReader(get_definition("service", "s"), workspace)
    VectorLog(workspace, share=1).read(reader, [{"k": "a"}], ["a/0"], at_us=ticks.now)
    changed = dataset("raw").commit(source(ticks, after))
    told = re.escape(f"`{dict(changed.schema)['x']}` is not {dict(first.schema)['x']}") + ".*Apply the view again"
    attempts: list[Any] = [
        lambda: materialize("v"), lambda: materialize("v", full=True),
        lambda: training_set(asked(ticks), "s", time="t"), lambda: store_training_set(asked(ticks), "s", time="t", to="o"),
    ]  # fmt: skip
    if features is not AGGREGATES:
        attempts.append(lambda: push("v", source(ticks, after)))
    for attempt in attempts:
        with pytest.raises(InvalidError, match=told):
            attempt()
    assert read("s", workspace, ticks) == served
    assert training_set(asked(ticks), "s", time="t", sources={"raw": first}).frame.height == 2
    assert verify("s").passed
    if features is AGGREGATES and change == "to text":
        return  # texts have no sum
    apply(FeatureService("s", [view("v", *features)]))
    assert materialize(get_definition("view", "v")).stored == 2
    assert read("s", workspace, ticks) == [
        list(row[2:]) for row in training_set(asked(ticks), "s", time="t").frame.rows()
    ]


@here
@pytest.mark.parametrize("features", [("x",), AGGREGATES])
def test_a_narrower_column_is_the_same_feature(workspace: Workspace, ticks: Ticks, features: tuple[Any, ...]) -> None:
    dataset("raw").commit(source(ticks, pl.Series([1, 2])))
    apply(FeatureService("s", [view("v", *features)]))
    dataset("raw").commit(source(ticks, pl.Series([3, 4], dtype=pl.Int16)))
    assert materialize("v").stored == 2
    found = training_set(asked(ticks), "s", time="t").frame
    assert found.schema[found.columns[-1]] == pl.Int64()
    assert (
        read("s", workspace, ticks) == [list(row[2:]) for row in found.rows()] == [[n] * len(features) for n in (3, 4)]
    )
    if len(features) == 1:
        assert push("v", {"k": "a", "at": clock.from_us(ticks.now), "x": 9}) == 1
        assert read("s", workspace, ticks, 1) == [[9]]


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LISTS: dict[str, tuple[Any, Any, list[Any]]] = {
    "coarser times": (pl.List(pl.Datetime("us", "UTC")), pl.List(pl.Datetime("ms", "UTC")), [[NOON], []]),
    "times of another zone": (pl.List(pl.Datetime("us", "UTC")), pl.List(pl.Datetime("us", "Europe/Berlin")), [[NOON], None]),
    "coarser durations": (pl.List(pl.Duration("us")), pl.List(pl.Duration("ms")), [[timedelta(1), None], []]),
    "empty lists alone": (pl.List(pl.Int64), pl.List(pl.Null), [[], []]),
    "lists of nulls": (pl.List(pl.String), pl.List(pl.Null), [[None], []]),
    "lists of empty lists": (pl.List(pl.List(pl.Int8)), pl.List(pl.List(pl.Null)), [[[]], [[None]]]),
    "structs": (pl.Struct({"n": pl.Int64, "l": pl.List(pl.Int8)}), pl.Struct({"n": pl.Int8, "l": pl.List(pl.Null)}),
                [{"n": 1, "l": []}, {"n": None, "l": None}]),
}  # fmt: skip


@here
@pytest.mark.parametrize("case", LISTS)
def test_lists_of_what_is_held_are_held_on_every_path(workspace: Workspace, ticks: Ticks, case: str) -> None:
    declared, given, values = LISTS[case]
    dataset("raw").commit(source(ticks, pl.Series([None, None], dtype=declared)))
    apply(FeatureService("s", [view("v")]))
    dataset("raw").commit(source(ticks, pl.Series(values, dtype=given)))
    found = training_set(asked(ticks), "s", time="t").frame
    stored = store_training_set(asked(ticks), "s", time="t", to="o").version.to_polars()
    assert found.schema["x"] == stored.schema["x"] == declared
    assert found["x"].to_list() == stored["x"].to_list() == values
    assert materialize("v").stored == 2
    assert read("s", workspace, ticks) == [[each] for each in values]
    ticks.now += 600_000_000
    turned = source(ticks, pl.Series(values[::-1], dtype=given))
    assert push("v", turned) == 2
    assert read("s", workspace, ticks) == [[each] for each in reversed(values)]


@here
def test_one_that_fits_no_more_holds_up_no_other(workspace: Workspace, ticks: Ticks) -> None:
    for name in ("other", "raw"):
        dataset(name).commit(source(ticks, pl.Series([1, 2])))
    apply(FeatureService("old", [view("v")]), FeatureService("beside", [view("w", of="other")]))
    materialize("v")
    dataset("raw").commit(source(ticks, pl.Series([1.5, 2.5])))
    done: list[Materialized] = []
    with pytest.raises(InvalidError, match=r"v\.x: `f64` is not i64"):
        done.extend(iter_materialized())
    assert [each.view for each in done] == ["w/1"]
    apply(FeatureService("new", [view("v")]))  # `old` stands on v/1 still
    with pytest.raises(InvalidError, match=r"v\.x: `f64` is not i64"):
        materialize("v")
    with pytest.raises(InvalidError, match=r"v\.x: `f64` is not i64"):
        push("v", {"k": "a", "at": clock.from_us(ticks.now), "x": 7.9})
    assert (read("old", workspace, ticks, 1), read("new", workspace, ticks)) == ([[1]], [[7.9], [2.5]])


@here
def test_several_that_can_not_be_materialized_are_counted(
    workspace: Workspace, ticks: Ticks, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "other", "raw"):
        dataset(name).commit(source(ticks, pl.Series([1, 2])))
        apply(view(f"v_{name}", of=name))
    for name in ("one", "other"):
        dataset(name).commit(source(ticks, pl.Series([1.5, 2.5])))
        with pytest.raises(InvalidError, match=r"v_one\.x"):
            list(iter_materialized())
        assert ("2 views were not materialized" in caplog.text) == (name == "other")


@here
def test_a_service_that_can_not_be_verified_ends_nothing(
    workspace: Workspace, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        dataset(name).commit(source(ticks, pl.Series([1, 2])))
        apply(FeatureService(name, [view(f"v_{name}", of=name)]))
        materialize(f"v_{name}")
        reader = FeatureReader(get_definition("service", name), workspace)
        VectorLog(workspace, share=1).read(reader, [{"k": "a"}], [f"{name}/0"], at_us=ticks.now)

    def failing(reads: Any, number: int, part: Any, sources: Any) -> Any:
        if part.view == "v_a":
            raise TypeError("nobody thought of this")
        return judging.judged(reads, number, part, sources)

    monkeypatch.setattr(verifying, "judged", failing)
    report = verify()
    assert (report.verified, report.passed) == (1, False)
    assert report.failed == {"a/1": "TypeError: nobody thought of this"}
    with pytest.raises(TypeError):
        verify("a")


def seeds(count: int) -> list[Any]:
    """So many, and a hundred for `make soak`."""
    return [*range(count), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(count, 100))]


TYPES = (pl.Int8, pl.Int32, pl.Int64, pl.UInt16, pl.Float32, pl.Float64, pl.String, pl.Null)


@here
@pytest.mark.parametrize("seed", seeds(6))
def test_whatever_types_a_history_has_what_is_served_is_what_is_trained(
    workspace: Workspace, ticks: Ticks, seed: int
) -> None:
    chance, refused, logged = random.Random(seed), 0, 0

    def made() -> pl.DataFrame:
        dtype = chance.choice(TYPES)
        numbers = pl.Series([chance.randint(0, 100) for _ in range(4)])
        return source(ticks, numbers.cast(dtype) if dtype != pl.Null else pl.Series([None] * 4))

    def declared() -> FeatureService:
        return FeatureService("s", [view("v"), view("doubled", pl.col("x").alias("same")), view("w", *AGGREGATES)])

    dataset("raw").commit(source(ticks, pl.Series([1, 2, 3, 4])))
    apply(declared())
    log = VectorLog(workspace, share=1)
    for step in range(12):
        ticks.now += chance.choice((60, 600)) * 1_000_000
        if chance.random() < 0.6:
            dataset("raw").commit(made())
        if chance.random() < 0.3:
            refused += isinstance(outcome(lambda: apply(declared())), MainspringError)
        outcomes = [outcome(lambda name=name: materialize(name)) for name in ("v", "doubled", "w")]
        made_set = outcome(lambda: training_set(asked(ticks, 4), get_definition("service", "s"), time="t"))
        reader = FeatureReader(get_definition("service", "s"), workspace)
        vectors = log.read(reader, [{"k": key} for key in "abcd"], [f"{step}/{n}" for n in range(4)], at_us=ticks.now)
        logged += 4
        failed = [each for each in outcomes if isinstance(each, MainspringError)]
        assert isinstance(made_set, MainspringError) == bool(failed), (outcomes, made_set)
        refused += bool(failed)
        if not failed:
            assert [tuple(each.values) for each in vectors] == [row[2:] for row in made_set.frame.rows()]
    report = verify()
    assert (report.mismatches, report.failed, report.vectors, report.verified) == ((), {}, logged, logged)
    assert refused


@here
def test_a_pushed_row_without_a_column_says_which(workspace: Workspace, ticks: Ticks) -> None:
    dataset("raw").commit(source(ticks, pl.Series([1])))
    apply(FeatureService("s", [view("v")]))
    with pytest.raises(InvalidError, match=r"v\.at: `k, x` is not rows with the column `at` of `raw`"):
        push("v", {"k": "a", "x": 1})


def counts(dtype: str, **changed: Any) -> FeatureView:
    stream = Stream("clicks", {"k": "str", "n": dtype})
    return FeatureView("counted", entity=Entity("k"), source=stream, **{"features": ["n"], **changed})


def test_a_field_of_a_stream_keeps_its_type_where_something_has_it(workspace: Workspace) -> None:
    apply(FeatureService("s", [counts("i64")]))
    apply(FeatureService("s", [counts("i32")]))  # nothing has it yet
    beside = FeatureView(
        "beside", entity=Entity("k"), source=Stream("clicks", {"n": "f64", "k": "str"}), features=["n"]
    )
    with pytest.raises(InvalidError, match=r"stream `clicks`\.n: `f64` is not i32, as in counted/2\. Give what is"):
        apply(beside)
    send("clicks", [{"k": "a", "n": 3}])
    ingest_stream("clicks", fields_of("clicks"))
    with pytest.raises(InvalidError, match=r"stream `clicks`\.n: `f64` is not i32, as in clicks/1"):
        plan(FeatureService("s", [counts("f64")]), retire=True)
    assert [each.view for each in feed()] == ["counted/2"]
    wider = Stream("clicks", {"k": "str", "n": "i32", "m": "f64"})
    apply(FeatureView("counted", entity=Entity("k"), source=wider, features=["n", "m"]))


def test_a_dataset_that_got_other_types_than_the_view_is_not_fed_from(workspace: Workspace) -> None:
    apply(FeatureService("s", [counts("f64")]))
    send("clicks", [{"k": "a", "n": 3}])
    ingest_stream("clicks", {"k": "str", "n": "i64"})
    with pytest.raises(InvalidError, match=r"counted\.n: `i64` is not f64, its type in this version.*clicks/1"):
        feed()
    with pytest.raises(InvalidError, match=r"counted\.n: `i64` is not f64"):
        materialize("counted")


@here
@pytest.mark.parametrize("seed", seeds(4))
def test_whatever_types_a_stream_is_declared_with_what_is_served_is_what_is_trained(
    workspace: Workspace, ticks: Ticks, seed: int
) -> None:
    chance, refused, number = random.Random(seed), 0, 0
    apply(FeatureService("s", [counts("i64"), counts_of_windows("i64")]))
    log = VectorLog(workspace, share=1)
    for step in range(10):
        ticks.now += 60_000_000
        if chance.random() < 0.5:
            dtype = chance.choice(("i64", "f64", "str", "i32"))
            applied = outcome(lambda dtype=dtype: apply(FeatureService("s", [counts(dtype), counts_of_windows(dtype)])))
            refused += isinstance(applied, MainspringError)
        value = chance.choice((1, 2.5, "3", None))
        send("clicks", [{"k": chance.choice("ab"), "n": value}])
        is_whole = chance.random() < 0.7
        if is_whole:
            ingest_stream("clicks", fields_of("clicks"))
        feed()
        reader = FeatureReader(get_definition("service", "s"), workspace)
        at_us = ticks.now + 1_000_000
        vectors = log.read(reader, [{"k": "a"}, {"k": "b"}], [f"{step}/0", f"{step}/1"], at_us=at_us)
        number += 2
        if is_whole:
            rows = pl.DataFrame({"k": ["a", "b"], "t": [clock.from_us(at_us)] * 2})
            made = training_set(rows, "s", time="t").frame
            assert [tuple(each.values) for each in vectors] == [row[2:] for row in made.rows()]
    ingest_stream("clicks", fields_of("clicks"))
    report = verify()
    assert (report.mismatches, report.verified) == ((), report.vectors)
    # A version of types that the dataset never had, as it was made later, can't be judged, and says so.
    assert all("its type in this version of the view" in each for each in report.failed.values())
    assert report.verified == number or report.failed


def counts_of_windows(dtype: str) -> FeatureView:
    stream = Stream("clicks", {"k": "str", "n": dtype})
    return FeatureView(
        "windows", entity=Entity("k"), source=stream, features=[agg.last("n", "1h"), agg.count("n", "1h")]
    )


def outcome(act: Any) -> Any:
    """What is given, or what a user is told; anything else is a defect."""
    try:
        return act()
    except MainspringError as error:
        return error
