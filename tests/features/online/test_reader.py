"""What a read costs: places of the store, of which so many are read at once, whatever is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    VectorLog,
    agg,
    apply,
    get_definition,
    materialize,
    push,
)
from mainspring.workspace import Workspace
from tests.features.conftest import Ticks

pytestmark = pytest.mark.one_backend("how reads are cut is decided before the store")
COUNT = 23


@pytest.fixture
def reader(workspace: Workspace) -> FeatureReader:
    now = clock.now()
    rows = pl.DataFrame(
        {"user": [f"u{number % COUNT}" for number in range(4 * COUNT)], "value": [float(n) for n in range(4 * COUNT)],
         "at": [now - timedelta(minutes=7 * number) for number in range(4 * COUNT)]}
    )  # fmt: skip
    dataset("events").commit(rows.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC"))))
    user = Entity("user")
    sums = FeatureView(
        "sums", entity=user, source="events", event_time="at", features=[agg.sum("value", ["1h", "1d"])]
    )  # fmt: skip
    newest = FeatureView("newest", entity=user, source="events", event_time="at", features=["value"])
    apply(FeatureService("both", [sums, newest]))
    materialize("sums", until=now)
    materialize("newest", until=now)
    return FeatureReader(get_definition("service", "both"), workspace)


def test_one_entity_is_read_as_a_list_of_one(reader: FeatureReader) -> None:
    for attempt in (reader.read, reader.reading):
        with pytest.raises(WrongTypeError, match="expected a list of entities, each a mapping of columns"):
            attempt(cast(Any, {"origin": "EWR"}))


def test_a_read_is_cut_by_the_places_that_it_takes(workspace: Workspace, reader: FeatureReader) -> None:
    assert reader.places_per_entity == 13 + 25 + 1, (
        "tiles of five minutes for an hour and of an hour for a day, a value"
    )
    assert reader.rows_at_once == 10_000 // 39
    assert reader.quick_rows == 256 // 39
    whole = [{"user": f"u{number}"} for number in range(COUNT + 2)]
    at_us = clock.now_us()
    found = reader.read(whole, at_us=at_us)
    assert sum(status == "PRESENT" for vector in found for status in vector.statuses) > COUNT
    for reader.rows_at_once in (1, 7, COUNT + 2):
        assert reader.read(whole, at_us=at_us) == found
        log = VectorLog(workspace, share=1)
        assert log.read(reader, whole, [f"{number}" for number in range(len(whole))], at_us=at_us) == found
        log.close()
    assert reader.read([]) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("features", "ttl"), [(["value", "text", "n"], timedelta(seconds=15)), (["n"], None)])
def test_one_entity_has_what_it_has_among_others(
    workspace: Workspace, ticks: Ticks, features: list[str], ttl: timedelta | None, seed: int
) -> None:
    """Nulls, values of the future, of too long ago or of later than the instant, pushed and unknown ones."""
    chance, users = Random(seed), "abcde"

    def rows(count: int) -> pl.DataFrame:
        at = [clock.from_us(ticks.now + chance.randrange(-40, 40) * 1_000_000) for _ in range(count)]
        return pl.DataFrame(
            {"user": [chance.choice(users[:4]) for _ in at], "at": at, "value": [chance.choice([None, 1.5]) for _ in at],
             "text": [chance.choice([None, "x", "é"]) for _ in at], "n": [chance.randrange(9) for _ in at]},
            schema_overrides={"value": pl.Float64, "text": pl.String},
        )  # fmt: skip

    dataset("plain").commit(rows(6))
    view = FeatureView("rows", entity=Entity("user"), source="plain", event_time="at", features=features, ttl=ttl)
    apply(FeatureService("one", [view]))
    reader = FeatureReader(get_definition("service", "one"), workspace)
    told: set[str] = set()
    for step in range(12):
        if step == 4:
            materialize("rows", until=clock.now())
        elif step > 4:
            push("rows", rows(2))
        at_us = ticks.now + chance.randrange(-60, 60) * 1_000_000
        for user in users:
            alone = reader.one({"user": user}, at_us=at_us)
            among = reader.reading([{"user": user}, {"user": "a"}], at_us=at_us, wanted=())
            assert alone.vectors == reader.read([{"user": user}], at_us=at_us) == among.vectors[:1]
            assert (alone.at_us, alone.watermarks) == (among.at_us, among.watermarks)
            told.update(alone.vectors[0].statuses)
        ticks.now += 5_000_000
    assert told == {"NOT_FOUND", "NOT_KEPT", "PRESENT"} | ({"OUTSIDE_MAX_AGE", "NULL_VALUE"} if ttl else set())
    with pytest.raises(InvalidError, match="`null` is not a key of type str"):
        reader.one({"user": None})


def test_one_value_of_each_of_many_entities_is_quick(workspace: Workspace) -> None:
    now = datetime.now(UTC)
    dataset("plain").commit(pl.DataFrame({"user": ["a"], "at": [now], "value": [1.0]}))
    apply(
        FeatureService(
            "plain", [FeatureView("one", entity=Entity("user"), source="plain", event_time="at", features=["value"])]
        )
    )
    plain = FeatureReader(get_definition("service", "plain"), workspace)
    assert (plain.places_per_entity, plain.quick_rows) == (1, 256)
