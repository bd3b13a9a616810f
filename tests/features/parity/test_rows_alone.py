"""A row gives the same bits alone, among others and in chunks: on demand, materialized, pushed, and in training sets."""

from __future__ import annotations

import random
from datetime import UTC, datetime

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
                  (c("tags") / 7).alias("sevenths"), c("emb").arr.sum().alias("total")],
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
    import polars as pl

    SHARE = pl.col("x") / 12.34

    def scaled(rows):
        kept = rows.filter(pl.col("x") / 3 < 30)
        return kept.with_columns(share=SHARE, tenth=(pl.col("l") / 7).list.mean(), part=pl.col("x").abs() ** 0.3)

    def asked(frame):
        return frame.with_columns(seventh=pl.col("amt") / 7, parts=pl.col("share") / pl.col("amt"), lists=pl.col("l") / 3)
"""
FEATURES = ["share", "tenth", "part"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_functions_over_columns_give_a_row_the_same_bits_in_any_batch(
    workspace: Workspace, module: Module, is_stream: bool
) -> None:
    chance, made = random.Random(4), module("own", OWN)
    data = [{"u": at, "x": chance.gauss(0, 50), "l": [chance.gauss(0, 9)] * (at % 3)} for at in range(ROWS)]
    view = FeatureView("scaled", entity=Entity("u", {"u": int}), transform=made.scaled, features=FEATURES,
                       **({"source": Stream("xs", {"u": "i64", "x": "f64", "l": "list[f64]"})} if is_stream else
                          {"source": "xs", "event_time": "at"}))  # fmt: skip
    asked = OnDemandView("asked", request={"amt": "f64", "l": "list[f64]"}, inputs=[view["share"]], transform=made.asked,
                         features={"seventh": "f64", "parts": "f64", "lists": "list[f64]"})  # fmt: skip
    rows = pl.DataFrame(data).with_columns(at=pl.lit(AT))
    if not is_stream:
        dataset("xs").commit(rows)
    apply(FeatureService("all", [view, asked]))
    if is_stream:
        for each in data:
            send("xs", [each])
            feed(max_events=1)
        ingest_stream("xs", {"u": "i64", "x": "f64", "l": "list[f64]"})
    else:
        for at in range(ROWS):
            push("scaled", rows[at : at + 1])
    reader = FeatureReader(get_definition("service", "all"), workspace)
    requests = [{"u": at, "amt": chance.gauss(0, 99), "l": [chance.gauss(0, 9)] * (at % 3)} for at in range(ROWS)]
    log = VectorLog(workspace, share=1)
    alone = [log.read(reader, [each], [f"{each['u']}/0"])[0].values for each in requests]
    assert repr(alone) == repr([each.values for each in reader.read(requests)])
    asked_at = pl.lit(datetime.now(UTC))
    found = training_set(pl.DataFrame(requests).with_columns(t=asked_at), "all", time="t").frame
    assert repr(alone) == repr([list(each) for each in found.select(reader.names).rows()])
    if not is_stream:
        materialize("scaled", full=True)
        assert repr(alone) == repr([each.values for each in reader.read(requests)])
    assert verify("all").passed


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
        features={"third": c("amt") / 3, "part": c("amt") / c("x"), "grown": c("amt").abs() ** c("x").sin(), "one": pl.lit(1)},
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
