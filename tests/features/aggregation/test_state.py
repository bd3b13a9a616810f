"""The online state takes events in any order, once each, keeps them in tiles of their own, and forgets old ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from mainspring.errors import CodecError, InvalidError, WrongTypeError
from mainspring.features.aggregation import EntityState, TileId, agg, aggregation, tiles_of_event, tiles_of_read
from mainspring.features.aggregation.tiles import Event, Tile

SECOND_US = 1_000_000
SPEC = aggregation(
    [agg.sum("x", ["2s", "4s"], hop="1s"), agg.top_k("x", "6s", k=2, hop="3s"), agg.last("x", "2s", hop="1s")],
    {"x": "f64"},
)


def test_the_order_of_arrival_leaves_no_trace_in_the_bytes() -> None:
    rng = random.Random(4)
    events = [(f"e{number}", rng.randrange(6 * SECOND_US), rng.choice((0.1, 0.2, 1e16, None))) for number in range(60)]
    stored = set()
    for _ in range(5):
        rng.shuffle(events)
        state = EntityState(SPEC)
        for event_id, time_us, value in [*events, *events[:20]]:
            state.update(event_id, time_us, {"x": value}, time_us + 5)
        stored.add(tuple(sorted(state.changes().items())))
    assert len(stored) == 1


def test_late_events_that_come_together_fold_a_tile_once_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    (hop, _) = SPEC.hops
    draws = (rng.randrange(SECOND_US) for _ in range(90))
    events = [
        Event(time, f"e{at}", time + rng.randrange(5), (rng.choice((0.1, 1e16, None)),))
        for at, time in enumerate(draws)
    ]
    whole = Tile.of(hop, [(*each[:3], *each.values) for each in sorted(events)]).encode()
    folds: list[int] = []
    states = Tile._states

    def counted(tile: Tile, values: Sequence[tuple[Any, ...]]) -> list[Any]:
        folds.append(len(values))
        return states(tile, values)

    monkeypatch.setattr(Tile, "_states", counted)
    for size in (1, 7, 40, 90):
        tile = Tile(hop)
        for at in range(0, len(events), size):
            batch, before = sorted(events[at : at + size]), len(folds)
            again = sorted(Event(each.time, each.id, each.known_us + 1, (7.0,)) for each in batch)
            assert (tile.take_all(batch), tile.take_all(batch), tile.take_all(again)) == (True, False, False)
            assert len(folds) - before <= 1
        assert tile.encode() == whole
    first = [each._replace(known_us=each.known_us - 9, values=(2.0,)) for each in sorted(events)]
    assert (tile.take_all(first), tile.take_all(sorted(events))) == (True, False)
    assert tile.encode() == Tile.of(hop, [(*each[:3], *each.values) for each in first]).encode()


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_events_with_one_id_and_time_the_first_known_counts(turned: bool) -> None:
    state = EntityState(SPEC)
    for value, known_us in [(1.0, 10), (2.0, 20)][:: -1 if turned else 1]:
        state.update("a", 5, {"x": value}, known_us)
    assert (state.read(9)["x_last_2s"], state.read(15)["x_last_2s"], state.read(25)["x_last_2s"]) == (None, 1.0, 1.0)


def test_an_event_rewrites_only_its_tiles() -> None:
    state = EntityState(SPEC)
    for second in range(6):
        state.update(f"e{second}", second * SECOND_US, {"x": 1.0})
    stored = {place: data for place, data in state.changes().items() if data}
    assert state.changes() == {}
    fresh = EntityState(
        SPEC, {place: stored[place] for place in tiles_of_event(SPEC, 4 * SECOND_US) if place in stored}
    )
    assert fresh.update("late", 4 * SECOND_US + 7, {"x": 2.0})
    changed = fresh.changes()
    assert list(changed) == tiles_of_event(SPEC, 4 * SECOND_US) == [TileId(SECOND_US, 4), TileId(3 * SECOND_US, 1)]
    merged = EntityState(SPEC, stored | {place: data for place, data in changed.items() if data})
    assert merged.read(5 * SECOND_US)["x_sum_2s"] == 5.0
    assert not merged.update("late", 4 * SECOND_US + 7, {"x": 2.0})
    assert merged.changes() == {}


def test_tiles_that_no_answer_needs_any_more_are_dropped() -> None:
    state = EntityState(SPEC)
    for second in range(20):
        state.update(f"e{second}", second * SECOND_US, {"x": float(second)})
    state.changes()
    before = [state.read(at) for at in range(12 * SECOND_US, 20 * SECOND_US, 300_000)]
    assert state.expire(14 * SECOND_US, lateness_us=2 * SECOND_US) == 8 + 2
    assert [state.read(at) for at in range(12 * SECOND_US, 20 * SECOND_US, 300_000)] == before
    assert set(state.changes().values()) == {None}
    assert state.tile_ids()[0] == TileId(SECOND_US, 8)
    assert set(state.tile_ids()) >= set(tiles_of_read(SPEC, 12 * SECOND_US))


def test_keys_of_tiles_sort_by_time_and_are_read_back() -> None:
    places = [TileId(5, tile) for tile in (-(2**40), -1, 0, 3, 2**40)] + [TileId(6, -9)]
    keys = [place.key(b"entity") for place in places]
    assert keys == sorted(keys)
    assert [TileId.of_key(key) for key in keys] == places


def test_bytes_of_another_format_are_refused() -> None:
    state = EntityState(SPEC)
    state.update("a", 5, {"x": 1.0})
    stored = {place: data for place, data in state.changes().items() if data}
    other = aggregation([agg.count(windows="1s", hop="1s")], {})
    for spec, tiles in (
        (SPEC, dict.fromkeys(stored, b"\xc1torn")),
        (SPEC, {place: data[:1] + b"\x63" + data[2:] for place, data in stored.items()}),
        (other, stored),
    ):
        with pytest.raises(CodecError, match="build it again from its events"):
            EntityState(spec, tiles).read(6)


def test_a_sum_beyond_64_bits_is_an_error_and_one_that_comes_back_is_not() -> None:
    state = EntityState(aggregation([agg.sum("n", "2s", hop="1s")], {"n": "i64"}))
    state.update("a", 5, {"n": 2**63 - 1})
    state.update("b", 6, {"n": 1})
    with pytest.raises(
        InvalidError, match=r"n_sum_2s: the sum of `n`: `9223372036854775808` is not an integer of 64 bits"
    ):
        state.read(7)
    state.update("c", SECOND_US, {"n": -1})
    assert state.read(SECOND_US) == {"n_sum_2s": 2**63 - 1}


@pytest.mark.parametrize(
    ("kind", "value"), [("i64", "1"), ("i64", True), ("f64", "x"), ("bool", 1), ("str", 1), ("date", 1.5)]
)
def test_a_value_of_the_wrong_type_is_refused_by_its_column(kind: str, value: object) -> None:
    state = EntityState(aggregation([agg.count("v", "1s", hop="1s"), agg.last("v", "1s", hop="1s")], {"v": kind}))
    with pytest.raises(WrongTypeError, match=r"^v: "):
        state.update("a", 5, {"v": value})
    assert state.changes() == {}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("i8", 128), ("u16", -1), ("date", "yesterday"), ("decimal[5, 1]", "0.25"), ("datetime[us]", "noon")],
)
def test_a_value_beyond_its_type_is_refused_by_its_column(kind: str, value: object) -> None:
    state = EntityState(aggregation([agg.last("v", "1s", hop="1s")], {"v": kind}))
    with pytest.raises(InvalidError, match=r"^v: "):
        state.update("a", 5, {"v": value})
