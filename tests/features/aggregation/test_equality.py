"""The backfill, the online state and the definition give the same bits, whatever the history."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.features.aggregation import agg, aggregate_as_of, chains, listings, state, windows
from mainspring.features.aggregation import backfill as backfilling
from mainspring.features.aggregation.tiles import Event as TileEvent
from mainspring.features.aggregation.tiles import Tile
from tests.features.aggregation import oracle
from tests.features.aggregation.histories import (
    FLOATS,
    ODD_FLOATS,
    SPEC,
    backfilled,
    defined,
    history,
    instants,
    same,
    served,
)  # fmt: skip
from tests.features.aggregation.oracle import Event, answer, bits


def differences(seeds: Sequence[int], *, guard: bool) -> list[Any]:
    """What differs in generated histories; one backfill answers all, as if they were of other entities."""
    events: list[Event] = []
    rows: list[tuple[Any, int]] = []
    expected, found = [], []
    for seed in seeds:
        rng = random.Random(seed)
        mine = [
            event._replace(entity=seed * 10 + event.entity) for event in history(rng, rng.choice((0, 1, 3, 12, 30, 60)))
        ]
        asked = [(seed * 10 + rng.randrange(4), at) for at in instants(rng, mine, 8)]
        expected += defined(mine, asked, guard=guard)
        found += served(rng, mine, asked, guard=guard)
        events, rows = events + mine, rows + asked
    order = list(range(len(rows)))
    random.Random(1).shuffle(order)
    random.Random(2).shuffle(events)
    answers = backfilled(events, [rows[place] for place in order], guard=guard)
    return same([expected[place] for place in order], answers) + same(expected, found)


# 1,000 histories take 6 s: they are the proof that offline is online.
@pytest.mark.parametrize("part", range(4))
def test_backfill_and_online_give_the_defined_bits(part: int) -> None:
    assert differences(range(part * 250, part * 250 + 250), guard=part != 3) == []


@pytest.mark.soak
@pytest.mark.parametrize("part", range(40))
def test_backfill_and_online_give_the_defined_bits_in_many_histories(part: int) -> None:
    assert differences(range(10_000 + part * 500, 10_500 + part * 500), guard=part % 4 != 3) == []


@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_how_many_tiles_make_a_group_is_the_same_rule_everywhere(tiles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((oracle, "GROUP"), (state, "GROUP_TILES"), (windows, "GROUP_TILES")):
        monkeypatch.setattr(module, name, tiles)
    assert differences(range(tiles * 100, tiles * 100 + 50), guard=True) == []


def test_where_batches_blocks_and_chunks_end_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (backfilling, "_ROWS", 5), (backfilling, "_MOST_ROWS", 7), (backfilling, "_MOST_EVENTS", 11),
        (chains, "_BLOCK", 3), (chains, "_FEW", 2), (chains, "_SLICE", 2), (windows, "_PAIRS", 5), (listings, "_PAIRS", 5),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    assert differences(range(5), guard=True) == []


values = st.fixed_dictionaries(
    {
        "x": st.one_of(st.none(), st.floats(), st.sampled_from(ODD_FLOATS)),
        "n": st.one_of(st.none(), st.integers(-(2**55), 2**55)),
        "name": st.one_of(st.none(), st.text(max_size=2).filter(lambda text: "\0" not in text)),
        "flag": st.one_of(st.none(), st.booleans()),
    }
)
times = st.one_of(st.integers(-3, 6).map(lambda tile: tile * 1_000_000), st.integers(-3_000_000, 6_000_000))
made_events = st.lists(
    st.tuples(st.integers(0, 1), st.text("abé😀", min_size=1, max_size=2), times, st.integers(0, 3_000_000), values),
    max_size=14,
    unique_by=lambda event: event[:3],
)


@settings(max_examples=25)
@given(made_events, st.lists(st.tuples(st.integers(0, 1), times), max_size=4), st.booleans(), st.randoms())
def test_any_history_gives_the_defined_bits(
    made: list[Any], rows: list[tuple[int, int]], guard: bool, rng: random.Random
) -> None:
    events = [Event(entity, event_id, time, time + lag, held) for entity, event_id, time, lag, held in made]
    expected = defined(events, rows, guard=guard)
    assert same(expected, served(random.Random(rng.random()), events, rows, guard=guard)) == []
    assert same(expected, backfilled(events, rows, guard=guard)) == []


def test_a_hot_entity_has_the_bits_of_a_plain_loop() -> None:
    """Long tiles are folded in other ways than short ones: 3,000 events in two tiles, and many small ones beside."""
    rng = np.random.default_rng(3)
    count = 4_000
    hot = np.arange(count) < 3_000
    frame = pl.DataFrame(
        {
            "who": np.where(hot, 0, np.arange(count)),
            "at": pl.Series(rng.integers(0, 7_200_000_000, count)).cast(pl.Datetime("us")),
            "x": rng.choice([*FLOATS[:8], *rng.normal(size=5)], count),
        }
    )
    asked = [datetime(1970, 1, 1, 1, 59, 59), datetime(1970, 1, 1, 0, 30), datetime(1970, 1, 1, 2)]
    rows = pl.DataFrame({"who": [0, 0, 3_500], "at": asked})
    spec = [kind("x", "2h", hop="1h") for kind in (agg.sum, agg.mean, agg.std, agg.min, agg.max, agg.count)]
    found = aggregate_as_of(rows, frame, spec, keys={"who": "who"}, at="at", event_time="at", event_id=None)
    source = frame.with_row_index("row").select(
        pl.col("who").cast(pl.Int64), pl.format("e{}", pl.col("row") + 10_000), pl.col("at").to_physical(), "x"
    )
    events = [Event(who, event_id, at, None, {"x": x}) for who, event_id, at, x in source.iter_rows()]
    features = [feature for aggregate in spec for feature in aggregate.features()]
    for row, answered in zip(rows.with_columns(pl.col("at").to_physical()).to_dicts(), found.to_dicts(), strict=True):
        for feature in features:
            expected = answer(feature, events, row["who"], row["at"], guard=False)
            assert bits(answered[feature.name]) == bits(expected), feature.name


def test_far_times_and_many_entities_still_find_their_events() -> None:
    """Entity and time don't fit one number then."""
    years = [datetime(1, 1, 2), datetime(9999, 12, 30), datetime(2024, 1, 1)]
    events = pl.DataFrame(
        {"who": [who for who in range(60) for _ in years], "at": years * 60, "x": [1.0, 2.0, 4.0] * 60}
    )
    rows = pl.DataFrame({"who": [59, 3, 59], "at": [years[1], years[2] + timedelta(minutes=1), years[0]]})
    found = aggregate_as_of(
        rows, events, [agg.sum("x", "1h")], keys={"who": "who"}, at="at", event_time="at", event_id=None
    )
    assert found["x_sum_1h"].to_list() == [2.0, 4.0, 1.0]


