"""A row gives the same bits alone, among others and in chunks: on demand, materialized, pushed, and in training sets.

What a function of Python leaves as a single row itself is the same within rounding, and verified so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
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
    store_training_set,
    training_set,
    verify,
)
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Python
from mainspring.features.parity.report import Cause
from mainspring.streams import send
from mainspring.workspace import Workspace
from tests.features.conftest import Module

pytestmark = pytest.mark.one_backend("what is computed of rows, whatever store they come from")
c = pl.col
ROWS = 24
AT = datetime(2026, 1, 1, tzinfo=UTC)


def scored() -> FeatureView:
    squares = (c("emb") * c("emb")).arr.sum().sqrt()
    return FeatureView(
        "scored", entity=Entity("u", {"u": int}), source="users", event_time="at",
        features=["x", ((c("x") - 12.34) / 5.67).alias("z"), (c("x").abs() ** c("p")).alias("power"), squares.alias("norm"),
                  (c("tags") / 7).alias("sevenths"), c("tags").list.filter(pl.element() > 0).list.sum().alias("positive"),
                  pl.struct(p=c("x") / c("p"), x=c("p") / 3).alias("pair"), c("emb").arr.sum().alias("total")],
    )  # fmt: skip


def source(chance: random.Random) -> pl.DataFrame:
    wide = [None, *([chance.gauss(0, 1) * 10.0 ** chance.randint(-6, 6) for _ in range(130)] for _ in range(ROWS - 1))]
    return pl.DataFrame(
        {
            "u": range(ROWS), "at": [AT] * ROWS, "x": [chance.gauss(0, 50) for _ in range(ROWS)],
            "p": [chance.choice((0.5, 2.0, 3.0, 1 / 3)) for _ in range(ROWS)],
            "emb": pl.Series(wide, dtype=pl.Array(pl.Float64, 130)),
            "tags": [[chance.gauss(0, 9)] if place % 3 else [] for place in range(ROWS)],
        }
    )  # fmt: skip


OWN = """
    import numpy as np
    import polars as pl

    def scaled(rows):
        x, y = pl.col("x"), pl.col("y")
        return rows.with_columns(
            share=x / 12.34, total=pl.sum_horizontal(pl.col("x", "y") / 3), part=x.abs() ** 0.3, half=(x / 7).cast(pl.Float32),
            parts=pl.concat_list(x / 3, y / 7), pair=pl.struct(a=x / y, b=y / 3), name=pl.lit("n"),
        )

    def parted(rows):
        return pl.concat([scaled(rows.filter(pl.col("x") < 0)), scaled(rows.filter(pl.col("x") >= 0))])

    def centred(rows):
        x = pl.col("x")
        return rows.with_columns(share=x - x.mean(), total=x.shift(1), part=pl.len().over(pl.lit(1)), name=pl.lit("n"))

    WEIGHTS = np.random.default_rng(0).normal(size=(512, 2))

    def projected(rows):
        frame = rows.collect(engine="in-memory")
        return frame.with_columns(score=pl.Series((frame["emb"].to_numpy() @ WEIGHTS)[:, 0]), count=pl.len())

    def cosine(frame):
        given = frame["q"].to_numpy()
        found = (given @ WEIGHTS)[:, 1] / np.linalg.norm(given, axis=1)
        return pl.DataFrame({"fit": found, "part": found - frame["score"].to_numpy()})

    def share(frame):
        return frame.select(share=pl.col("amt") / pl.col("amt").sum())

    def asked(frame):
        return frame.with_columns(seventh=pl.col("amt") / 7, parts=pl.col("share") / pl.col("amt"), lists=pl.col("l") / 3)
