"""A row gives the same bits alone, among others and in chunks: on demand, materialized, pushed, and in training sets."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    VectorLog,
    apply,
    get_definition,
    materialize,
    push,
    store_training_set,
    training_set,
    verify,
)
from mainspring.workspace import Workspace

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
