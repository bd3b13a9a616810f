"""The next whole frame is that of trying every byte, in a time that doesn't depend on what the bytes are."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.store import frames
from mainspring.store.frames import HEADER_BYTES, header, next_frame


def framed(record: bytes) -> bytes:
    length = len(record).to_bytes(4, "little")
    return length + crc32(record, crc32(length)).to_bytes(4, "little") + record


def tried(data: bytes, offset: int, most: int) -> int | None:
    """The same by trying each byte."""
    for at in range(offset, len(data) - HEADER_BYTES + 1):
        length, _ = header(data, at)
        if length <= most and framed(data[at + HEADER_BYTES :][:length]) == data[at : at + HEADER_BYTES + length]:
            return at
    return None


def found(path: Path, data: bytes, offset: int = 0) -> int | None:
    path.write_bytes(data)
    handle = os.open(path, os.O_RDONLY)
    try:
        return next_frame(handle, offset)
    finally:
        os.close(handle)


pieces = st.one_of(
    st.binary(max_size=12),
    st.integers(0, 40).map(bytes),
    st.binary(max_size=40).map(framed),
    st.binary(max_size=40).map(lambda record: framed(record)[:-1]),
)


@given(st.lists(pieces, max_size=6).map(b"".join), st.integers(0, 30), st.integers(0, 40), st.integers(1, 9))
def test_it_is_that_of_trying_every_byte(data: bytes, offset: int, most: int, at_once: int) -> None:
    sizes: dict[str, Any] = {
        "LARGEST_RECORD_BYTES": most,
        "LARGEST_FRAME_BYTES": HEADER_BYTES + most,
        "_AT_ONCE_BYTES": at_once,
    }
    with patch.multiple(frames, **sizes), TemporaryFile() as file:
        file.write(data)
        file.flush()
        assert next_frame(file.fileno(), offset) == tried(data, offset, most)


@given(st.integers(0, 1 << 17), st.integers(0, 1 << 17), st.integers(0, (1 << 32) - 1))
def test_a_checksum_of_any_piece_is_that_of_its_bytes(start: int, length: int, begun: int) -> None:
    data = bytes(range(251)) * 600
    assert frames._Checksums(data).of(start, min(length, len(data) - start), begun) == crc32(
        data[start : start + length], begun
    )


@pytest.mark.parametrize("size", [0, 1, 70_000, frames.LARGEST_RECORD_BYTES])
def test_one_of_any_size_is_found_behind_much_else(tmp_path: Path, size: int) -> None:
    before = bytes(17 << 20) + b"text " * 100_000
    assert found(tmp_path / "file", before + framed(b"x" * size)) == len(before)
    assert found(tmp_path / "file", before + framed(b"x" * size)[:-1]) is None


def test_bytes_that_all_look_like_long_frames_take_no_longer_for_that(tmp_path: Path) -> None:
    summed = 0

    def counted(data: bytes, begun: int = 0) -> int:
        nonlocal summed
        summed += len(data)
        return crc32(data, begun)

    heads = 1 << 16
    with patch.object(frames, "crc32", counted):
        assert found(tmp_path / "file", b"\x01\x01\x01\0" * heads) is None
    assert summed < 3_000 * heads  # one by one it is 65,793 for each
