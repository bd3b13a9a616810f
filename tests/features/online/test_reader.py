"""What a read costs: places of the store, of which so many are read at once, whatever is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.errors import WrongTypeError
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
)
from mainspring.workspace import Workspace

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
