"""Values of an entity whose time is still to come, kept behind the newest one whose time has come.

So what lies in the future neither is served nor hides the present, and is there at the instant it is due. An entity without
such values, which is nearly every one, is stored as one packed value; else as a chain: the rank of its first value, the head of
a packed value with a bit for a chain, and the values with rising ranks, of which a later one is always due later. The first
is empty if nothing is known of before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import msgspec

from mainspring.features.online.packing import RANK, rank_times
from mainspring.store.keyvalue import RANK_BYTES

FLAGS, IS_CHAIN = RANK.size + 3, 1 << 6
"""Where the byte of a stored value stands that has the bit of chains."""
_HEAD_BYTES = RANK.size + 4
_NO_RANK = bytes(RANK_BYTES)
_MOST = 64
_log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


def due_us(data: bytes) -> int:
    """From when on a packed value is true and known."""
    return max(rank_times(data))


def as_of(data: bytes, at_us: int) -> bytes | None:
    """The packed value that is true and known at an instant, None if there was none yet.

    If what is stored is newer and what was before it is not kept, it is the oldest one that is.
    """
    values = links(data)
    if len(values) == 1:
        return data
    return next((value for value in reversed(values) if value and due_us(value) <= at_us), values[0] or None)


def links(data: bytes) -> list[bytes]:
    """The packed values of an entity, by rank; the first is empty if there was nothing before the others."""
    return _decode(data[_HEAD_BYTES:]) if data[FLAGS] & IS_CHAIN else [data]


def merged(stored: bytes | None, values: Iterable[bytes], now_us: int) -> bytes:
    """What is stored with more packed values, without what can't be the answer at any instant from now on.

    Of values with one rank the later one counts. The 64 that are due first are kept; others are logged.
    """
    before = [b""] if stored is None else links(stored)
    given = [each for each in (*before, *values) if each]
    kept: list[bytes] = []
    earliest_us: int | None = None
    for _, value in sorted(enumerate(given), key=lambda pair: (pair[1][:RANK_BYTES], pair[0]), reverse=True):
        due = due_us(value)
        if earliest_us is None or due < earliest_us:
            kept.append(value)
            earliest_us = due
        if due <= now_us:
            break
    kept.reverse()
    if due_us(kept[0]) > now_us and not before[0]:
        kept.insert(0, b"")
    if left := len(kept[_MOST:]):
        _log.warning(
            "an entity has %d values ahead of the present; the %d that are due last are left out", len(kept), left
        )
    return _chained(kept[:_MOST])


def _chained(values: Sequence[bytes]) -> bytes:
    if len(values) == 1:
        return values[0]
    first = values[0][:RANK_BYTES] or _NO_RANK
    head = bytearray(values[0][RANK_BYTES:_HEAD_BYTES] or bytes(_HEAD_BYTES - RANK_BYTES))
    head[-1] |= IS_CHAIN
    return first + bytes(head) + _encode(values)
