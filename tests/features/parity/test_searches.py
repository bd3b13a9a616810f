"""A search for the cause of what a function of Python gave ends in a report, whatever its values are and what it refuses."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.ingestion import ingest_stream
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    Stream,
    VectorLog,
    apply,
    feed,
    get_definition,
    materialize,
    push,
    verify,
)
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Python
from mainspring.features.parity.report import Cause
from mainspring.streams import send
from mainspring.workspace import Workspace
from tests.features.conftest import Module

pytestmark = pytest.mark.one_backend("what is computed of values, whatever store they come from")
ROWS = 12
OWN = """
    from datetime import datetime, timedelta, UTC

    import polars as pl

    FEATURES = ["list", "array", "struct", "deep"]

    def shaped(rows):
        x, y = pl.col("x") / 3, pl.col("y") / 7
        lists = pl.concat_list(x, y)
        return rows.with_columns(
            list=lists, array=lists.list.to_array(2), struct=pl.struct(a=x, b=lists, c=pl.lit("c")),
            deep=pl.concat_list(pl.struct(l=lists), pl.struct(l=pl.concat_list(y))),
        )

    def asked(frame):
        return shaped(frame).select(FEATURES)

    def strict(rows):
        frame = rows.collect(engine="in-memory") if isinstance(rows, pl.LazyFrame) else rows
        times = {datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(12)}
        if frame.height not in (0, 12) or not set(frame["at"]) <= times or (frame["x"] != frame["x"].round(3)).any():
            raise ValueError("not what it was made for")
        return frame.with_columns(share=pl.col("x") / 3)

    def strict_of_a_request(frame):
        return strict(frame).select("share")
"""
FEATURES = ["list", "array", "struct", "deep"]
TYPES = {"u": "i64", "x": "f64", "y": "f64"}
Skew = Callable[[Any], Any]


def rows_of(chance: random.Random) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "u": u, "at": datetime(2026, 1, 1, u, tzinfo=UTC), "x": round(chance.gauss(0, 50), 3),
            "y": chance.gauss(0, 50),
        } for u in range(ROWS)
    )  # fmt: skip


@pytest.fixture
def skewed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    known = Functions.load

    @contextmanager
    def during(column: str) -> Iterator[None]:
        """Functions give what they give of a column, or give a column, that is more by one."""

        def load(functions: Functions, recorded: Python) -> Skew:
            function, more = known(functions, recorded), pl.col(column) + 1
            if column == "x":
                return lambda rows: function(rows.with_columns(more))
            return lambda rows: function(rows).with_columns(more)

        with monkeypatch.context() as patch:
            patch.setattr(Functions, "load", load)
            yield

    return during


def logged(workspace: Workspace, requests: list[dict[str, Any]]) -> None:
    reader = FeatureReader(get_definition("service", "all"), workspace)
    VectorLog(workspace, share=1).read(reader, requests, [f"{place}/0" for place in range(len(requests))])


def view_of(function: Any, source: str | Stream, features: list[str]) -> None:
    is_stream = isinstance(source, Stream)
    times = {} if is_stream else {"event_time": "at"}
    entity = Entity("u", {"u": int})
    view = FeatureView("own", entity=entity, source=source, transform=function, features=features, **times)
    apply(FeatureService("all", [view]))


def arrived(way: str, rows: pl.DataFrame, workspace: Workspace, skew: Any, function: Any, features: list[str]) -> None:
    """A view that a source's rows come to in one of three ways, skewed, and that was read."""
    view_of(function, Stream("xs", TYPES) if way == "fed" else "xs", features)
    with skew:
        if way == "pushed":
            push("own", rows)
        elif way == "materialized":
            materialize("own")
        else:
            send("xs", rows.drop("at").to_dicts())
            feed()
        logged(workspace, [{"u": u} for u in range(ROWS)])
    if way == "pushed":
        dataset("xs").append(rows)
    elif way == "fed":
        ingest_stream("xs", TYPES)


@pytest.mark.parametrize("way", ["pushed", "materialized", "fed"])
def test_values_of_every_shape_that_differ_are_told(
    way: str, workspace: Workspace, module: Module, skewed: Callable[[str], Any]
) -> None:
    rows = rows_of(random.Random(1))
    if way != "fed":
        dataset("xs").commit(rows.clear() if way == "pushed" else rows)
    arrived(way, rows, workspace, skewed("x"), module("own", OWN).shaped, FEATURES)
    report = verify("all")
    assert (report.mismatched, report.verified, report.failed) == (ROWS, 0, {})
    assert {each.feature for each in report.mismatches} == {*FEATURES}
    causes = {each.cause for each in report.mismatches}
    assert causes == {Cause.PUSHED if way == "pushed" else Cause.UNKNOWN}


def test_values_of_every_shape_that_differ_on_demand_are_told(
    workspace: Workspace, module: Module, skewed: Callable[[str], Any]
) -> None:
    types = {
        "list": "list[f64]", "array": "array[f64, 2]", "struct": 'struct{"a": f64, "b": list[f64], "c": str}',
        "deep": 'list[struct{"l": list[f64]}]',
    }  # fmt: skip
    asked = OnDemandView("asked", request={"x": "f64", "y": "f64"}, transform=module("own", OWN).asked, features=types)
    apply(FeatureService("all", [asked]))
    with skewed("x"):
        logged(workspace, rows_of(random.Random(1)).select("x", "y").to_dicts())
    report = verify("all")
    assert (report.mismatched, {each.feature for each in report.mismatches}) == (ROWS, {*FEATURES})
    assert {each.cause for each in report.mismatches} == {Cause.UNKNOWN}


@pytest.mark.parametrize("way", ["pushed", "materialized"])
def test_what_differs_is_told_of_a_function_that_refuses_all_but_what_it_was_given(
    way: str, workspace: Workspace, module: Module, skewed: Callable[[str], Any]
) -> None:
    rows = rows_of(random.Random(1))
    function = module("own", OWN).strict
    dataset("xs").commit(rows.clear() if way == "pushed" else rows)
    arrived(way, rows, workspace, skewed("share"), function, ["share"])
    report = verify("all")
    assert (report.mismatched, report.failed) == (ROWS, {})
    assert {each.cause for each in report.mismatches} == {Cause.PUSHED if way == "pushed" else Cause.UNKNOWN}


def test_what_differs_on_demand_is_told_of_a_function_that_refuses_all_but_what_it_was_given(
    workspace: Workspace, module: Module, skewed: Callable[[str], Any]
) -> None:
    asked = OnDemandView("asked", request={"x": "f64", "at": "datetime[UTC]"}, features={"share": "f64"},
                         transform=module("own", OWN).strict_of_a_request)  # fmt: skip
    apply(FeatureService("all", [asked]))
    with skewed("share"):
        logged(workspace, rows_of(random.Random(1)).select("x", "at").to_dicts())
    report = verify("all")
    assert (report.mismatched, report.failed) == (ROWS, {})
    assert {each.cause for each in report.mismatches} == {Cause.UNKNOWN}
