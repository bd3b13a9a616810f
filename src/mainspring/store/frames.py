"""Frames, of which segments consist: how a record is laid out, and where the next one stands behind bytes that are none.

A frame is length, CRC-32 of length and record (both little-endian), record.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, repeat
from zlib import crc32

HEADER_BYTES = 8
LARGEST_RECORD_BYTES = 16 << 20
LARGEST_FRAME_BYTES = HEADER_BYTES + LARGEST_RECORD_BYTES
header = struct.Struct("<II").unpack_from
"""The length and the checksum that stand at a place."""

_AT_ONCE_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 10
_POLYNOMIAL = 0xEDB88320  # that of CRC-32, the lowest bit of whose numbers is that of the highest power
_ONE = 1 << 31


def next_frame(handle: int, offset: int) -> int | None:
    """Where in a file the first whole frame stands that begins at an offset or behind it, by its checksum; None if none does.

    Every byte is tried as the first of one, in a time that grows with the file as its size does, whatever lies in it. 32 MiB
    of it are held.

    Raises:
        OSError: the file can't be read.
    """
    while data := os.pread(handle, 2 * LARGEST_FRAME_BYTES, offset):
        checksums = _Checksums(data)
        for at in _plausible(data):
            length, checksum = header(data, at)
            if checksums.of(at + HEADER_BYTES, length, crc32(data[at : at + 4])) == checksum:
                return offset + at
        offset += LARGEST_FRAME_BYTES
    return None


def _plausible(data: bytes) -> Iterator[int]:
    """Where in some bytes a frame may begin that ends in them, by its length, among the first that the largest one takes."""
    import numpy as np  # here, as few segments are damaged

    count = min(len(data) - HEADER_BYTES + 1, LARGEST_FRAME_BYTES)
    empty = crc32(bytes(4))
    for start in range(0, count, _AT_ONCE_BYTES):
        some = min(_AT_ONCE_BYTES, count - start)
        lengths = np.ndarray(some, "<u4", data, start, (1,))  # one that begins at each byte
        checksums = np.ndarray(some, "<u4", data, start + 4, (1,))
        fits = lengths <= np.minimum(len(data) - HEADER_BYTES - np.arange(start, start + some), LARGEST_RECORD_BYTES)
        yield from (start + np.flatnonzero(fits & ((lengths > 0) | (checksums == empty)))).tolist()


class _Checksums:
    """CRC-32 of any piece of some bytes, in a time that doesn't grow with its length."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._upto: list[int] = []  # of all bytes up to each block

    def of(self, start: int, length: int, begun: int) -> int:
        """That of a piece, which goes on with the checksum of what stands before it."""
        end = start + length
        if length < 8 * _BLOCK_BYTES:
            return crc32(self._data[start:end], begun)
        if not self._upto:
            blocks = (self._data[at : at + _BLOCK_BYTES] for at in range(0, len(self._data), _BLOCK_BYTES))
            self._upto = list(accumulate(blocks, lambda before, block: crc32(block, before), initial=0))
        first, last = -(-start // _BLOCK_BYTES), end // _BLOCK_BYTES
        begun = crc32(self._data[start : first * _BLOCK_BYTES], begun)
        # The same bytes change two checksums that differ into two whose difference depends on their number alone.
        begun = self._upto[last] ^ _product(begun ^ self._upto[first], _shifts()[last - first])
        return crc32(self._data[last * _BLOCK_BYTES : end], begun)


@cache
def _shifts() -> list[int]:
    """What so many blocks multiply the difference of two checksums by."""
    block = bytes(_BLOCK_BYTES)
    most = LARGEST_RECORD_BYTES // _BLOCK_BYTES
    return list(accumulate(repeat(crc32(block, _ONE) ^ crc32(block), most), _product, initial=_ONE))


def _product(one: int, other: int) -> int:
    """The product of two polynomials, modulo that of CRC-32."""
    product = 0
    while one:
        if one & _ONE:
            product ^= other
        one = one << 1 & 0xFFFFFFFF
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product
