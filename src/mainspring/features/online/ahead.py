"""Values of an entity whose time is still to come, kept behind the newest one whose time has come.

So what lies in the future neither is served nor hides the present, and is there at the instant it is due. An entity without
such values, which is nearly every one, is stored as one packed value; else as a chain: the highest rank, the head of a packed
value with a bit for a chain, and the values with rising ranks, of which a later one is always due later. The first is empty if
nothing is known of before. By its rank no single value overwrites a chain: whoever writes beside what is stored asks `merged`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import itemgetter, or_

import msgspec

from mainspring.features.online.packing import RANK, is_pushed, rank_times
from mainspring.store.keyvalue import RANK_BYTES

FLAGS, IS_CHAIN = RANK.size + 3, 1 << 6
"""Where the byte of a stored value stands that has the bit of chains."""
_HEAD_BYTES = RANK.size + 4
_HIGHEST = b"\xff" * RANK_BYTES
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


def is_plain(data: bytes) -> bool:
    """Whether one packed value is stored, and no chain."""
    return not data[FLAGS] & IS_CHAIN


def are_plain(values: Iterable[bytes]) -> bool:
    """Whether none of many is a chain: without a call for each."""
    return not reduce(or_, map(itemgetter(FLAGS), values), 0) & IS_CHAIN


def links(data: bytes) -> list[bytes]:
    """The packed values of an entity, by rank; the first is empty if there was nothing before the others."""
    return [data] if is_plain(data) else _decode(data[_HEAD_BYTES:])


def merged(
    stored: bytes | None, values: Iterable[bytes], now_us: int, *, only_pushed: bool = False
) -> bytes | None:  # fmt: skip
    """What is stored with more packed values, without what can't be the answer at any instant from now on; None is nothing.

    Of values with one rank the later one counts. With `only_pushed` what is stored counts as far as it was pushed. The 64 that
    are due first are kept; others are logged.
    """
    before = [b""] if stored is None else links(stored)
    if only_pushed:
        before = [each if each and is_pushed(each) else b"" for each in before]
    given = [each for each in (*before, *values) if each]
    if not given:
        return None
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
    head = bytearray(values[0][RANK_BYTES:_HEAD_BYTES] or bytes(_HEAD_BYTES - RANK_BYTES))
    head[-1] |= IS_CHAIN
    return _HIGHEST + bytes(head) + _encode(values)