"""
FEATURES = ["share", "total", "part", "half", "parts", "pair", "name"]


TYPES = {"u": "i64", "x": "f64", "y": "f64"}


def fed(workspace: Workspace, module: Module, function: str, features: list[str], at_once: int = 1) -> None:
    """A view by a function of Python that was fed so many events at once, in a service that was read and logged after each."""
    chance, made = random.Random(4), module("own", OWN)
    view = FeatureView(
        "scaled", entity=Entity("u", {"u": int}), source=Stream("xs", TYPES), transform=getattr(made, function),
        features=features,
    )  # fmt: skip
    apply(FeatureService("all", [view]))
    reader, log = FeatureReader(get_definition("service", "all"), workspace), VectorLog(workspace, share=1)
    for first in range(0, ROWS, at_once):
        users = range(first, first + at_once)
        send("xs", [{"u": u, "x": abs(chance.gauss(0, 50)) * (-1) ** u, "y": chance.gauss(0, 50)} for u in users])
        feed(max_events=at_once)
        log.read(reader, [{"u": u} for u in users], [f"{u}/0" for u in users])
    ingest_stream("xs", TYPES)


def test_what_a_function_gives_of_rows_that_are_fed_one_by_one_has_the_bits_of_a_table(
    workspace: Workspace, module: Module
) -> None:
    fed(workspace, module, "scaled", FEATURES)
    report = verify("all")
    assert (report.passed, report.verified, report.rounded, report.stale) == (True, ROWS, 0, 0)


def test_what_a_function_gives_of_rows_that_are_pushed_one_by_one_has_the_bits_of_a_table(
    workspace: Workspace, module: Module
) -> None:
    chance, made = random.Random(4), module("own", OWN)
    rows = pl.DataFrame({"u": u, "at": AT, "x": chance.gauss(0, 50), "y": chance.gauss(0, 50)} for u in range(ROWS))
    dataset("xs").commit(rows.clear())
    view = FeatureView("scaled", entity=Entity("u", {"u": int}), source="xs", event_time="at", transform=made.scaled,
                       features=FEATURES)  # fmt: skip
    apply(FeatureService("all", [view]))
    reader = FeatureReader(get_definition("service", "all"), workspace)
    requests = [{"u": u} for u in range(ROWS)]
    for u in range(ROWS):
        push("scaled", rows[u : u + 1])
    pushed = [
        each.values for each in VectorLog(workspace, share=1).read(reader, requests, [f"{u}/0" for u in range(ROWS)])
    ]
    dataset("xs").append(rows)
    report = verify("all")
    assert (report.passed, report.verified, report.rounded) == (True, ROWS, 0)
    materialize("scaled", full=True)
    assert repr(pushed) == repr([each.values for each in reader.read(requests)])
    dataset("xs").commit(rows[:1])
    one = training_set(pl.DataFrame({"u": [0], "t": [datetime.now(UTC)]}), "all", time="t").frame
    assert repr([*one.select(reader.names).row(0)]) == repr([*pushed[0]])


def test_what_a_function_leaves_as_a_single_row_is_verified_within_rounding_which_is_counted(
    workspace: Workspace, module: Module
) -> None:
    fed(workspace, module, "parted", FEATURES, at_once=2)
    report = verify("all")
    assert (report.passed, report.verified, report.mismatched, report.stale) == (True, ROWS, 0, 0)
    rounded = {each.feature: each.rounded for each in report.views[0].features}
    assert min(rounded["share"], rounded["parts"]) > rounded["name"] == 0
    assert 0 < max(rounded.values()) <= report.rounded <= ROWS
    assert f"bit for bit but {report.rounded} within rounding" in str(report)


def test_a_function_that_looks_at_other_rows_is_found(workspace: Workspace, module: Module) -> None:
    fed(workspace, module, "centred", ["share", "total", "part", "name"])
    report = verify("all")
    assert (report.passed, report.rounded) == (False, 0)
    assert {(each.feature, each.cause) for each in report.mismatches} == {
        (name, Cause.OTHER_ROWS) for name in ("share", "total", "part")
    }
    assert {each.served for each in report.mismatches if each.feature == "part"} == {1}


def test_products_of_matrices_are_verified_within_their_rounding(workspace: Workspace, module: Module) -> None:
    chance, made = np.random.default_rng(4), module("own", OWN)
    wide = pl.Array(pl.Float64, 512)
    numbers = pl.Series("emb", chance.normal(size=(90, 512)), dtype=wide)
    rows = pl.DataFrame({"u": range(90), "at": [AT] * 90}).with_columns(numbers)
    dataset("xs").commit(rows.clear())
    view = FeatureView("projected", entity=Entity("u", {"u": int}), source="xs", event_time="at", transform=made.projected,
                       features=["score"])  # fmt: skip
    cosine = OnDemandView("cosine", request={"q": "array[f64, 512]"}, inputs=[view["score"]], transform=made.cosine,
                          features={"fit": "f64", "part": "f64"})  # fmt: skip
    apply(FeatureService("own", [view]), FeatureService("asked", [cosine]))
    for first in range(0, 90, 3):
        push("projected", rows[first : first + 3])
    log, served = VectorLog(workspace, share=1), dict[str, Any]()
    requests = [{"u": row["u"], "q": row["emb"]} for row in rows.to_dicts()]
    for name in ("own", "asked"):
        reader = FeatureReader(get_definition("service", name), workspace)
        for first in range(0, 90, 3):
            log.read(reader, requests[first : first + 3], [f"{name}{first + at}/0" for at in range(3)])
        served[name] = [each.values for each in reader.read(requests)]
    dataset("xs").append(rows)
    for name in ("own", "asked"):
        report = verify(name)
        assert (report.passed, report.verified) == (True, 90), report
    # What was pushed is held to what a training set gives: what has other bits than that is counted.
    known = training_set(rows.select("u", t=pl.lit(datetime.now(UTC))), "own", time="t").frame
    differing = sum(one != [other] for one, other in zip(served["own"], known["score"].to_list(), strict=True))
    assert verify("own").rounded == differing


def test_a_function_that_looks_at_other_rows_is_found_in_what_was_pushed(workspace: Workspace, module: Module) -> None:
    made = module("own", OWN)
    rows = pl.DataFrame({"u": u, "at": AT, "x": float(u), "y": 1.0} for u in range(6))
    dataset("xs").commit(rows.clear())
    view = FeatureView("centred", entity=Entity("u", {"u": int}), source="xs", event_time="at", transform=made.centred,
                       features=["share"])  # fmt: skip
    apply(FeatureService("all", [view]))
    for first, end in ((0, 1), (1, 2), (2, 6)):
        push("centred", rows[first:end])
    reader = FeatureReader(get_definition("service", "all"), workspace)
    VectorLog(workspace, share=1).read(reader, [{"u": u} for u in range(6)], [f"{u}/0" for u in range(6)])
    dataset("xs").append(rows)
    report = verify("all")
    assert report.mismatched == 6
    assert {each.cause for each in report.mismatches} == {Cause.OTHER_ROWS}


def test_a_function_on_demand_that_looks_at_other_rows_is_found(workspace: Workspace, module: Module) -> None:
    made = module("own", OWN)
    asked = OnDemandView("asked", request={"amt": "f64"}, transform=made.share, features={"share": "f64"})
    apply(FeatureService("all", [asked]))
    reader, log = FeatureReader(get_definition("service", "all"), workspace), VectorLog(workspace, share=1)
    assert log.read(reader, [{"amt": 7.0}], ["a/0"])[0].values == [1.0]
    log.read(reader, [{"amt": 1.0}, {"amt": 2.0}], ["b/0", "b/1"])
    report = verify("all")
    assert report.mismatched == 3
    assert {each.cause for each in report.mismatches} == {Cause.OTHER_ROWS}


def test_of_a_pushed_row_what_differs_from_the_sources_row_of_its_time_is_told_and_no_more(
    workspace: Workspace,
) -> None:
    before = pl.DataFrame({"u": [1], "at": [AT], "x": [1], "y": [[1.0]], "z": ["a"]})
    later = before.with_columns(
        at=AT + timedelta(hours=1), x=pl.lit(10, pl.Int64), y=pl.lit(pl.Series([[10.5]])), z=pl.lit("q")
    )
    dataset("xs").commit(before)
    view = FeatureView("xs", entity=Entity("u", {"u": int}), source="xs", event_time="at", features=["x", "y", "z"])
    apply(FeatureService("all", [view]))
    materialize("xs")
    push("xs", later)
    reader = FeatureReader(get_definition("service", "all"), workspace)
    VectorLog(workspace, share=1).read(reader, [{"u": 1}], ["a/0"])
    dataset("xs").append(later.with_columns(y=pl.lit(pl.Series([[99.5]]))))
    (found,) = verify("all").mismatches
    assert (found.feature, found.served, found.expected, found.cause) == ("y", [10.5], [99.5], Cause.PUSHED)
    assert found.expected_event_us == found.served_event_us


def test_a_function_that_gave_a_billionth_more_is_found(
    workspace: Workspace, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Functions.load

    def skewed(functions: Functions, recorded: Python) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
        function = known(functions, recorded)
        return lambda rows: function(rows).with_columns(c("share") * (1 + 1e-9))

    with monkeypatch.context() as patch:
        patch.setattr(Functions, "load", skewed)
        fed(workspace, module, "scaled", FEATURES)
    report = verify("all")
    assert (report.mismatched, {each.feature for each in report.mismatches}) == (ROWS, {"share"})


def test_a_function_on_demand_gives_a_row_the_same_bits_alone_as_in_a_table(
    workspace: Workspace, module: Module
) -> None:
    chance, made = random.Random(4), module("own", OWN)
    view = FeatureView(
        "xs", entity=Entity("u", {"u": int}), source="xs", event_time="at", features=[(c("x") / 3).alias("share")]
    )
    asked = OnDemandView("asked", request={"amt": "f64", "l": "list[f64]"}, inputs=[view["share"]], transform=made.asked,
                         features={"seventh": "f64", "parts": "f64", "lists": "list[f64]"})  # fmt: skip
    dataset("xs").commit(pl.DataFrame({"u": at, "x": chance.gauss(0, 50), "at": AT} for at in range(ROWS)))
    apply(FeatureService("all", [asked]))
    materialize("xs")
    reader = FeatureReader(get_definition("service", "all"), workspace)
    requests = [{"u": at, "amt": chance.gauss(0, 99), "l": [chance.gauss(0, 9)] * (at % 3)} for at in range(ROWS)]
    log = VectorLog(workspace, share=1)
    alone = [log.read(reader, [each], [f"{each['u']}/0"])[0].values for each in requests]
    assert repr(alone) == repr([each.values for each in reader.read(requests)])
    found = training_set(pl.DataFrame(requests).with_columns(t=pl.lit(datetime.now(UTC))), "all", time="t").frame
    assert repr(alone) == repr([list(each) for each in found.select(reader.names).rows()])
    report = verify("all")
    assert (report.passed, report.rounded) == (True, 0)


def test_what_is_computed_of_a_row_hangs_on_no_other(workspace: Workspace) -> None:
    chance = random.Random(3)
    frame = source(chance)
    for place in range(ROWS):  # parts of one row each
        dataset("users").commit(frame[place : place + 1]) if not place else dataset("users").append(
            frame[place : place + 1]
        )
    view = scored()
    asked = OnDemandView(
        "asked", request={"amt": "f64"}, inputs=[view["x"]],
        features={"third": c("amt") / 3, "part": c("amt") / c("x"), "grown": c("amt").abs() ** c("x").sin(), "one": pl.lit(1),
                  "both": pl.sum_horizontal(c("amt", "x") / 3),
                  "kept": pl.concat_list("amt", "x").list.filter(pl.element() > 0).list.len() / 7},
    )  # fmt: skip
    apply(FeatureService("all", [view, asked]))
    materialize("scored")
    reader = FeatureReader(get_definition("service", "all"), workspace)
    log = VectorLog(workspace, share=1)
    requests = [{"u": place, "amt": chance.gauss(0, 99)} for place in range(ROWS)]
    alone = [log.read(reader, [each], [f"{each['u']}/0"])[0].values for each in requests]
    assert repr(alone) == repr([each.values for each in reader.read(requests)])
    rows = pl.DataFrame(requests).with_columns(t=pl.lit(datetime.now(UTC)))
    made = training_set(rows, "all", time="t").frame
    assert repr(alone) == repr([list(each) for each in made.select(reader.names).rows()])
    for place in (1, 2):
        assert training_set(rows[place : place + 1], "all", time="t").frame.equals(made[place : place + 1])
    for partitions in (1, 7):
        stored = store_training_set(rows.lazy(), "all", time="t", to=f"set-{partitions}", partitions=partitions)
        assert stored.version.to_polars().equals(made)
    assert verify("all").passed
    for place in range(ROWS):
        push("scored", frame[place : place + 1].with_columns(at=pl.lit(datetime(2026, 1, 2, tzinfo=UTC))))
    assert repr(alone) == repr([each.values for each in reader.read(requests)])
    assert verify("all").passed
