"""What a read costs: places of the store, each read once, of which so many are read at once, whatever is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.errors import InvalidError, UnavailableError, WrongTypeError
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
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
    assert reader.rows_at_once == 30_000 // 39
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


@pytest.mark.parametrize("seed", range(4))
def test_many_rows_have_what_each_has_alone_and_no_place_is_read_twice(
    workspace: Workspace, ticks: Ticks, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Of repeated and unknown entities, nulls, late events, pushed values, and of what is remembered in an outage."""
    chance = Random(seed)
    minute = 60_000_000
    end = ticks.now

    def rows(count: int) -> pl.DataFrame:
        at = [end - chance.randrange(400 * minute) for _ in range(count)]
        known = [each + chance.choice((0, 0, 30, 200)) * minute for each in at]
        return pl.DataFrame(
            {"user": [chance.choice("abcd") for _ in at], "shop": [chance.choice([0, 1, 2]) for _ in at],
             "at": [*map(clock.from_us, at)], "known": [*map(clock.from_us, known)],
             "value": [chance.choice([None, 0.1, 1e16, chance.gauss(0, 1)]) for _ in at]},
            schema_overrides={"value": pl.Float64},
        )  # fmt: skip

    dataset("visits").commit(rows(80))
    user, both = Entity("user"), Entity("visit", {"user": str, "shop": int})
    source: dict[str, Any] = {"source": "visits", "event_time": "at", "created_time": "known"}
    sums = [agg.sum("value", ["1h", "6h"]), agg.mean("value", "2h"), agg.count(windows="1h")]
    views = [
        FeatureView("of_user", entity=user, features=sums, **source),
        FeatureView("of_visit", entity=both, features=[agg.std("value", "6h").named("spread")], **source),
        FeatureView("newest", entity=user, features=["value"], ttl="3h", **source),
    ]
    scaled = OnDemandView(
        "scaled", request={"n": "i64"}, inputs=[views[2]["value"]], features={"much": pl.col("value") * pl.col("n")}
    )
    apply(FeatureService("all", [*views, scaled], outage="last_known", defaults={"spread": -1.0}))
    for view in views:
        materialize(view.name, until=clock.from_us(end))
    push("newest", rows(5))
    reader = FeatureReader(get_definition("service", "all"), workspace)
    read_keys: list[list[bytes]] = []
    get_many = workspace.online.get_many

    def counted(keys: list[bytes]) -> list[bytes | None]:
        read_keys.append([*keys])
        return get_many(keys)

    monkeypatch.setattr(workspace.online, "get_many", counted)
    told: set[str] = set()
    for _ in range(8):
        at_us = end - chance.choice((0, 0, 1, 90 * minute, 300 * minute))
        asked = [{"user": chance.choice("abcde"), "shop": chance.choice([0, 1, 9]), "n": chance.choice([None, 3])}
                 for _ in range(chance.randrange(1, 30))]  # fmt: skip
        alone = [reader.reading([row], at_us=at_us) for row in asked]
        read_keys.clear()
        among = reader.reading(asked, at_us=at_us)
        (keys,) = read_keys
        users, visits = ({row["user"] for row in asked}, {(row["user"], row["shop"]) for row in asked})
        spans = [part.span for part in reader._all_parts]
        assert len(keys) == sum(
            span * len(visits if number == 1 else users) for number, span in enumerate(spans)
        ) + len(reader.views)  # fmt: skip
        assert repr(among.vectors) == repr([each.vectors[0] for each in alone])
        assert among.pushed == [each.pushed[0] for each in alone]
        assert {each.watermarks for each in alone} == {among.watermarks}
        assert repr(reader.read(asked, at_us=at_us)) == repr(among.vectors)
        told.update(status for vector in among.vectors for status in vector.statuses)
    assert told >= {"PRESENT", "NOT_FOUND", "NULL_VALUE"}
    for wrong in ({"user": None, "shop": 1, "n": 1}, {"shop": 1, "n": 1}, {"user": "a", "shop": "x", "n": 1}):
        with pytest.raises((InvalidError, WrongTypeError)) as by_itself:
            reader.read([wrong], at_us=end)
        with pytest.raises(type(by_itself.value)) as with_others:
            reader.read([*asked, wrong, *asked], at_us=end)
        assert str(with_others.value) == str(by_itself.value)

    def away(keys: list[bytes]) -> list[bytes | None]:
        raise UnavailableError("the store", "it is away")

    monkeypatch.setattr(workspace.online, "get_many", away)
    ticks.now += minute
    among_known = reader.read(asked, at_us=at_us)
    assert repr(among_known) == repr([reader.read([row], at_us=at_us)[0] for row in asked])
    assert not any(vector.is_live for vector in among_known)


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
