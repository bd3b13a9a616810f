"""A copy of a file is whole, or an error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mainspring.store.copying import copy_file


def copied(source: Path, target: Path) -> bytes:
    with target.open("wb", buffering=0) as new:
        copy_file(source, new.fileno())
    return target.read_bytes()


@pytest.mark.parametrize("size_bytes", [0, 1, 300_000])
def test_a_copy_within_and_across_file_systems_is_whole(small_disk: Path, tmp_path: Path, size_bytes: int) -> None:
    data = os.urandom(size_bytes)
    (tmp_path / "source").write_bytes(data)
    (small_disk / "source").write_bytes(data)
    assert copied(tmp_path / "source", tmp_path / "here") == data
    assert copied(tmp_path / "source", small_disk / "there") == data
    assert copied(small_disk / "source", small_disk / "near") == data


@pytest.mark.parametrize("across", [False, True])
def test_a_copy_that_the_disk_has_no_room_for_is_an_error(small_disk: Path, tmp_path: Path, across: bool) -> None:
    for folder in (tmp_path, small_disk):
        (folder / "source").write_bytes(bytes(700_000))
    source = (tmp_path if across else small_disk) / "source"
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        copied(source, small_disk / "short")


def test_a_file_whose_length_the_kernel_does_not_tell_is_no_whole_copy(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"only .* of 0 bytes"):
        copied(Path("/proc/self/status"), tmp_path / "copy")