def test_entities_behind_the_last_value_have_none() -> None:
    """Entity and time fit one number in the values, and come round to the same one in the rows."""
    years = [datetime(1, 1, 2), datetime(9999, 12, 30)]
    frame = pl.DataFrame(
        {"who": [who for who in range(60) for _ in years], "at": years * 60, "x": [1.0, 2.0] + [None] * 118}
    )
    around = timedelta(microseconds=59 * ((years[1] - years[0]) // timedelta(microseconds=1) + 3) - 2**64)
    rows = pl.DataFrame({"who": [0, 30, 59], "at": [years[1], years[1], years[1] - around]})
    found = aggregate_as_of(
        rows,
        frame,
        [agg.sum("x", "1h"), agg.count("x", "1h")],
        keys={"who": "who"},
        at="at",
        event_time="at",
        event_id=None,
    )
    assert found.rows() == [(2.0, 1), (None, 0), (None, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_a_tile_of_many_events_has_the_bytes_of_one_that_took_them(seed: int) -> None:
    chance = random.Random(seed)
    found = {(event.time, event.id): event for event in history(chance, chance.choice((1, 5, 20, 90)))}
    for hop in SPEC.hops:
        rows: dict[int, list[Any]] = {}
        for at, event_id in sorted(found):
            event = found[at, event_id]
            plain = SPEC.plain(event.values)
            values = [plain[name] for name in hop.columns]
            rows.setdefault(at // hop.hop_us, []).append((at % hop.hop_us, event_id, event.known, *values))
        for some in rows.values():
            taken = Tile(hop)
            for at, event_id, known, *values in some:
                taken.take(TileEvent(at, event_id, known, tuple(values)))
            assert Tile.of(hop, some).encode() == taken.encode()
