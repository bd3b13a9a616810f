"""Windows read from stored tiles are what the entity's state gives, whatever was read of them before."""

from __future__ import annotations

import random

import pytest

from mainspring.errors import CodecError
from mainspring.features.aggregation import EntityState, TileId, agg, aggregation, tiles_of_read
from mainspring.features.aggregation.reading import WindowReads

SPEC = aggregation(
    [
        agg.sum("x", ["20s", "3s"], hop="1s"), agg.std("x", "45s", hop="1s"), agg.mean("x", ["40s", "8s"], hop="4s"),
        agg.max("n", "40s", hop="4s"), agg.top_k("n", "40s", k=3, hop="4s"), agg.distinct("n", "20s", hop="1s"),
        agg.last("n", "40s", n=3, hop="4s"), agg.count(windows=["1s", "33s"], hop="1s"), agg.sum("n", "33s", hop="1s"),
    ],
    {"x": "f64", "n": "i64"},
)  # fmt: skip
SECOND = 1_000_000


@pytest.mark.parametrize("seed", range(6))
def test_any_history_is_read_as_the_state_gives_it(seed: int) -> None:
    chance = random.Random(seed)
    reads, stored = WindowReads(SPEC), dict[str, dict[TileId, bytes]]()
    states = {entity: EntityState(SPEC) for entity in "ab"}
    now = 10_000 * SECOND
    for number in range(120):
        now += chance.choice((0, SECOND // 3, 2 * SECOND, 5 * SECOND))
        for entity, state in states.items():
            for _ in range(chance.randint(0, 3)):
                time = now - chance.choice((0, 0, SECOND, chance.randint(0, 60 * SECOND)))
                event, known = f"e{chance.randint(0, 3 * number)}", time + chance.choice((0, 0, 10 * SECOND))
                value = chance.choice((None, -0.0, 0.1, 1e16, chance.gauss(0, 1)))
                state.update(event, time, {"x": value, "n": chance.choice((None, 1, 2, 2**40))}, known)
            held = stored.setdefault(entity, {})
            held |= {place: data for place, data in state.changes().items() if data is not None}
            at_us = now - chance.choice((0, 0, 1, SECOND, 17 * SECOND))
            tiles = [held.get(place) for place in tiles_of_read(SPEC, at_us)]
            for _ in range(2):  # also what was just kept
                assert repr(reads.read(entity.encode(), tiles, at_us)) == repr(state.read(at_us))
            assert reads.ends(at_us) == [place.key(b"") for place in tiles_of_read(SPEC, at_us)]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.features.aggregation.reading._KEPT_BYTES", 5_000)
    reads, state = WindowReads(SPEC), EntityState(SPEC)
    for second in range(60):
        state.update(f"e{second}", second * SECOND, {"x": 1.0, "n": second})
    held = state.changes()
    tiles = [held.get(place) for place in tiles_of_read(SPEC, 60 * SECOND)]
    for entity in range(20):
        assert reads.read(bytes([entity]), tiles, 60 * SECOND) == state.read(60 * SECOND)
    assert reads._size_bytes <= 5_000
    assert 0 < len(reads._runs) < 20


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x01", b"\x97\x02\x00\x00\xa0\x00\x90\xc4\x00"])
def test_a_tile_of_another_format_says_so(data: bytes) -> None:
    spec = aggregation([agg.count(windows="4s", hop="1s")], {})
    with pytest.raises(CodecError, match="build it again from its events"):
        WindowReads(spec).read(b"e", [data or b"\x00", None, None, None, None], 9 * SECOND)
