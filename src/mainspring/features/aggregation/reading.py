"""Reading the windows of many entities from stored tiles: what `EntityState.read` gives, without decoding events.

A tile that ended before the instant, and of which all was known by then, is read by its partial states alone. What several such
tiles are when they are merged is kept, with the bytes that those states were read from: it is used again only where all of
them are stored unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from mainspring.errors import CodecError
from mainspring.features.aggregation.aggregation import Aggregation, Feature, Hop
from mainspring.features.aggregation.folds import Fold, State
from mainspring.features.aggregation.tiles import ALWAYS_US, GROUP_TILES, VERSION, Tile, TileId

_KEPT_BYTES = 32 << 20
_ENTRY_BYTES = 400  # what Python takes for a kept run besides its bytes
_NONE = b"\xc1"  # what MessagePack never begins with
_decode = msgspec.msgpack.Decoder(tuple[int, int, int, str, int, list[Any], msgspec.Raw]).decode
States = list[State | None]


class _Run(NamedTuple):
    """Neighbouring tiles of a group: what each is stored as but for its events, when the last was known, merged by fold."""

    heads: list[bytes]
    known_us: int
    states: States


class _HopRead(NamedTuple):
    """A hop: where its tiles stand among the stored ones, and its features with the folds and lengths of their windows."""

    hop: Hop
    begin: int
    span: int
    folds: list[Fold]
    windows: list[tuple[Feature, int]]


class WindowReads:
    """Reads windows of one set of aggregates; made once, and safe for threads."""

    def __init__(self, spec: Aggregation) -> None:
        self._spec = spec
        self._hops: list[_HopRead] = []
        begin = 0
        for hop in spec.hops:
            span = hop.longest_us // hop.hop_us + 1
            windows = [(feature, feature.declared.window_us // hop.hop_us) for feature in hop.features]
            self._hops.append(_HopRead(hop, begin, span, [use.fold for use in hop.uses], windows))
            begin += span
        self.span = begin
        self._ends: tuple[list[int], list[bytes]] = [], []
        self._runs: dict[tuple[bytes, int, int, int], _Run] = {}
        self._size_bytes, self._lock = 0, Lock()

    def ends(self, at_us: int) -> list[bytes]:
        """What the keys of the tiles of a read end with, in order of hop and time."""
        heads, ends = self._ends
        wanted = [at_us // each.hop.hop_us for each in self._hops]
        if heads != wanted:
            ends = [
                TileId(each.hop.hop_us, tile).key(b"")
                for each, head in zip(self._hops, wanted, strict=True)
                for tile in range(head - each.span + 1, head + 1)
            ]
            self._ends = wanted, ends
        return ends

    def read(self, entity: bytes, stored: Sequence[bytes | None], at_us: int) -> dict[str, object]:
        """The features at an instant, over the events that were known by then; `stored` are the tiles of `ends`.

        Raises:
            CodecError: a tile is of another format, or of other folds.
            InvalidError: a sum is beyond 64 bits.
        """
        tiles = [data or _NONE for data in stored]
        results: dict[str, object] = {}
        for each in self._hops:
            states = self._windows(entity, each, tiles[each.begin : each.begin + each.span], at_us)
            for (feature, _), state in zip(each.windows, states, strict=True):
                results[feature.name] = feature.python(feature.result(state))
        return {name: results[name] for name in self._spec.names}

    def _windows(self, entity: bytes, hop: _HopRead, tiles: list[bytes], at_us: int) -> States:
        """The state of each feature's window: groups of tiles merged, then those of the instant's own group one by one."""
        head = at_us // hop.hop.hop_us
        first, own = head - hop.span + 1, head // GROUP_TILES * GROUP_TILES
        single = {
            tile: self._run(entity, hop, tiles, first, tile, tile + 1, at_us).states
            for tile in range(max(own, first), head)
            if tiles[tile - first] is not _NONE
        }
        if tiles[-1] is not _NONE:
            single[head] = Tile.decode(tiles[-1], hop.hop).partials_at(at_us - head * hop.hop.hop_us, at_us)
        merged: dict[tuple[int, int], State | None] = {}
        for feature, length in hop.windows:
            if (feature.place, length) not in merged:
                merged[feature.place, length] = self._window(
                    hop.folds[feature.place], feature.place, head - length, own,
                    lambda begin, end: self._run(entity, hop, tiles, first, begin, end, at_us).states, single,
                )  # fmt: skip
        return [merged[feature.place, length] for feature, length in hop.windows]

    def _window(
        self, fold: Fold, place: int, start: int, own: int, run: Callable[[int, int], States], single: dict[int, States]
    ) -> State | None:
        whole: State | None = None
        while start < own:
            end = (start // GROUP_TILES + 1) * GROUP_TILES
            whole = fold.joined(whole, run(start, end)[place])
            start = end
        for tile, states in single.items():
            if tile >= start:
                whole = fold.joined(whole, states[place])
        return whole

    def _run(
        self, entity: bytes, hop: _HopRead, tiles: list[bytes], first: int, begin: int, end: int, at_us: int
    ) -> _Run:
        """The tiles from `begin` up to `end`, which all ended before the instant, merged in order."""
        given = tiles[begin - first : end - first]
        if all(data is _NONE for data in given):  # as most are of an entity with few events; there is nothing to keep
            return _Run([], ALWAYS_US, [None] * len(hop.folds))
        key = entity, hop.hop.hop_us, begin, end
        kept = self._runs.get(key)
        if kept is not None and kept.known_us <= at_us and all(map(bytes.startswith, given, kept.heads)):
            return kept
        heads, known_us = [], ALWAYS_US
        states: States = [None] * len(hop.folds)
        for data in given:
            if data is _NONE:
                heads.append(_NONE)
                continue
            found, known, partials = _head(data, hop.hop)
            if known > at_us:
                partials = Tile.decode(data, hop.hop).partials_at(hop.hop.hop_us, at_us)
            heads.append(found)
            known_us = max(known_us, known)
            states = [fold.joined(*both) for fold, *both in zip(hop.folds, states, partials, strict=True)]
        made = _Run(heads, known_us, states)
        if known_us <= at_us:
            self._keep(key, made)
        return made

    def _keep(self, key: tuple[bytes, int, int, int], run: _Run) -> None:
        """The runs that were made first are forgotten first."""
        with self._lock:
            old = self._runs.pop(key, None)
            self._size_bytes += _size(run) - (_size(old) if old else 0)
            self._runs[key] = run
            while self._size_bytes > _KEPT_BYTES:
                self._size_bytes -= _size(self._runs.pop(next(iter(self._runs))))


def _head(data: bytes, hop: Hop) -> tuple[bytes, int, States]:
    """What stands before a tile's events, when the last of them was known, and the partial states."""
    try:
        version, _, _, _, known_us, partials, blob = _decode(data)
    except msgspec.MsgspecError:
        version, partials = -1, []
    if version != VERSION or len(partials) != len(hop.uses):
        Tile.decode(data, hop)  # says what is wrong
        raise CodecError("A tile of aggregates can't be read: build it again from its events.")
    return data[: len(data) - len(memoryview(blob))], known_us, partials


def _size(run: _Run) -> int:
    return sum(map(len, run.heads)) * 2 + _ENTRY_BYTES
