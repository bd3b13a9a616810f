"""Segments lose nothing that was acknowledged and show nothing that is torn, whenever a writer is killed."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import ConflictError, InvalidError, NotFoundError, StorageError
from mainspring.store import (
    SegmentRecord,
    SegmentWriter,
    expect_whole,
    keep_aside,
    last_record,
    list_kept_aside,
    list_segments,
    read_segment,
    read_segments,
    records_holding,
    remove_segment,
    salvage_segment,
    segments,
)
from mainspring.store.frames import LARGEST_RECORD_BYTES
from mainspring.testing._writers import numbered
from mainspring.testing.processes import Child
from mainspring.testing.threads import at_once
from tests.store.test_faults import fill, in_a_second

_WRITERS = "mainspring.testing._writers"


def records(folder: Path) -> list[bytes]:
    return [found.record for found in read_segments(folder)]


def until(told: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 60
    while not told():
        assert time.monotonic() < end
        time.sleep(0.001)


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.segment")
    return path


def test_records_come_back_as_they_were_and_in_order(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "not" / "yet", "log")
    assert records(tmp_path / "not" / "yet") == []
    pieces = [[b""], [b"a", b"\0" * 20, b""], [os.urandom(3 << 20)], [b"b"]]
    ends = [writer.append(piece) for piece in pieces]
    assert writer.append([]) is None
    found = list(read_segments(writer.folder))
    assert [each.record for each in found] == [record for piece in pieces for record in piece]
    assert [end for end in ends if end not in found] == []
    assert found[0].offset == 8
    assert [after.offset for after in found[1:]] == [before.end for before in found[:-1]]
    writer.close()
    assert list(read_segments(writer.folder)) == found


def test_a_reader_goes_on_from_its_cursor(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, size_bytes=2_000)
    cursor: dict[str, int] = {}
    seen = []
    for number in range(60):
        writer.append([numbered("w", number)])
        for found in read_segments(tmp_path, cursor):
            seen.append(found.record)
            cursor[found.segment] = found.end
    assert seen == [numbered("w", number) for number in range(60)]
    assert len(cursor) > 5
    assert list(read_segments(tmp_path, cursor)) == []
    writer.close()


def test_segments_are_full_or_closed_or_live(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, size_bytes=100)
    writer.append([b"x" * 200])
    writer.append([b"y"])
    until(lambda: not list_segments(tmp_path)[0].live)  # its bytes go to the disk while the next one is written
    first, second = list_segments(tmp_path)
    assert (tmp_path / f"{first.name}.closed").read_text() == "216"
    assert (first.live, second.live) == (False, True)
    assert (first.size_bytes, second.size_bytes) == (216, 17)
    with pytest.raises(ConflictError, match="still being written"):
        remove_segment(tmp_path, second.name)
    remove_segment(tmp_path, first.name)
    for name in (first.name, "../escape.segment"):
        with pytest.raises(NotFoundError):
            remove_segment(tmp_path, name)
    assert records(tmp_path) == [b"y"]
    writer.close()
    writer.append([b"z"])
    assert [each.live for each in list_segments(tmp_path)] == [False, True]
    assert records(tmp_path) == [b"y", b"z"]
    writer.close()


@pytest.mark.parametrize("name", ["A", "a/b", "a-b", "x" * 41])
def test_a_name_is_plain_and_a_record_not_too_large(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidError):
        SegmentWriter(tmp_path, name)
    with pytest.raises(InvalidError, match="16 MiB"):
        SegmentWriter(tmp_path).append([b"a", bytes((16 << 20) + 1)])
    assert list(tmp_path.iterdir()) == []


def test_every_torn_tail_is_passed_over(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"first", b"second", b"\0" * 30])
    kill(writer)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    ends = [8, *(found.end for found in read_segments(tmp_path))]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        assert len(records(tmp_path)) == sum(end <= size for end in ends[1:]), size
    path.write_bytes(whole + bytes(5_000))  # as a lost machine may leave it
    assert len(records(tmp_path)) == 3


def test_damage_is_told(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"first", b"second", b"third"])
    writer.close()
    path = only_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"second", b"sec0nd"))
    reading = read_segments(tmp_path)
    assert next(reading).record == b"first"
    with pytest.raises(StorageError, match=f"{path.name}: the segment is damaged at byte 21"):
        next(reading)
    path.write_bytes(b"something else" + whole)
    with pytest.raises(StorageError, match="no segment"):
        records(tmp_path)


def test_threads_share_a_writer_and_a_forked_child_has_one_of_its_own(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    at_once(*(lambda index=index: [writer.append([b"%d" % index] * 3) for _ in range(50)] for index in range(4)))
    pid = os.fork()
    if not pid:
        writer.append([b"child"])
        os._exit(0)
    os.waitpid(pid, 0)
    writer.append([b"parent"])
    assert [each.live for each in list_segments(tmp_path)] == [True, False]
    assert sorted(records(tmp_path)) == sorted([b"%d" % index for index in range(4)] * 150 + [b"child", b"parent"])
    writer.close()


def test_what_was_acknowledged_is_there_whenever_writers_are_killed(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    cursor: dict[str, int] = {}
    seen: dict[str, list[bytes]] = defaultdict(list)

    def read() -> None:
        for found in read_segments(tmp_path, cursor):
            seen[found.record.partition(b"/")[0].decode()].append(found.record)
            cursor[found.segment] = found.end

    told = {}
    for round_number in range(2):
        names = [f"w{round_number}{letter}" for letter in "abc"]
        with ExitStack() as stack:
            children = [
                stack.enter_context(Child(f"{_WRITERS}:append_records", str(tmp_path), name, 500_000)) for name in names
            ]
            first = [child.read() for child in children]
            until = time.monotonic() + chance.random() * 0.15
            while time.monotonic() < until:
                read()
            for child, name, line in zip(children, names, first, strict=True):
                child.signal(signal.SIGKILL)
                while line:
                    told[name], line = int(line), child.read()
    assert not any(each.live for each in list_segments(tmp_path)), f"seed {seed}"
    read()
    for name, count in told.items():
        assert len(seen[name]) >= count, f"seed {seed}"
        assert seen[name] == [numbered(name, number) for number in range(len(seen[name]))], f"seed {seed}"
    assert sum(map(len, seen.values())) == len(records(tmp_path))
    for each in list_segments(tmp_path):
        remove_segment(tmp_path, each.name)
    assert list(tmp_path.glob("*.segment")) == []


def test_what_was_killed_before_it_was_seen_is_swept(tmp_path: Path) -> None:
    old, young = (tmp_path / f"{number:016x}-00000000.segment.new" for number in range(2))
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    SegmentWriter(tmp_path).append([b"a"])
    assert (old.exists(), young.exists(), records(tmp_path)) == (False, True, [b"a"])


def test_a_full_disk_is_named_and_the_segment_as_before(small_disk: Path) -> None:
    folder = small_disk / "log"
    writer = SegmentWriter(folder)
    writer.append([b"kept"])
    before = only_file(folder).read_bytes()
    fill(small_disk)
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(StorageError, match=f"{folder}.*full"):
            writer.append([b"y" * 3_000, b"x" * 300_000])
    assert in_a_second(started)
    assert only_file(folder).read_bytes() == before
    (small_disk / "ballast").unlink()
    writer.append([b"again"])
    assert records(folder) == [b"kept", b"again"]
    writer.close()


def test_a_read_only_folder_is_named_and_read(small_disk: Path) -> None:
    writer = SegmentWriter(small_disk / "log")
    writer.append([b"kept"])
    writer.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert records(small_disk / "log") == [b"kept"]
    with pytest.raises(StorageError, match=f"{small_disk}/log: Read-only"):
        writer.append([b"more"])
    with pytest.raises(StorageError, match=f"{small_disk}/log: Read-only"):
        remove_segment(small_disk / "log", list_segments(small_disk / "log")[0].name)


@given(st.lists(st.text("abc", max_size=3)), st.text("abc", max_size=3), st.integers(0, 12))
def test_the_last_record_up_to_a_key_is_that_of_reading_them_all(keys: list[str], most: str, torn: int) -> None:
    keys.sort()
    with tempfile.TemporaryDirectory() as folder:
        writer = SegmentWriter(folder)
        writer.append([f"{key} {place}".encode() for place, key in enumerate(keys)] or [b"~"])
        path = only_file(Path(folder))
        with path.open("ab") as file:
            file.write(b"\x20\0\0\0 torn by a kill"[:torn])
        found = last_record(folder, path.name, lambda record: record.decode().partition(" ")[0], most)
        writer.close()
    place = bisect_right(keys, most) - 1
    assert found == (f"{keys[place]} {place}".encode() if place >= 0 else None)


def test_a_damaged_record_is_not_given_and_another_one_is(tmp_path: Path) -> None:
    with ExitStack() as stack:
        writer = SegmentWriter(tmp_path)
        stack.callback(writer.close)
        writer.append([b"a", b"b", b"c"])
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert last_record(tmp_path, path.name, bytes.decode, "b") == b"b"
    with pytest.raises(StorageError, match="damaged at byte 26"):
        last_record(tmp_path, path.name, bytes.decode, "y")
    with pytest.raises(NotFoundError):
        last_record(tmp_path, "0" * 16 + "-00000000.segment", bytes.decode, "b")


def read_in_part(folder: str, name: str, *, past_damage: bool) -> tuple[list[SegmentRecord], bool]:
    """What can be read of a segment, and whether it is told as damaged."""
    found: list[SegmentRecord] = []
    try:
        for each in read_segment(folder, name, past_damage=past_damage):
            found.append(each)  # noqa: PERF402  # it may end with an error
    except StorageError as error:
        assert "damaged at byte" in str(error)  # noqa: PT017  # the records before it are looked at, too
        return found, True
    return found, False


def is_whole(folder: str | Path) -> bool:
    """Whether nothing in a folder is told as damaged."""
    try:
        expect_whole(folder, list_segments(folder))
    except StorageError as error:
        assert "damaged at byte" in str(error)  # noqa: PT017  # whether it is raised is the answer
        return False
    return True


damages = st.one_of(
    st.integers(0, 7).map(lambda bit: lambda data: bytes([data[0] ^ 1 << bit]) + data[1:]),
    st.integers(1, 60).map(lambda count: lambda data: bytes(min(count, len(data))) + data[count:]),
    st.binary(min_size=1, max_size=12).map(lambda noise: lambda data: (noise + data[len(noise) :])[: len(data)]),
    st.integers(0, LARGEST_RECORD_BYTES).map(lambda size: lambda data: size.to_bytes(4, "little") + data[4:]),
)


@given(
    st.lists(st.one_of(st.text("abc\0", max_size=6).map(str.encode), st.binary(max_size=40)), min_size=1, max_size=8),
    damages, st.data(), st.booleans(), st.integers(8, 40),
)  # fmt: skip
def test_whatever_is_damaged_the_whole_records_behind_it_are_read_and_it_is_told(
    records: list[bytes], damage: Callable[[bytes], bytes], data: st.DataObject, live: bool, read_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, patch.object(segments, "_READ_BYTES", read_bytes):
        writer = SegmentWriter(folder)
        writer.append(records)
        path = only_file(Path(folder))
        before, _ = read_in_part(folder, path.name, past_damage=False)
        whole = path.read_bytes()
        starts = [each.offset for each in before]
        place = data.draw(st.sampled_from([*starts, *starts, *range(8, len(whole) - 4)]))
        harmed = whole[:place] + damage(whole[place:])
        assert len(harmed) >= len(whole)
        harmed = harmed[: len(whole)]
        path.write_bytes(harmed)
        if not live:
            writer.close()
        intact = [each for each in before if harmed[each.offset : each.end] == whole[each.offset : each.end]]
        read, is_told = read_in_part(folder, path.name, past_damage=True)
        stopped, is_told_at_once = read_in_part(folder, path.name, past_damage=False)
        is_told_unread = not is_whole(folder)
        writer.close()
    assert read == intact
    assert is_told_unread == is_told
    assert stopped == intact[: len(stopped)]
    assert is_told == is_told_at_once
    assert is_told or intact == before[: len(intact)]  # else what is left out would be removed
    assert is_told or stopped == intact


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("harmed", [range(at, at + 1) for at in range(7)] + [range(7, 9), range(8), range(4096)])
def test_whole_records_are_read_behind_a_damaged_head_and_it_is_told(tmp_path: Path, harmed: range, live: bool) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([os.urandom(50) for _ in range(200)])
    path = only_file(tmp_path)
    before = list(read_segment(tmp_path, path.name))
    data = bytearray(path.read_bytes())
    data[harmed.start : harmed.stop] = (b"Z" if len(harmed) == 1 else b"\0") * len(harmed)
    path.write_bytes(data)
    if not live:
        writer.close()
    found, is_told = read_in_part(str(tmp_path), path.name, past_damage=True)
    assert found == [each for each in before if each.offset >= harmed.stop]
    assert is_told
    assert read_in_part(str(tmp_path), path.name, past_damage=False) == ([], True)
    assert not is_whole(tmp_path)
    writer.close()


def test_a_segment_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"a"])
    writer.close()
    path = only_file(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:7] + b"\2" + data[8:])
    for past_damage in (False, True):
        with pytest.raises(StorageError, match="newer format"):
            list(read_segment(tmp_path, path.name, past_damage=past_damage))
    with pytest.raises(StorageError, match="newer format"):
        salvage_segment(tmp_path, path.name)


def test_what_is_salvaged_is_whole_and_the_other_bytes_are_counted_and_kept(small_disk: Path) -> None:
    folder = small_disk / "log"
    writer = SegmentWriter(folder)
    writer.append([b"first", b"second", b"third" * 10_000])
    path = only_file(folder)
    with pytest.raises(ConflictError, match="still being written"):
        keep_aside(folder, path.name)
    writer.close()
    assert salvage_segment(folder, path.name) == ([b"first", b"second", b"third" * 10_000], 0)
    harmed = path.read_bytes().replace(b"second", b"sec0nd") + b"torn"
    path.write_bytes(harmed)
    assert salvage_segment(folder, path.name) == ([b"first", b"third" * 10_000], 8 + len(b"second") + len(b"torn"))
    fill(small_disk)
    with pytest.raises(StorageError, match=f"{folder}.*full"):
        keep_aside(folder, path.name)
    assert list_kept_aside(folder) == []
    (small_disk / "ballast").unlink()
    kept = keep_aside(folder, path.name)
    assert (keep_aside(folder, path.name), list_kept_aside(folder)) == (kept, [kept])
    remove_segment(folder, path.name)
    assert (kept.read_bytes(), list_segments(folder)) == (harmed, [])
    for missing in (keep_aside, salvage_segment):
        with pytest.raises(NotFoundError):
            missing(folder, path.name)


def test_what_is_there_is_verified_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(tmp_path)
    verified: list[str] = []
    starts: list[int] = []
    verify = segments._expect_whole

    def noted(path: Path, start: int) -> int:
        verified.append(path.name)
        starts.append(start)
        return verify(path, start)

    monkeypatch.setattr(segments, "_expect_whole", noted)

    def now_verified() -> list[str]:
        verified.clear()
        expect_whole(tmp_path, list_segments(tmp_path))
        return list(verified)

    for record in (b"closed", b"live"):
        writer.close()
        writer.append([record])
    closed, live = (each.name for each in list_segments(tmp_path))
    assert [now_verified() for _ in range(2)] == [[closed, live], []]
    more = writer.append([b"more"])
    assert now_verified() == [live]
    assert more is not None
    assert starts == [0, 0, more.offset], "of a live one what was written since"
    writer.close()
    assert [now_verified() for _ in range(2)] == [[live], []]
    (tmp_path / "whole.json").write_bytes(b'{"a": [\xff')
    assert [now_verified() for _ in range(2)] == [[closed, live], []]
    path = tmp_path / closed
    path.write_bytes(path.read_bytes().replace(b"closed", b"CLOSED"))
    os.utime(path, (0, 0))  # a clock of the disk may not have gone on since
    for _ in range(2):
        with pytest.raises(StorageError, match=f"{closed}: the segment is damaged at byte 8"):
            now_verified()
        assert verified == [closed]
    remove_segment(tmp_path, closed)
    assert now_verified() == []


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.data(), st.booleans())
def test_what_is_cut_off_is_torn_and_what_stands_before_it_is_read(
    records: list[bytes], data: st.DataObject, live: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = SegmentWriter(folder)
        writer.append(records)
        path = only_file(Path(folder))
        before = list(read_segment(folder, path.name))
        size = data.draw(st.integers(0, before[-1].end))
        os.truncate(path, size)
        if not live:
            kill(writer)
        assert list(read_segment(folder, path.name)) == [each for each in before if each.end <= size]
        assert is_whole(folder)
        writer.close()


@pytest.mark.parametrize("flipped", range(32))
def test_a_damaged_length_of_the_last_record_is_told_of_a_segment_that_was_closed(tmp_path: Path, flipped: int) -> None:
    closed, killed = tmp_path / "closed", tmp_path / "killed"
    writers = [SegmentWriter(closed), SegmentWriter(killed), SegmentWriter(tmp_path / "full", size_bytes=1)]
    for writer in writers:
        writer.append([b"first"])
        writer.append([b"x" * 300])
    writers[0].close()
    kill(writers[1])
    writers[2].close()  # when it returns, those that were full are closed, too
    for path in (only_file(closed), only_file(killed), max((tmp_path / "full").glob("*.segment"))):
        data = bytearray(path.read_bytes())
        place = data.index(b"x" * 300) - 8
        data[place + flipped // 8] ^= 1 << flipped % 8
        path.write_bytes(data)
        reaches_beyond = 300 < int.from_bytes(data[place : place + 4], "little") <= LARGEST_RECORD_BYTES
        is_told = path.parent != killed or not reaches_beyond  # else a kill may have left it so
        assert read_in_part(str(path.parent), path.name, past_damage=True)[1] == is_told
        assert is_whole(path.parent) != is_told


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data(), st.booleans())
def test_a_segment_that_was_closed_in_order_has_no_torn_tail(
    records: list[bytes], data: st.DataObject, has_zeros: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = SegmentWriter(folder)
        writer.append([*records, b"last"])
        writer.close()
        path = only_file(Path(folder))
        before, whole = list(read_segment(folder, path.name)), path.read_bytes()
        size = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:size] + (bytes(len(whole) - size) if has_zeros else b""))
        left = [each for each in before if each.end <= size or (has_zeros and not whole[size : each.end].strip(b"\0"))]
        found, is_told = read_in_part(folder, path.name, past_damage=True)
        assert is_told
        assert [each for each in found if each in before] == left or size < 8, "the head may be damaged, too"
        assert not is_whole(folder)
        assert read_in_part(folder, path.name, past_damage=False)[1]


def test_the_length_of_a_segment_is_noted_once_its_bytes_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[bool] = []

    def sync(handle: int) -> None:
        assert os.fstat(handle).st_size == 8 + 8 + len(b"first")
        noted.append(any(tmp_path.glob("*.closed")))
        if len(noted) > 1:
            raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fsync", sync)
    for closed in (1, 2):
        writer = SegmentWriter(tmp_path)
        writer.append([b"first"])
        writer.close()
        assert len(noted) == closed
        if closed == 1:
            remove_segment(tmp_path, only_file(tmp_path).name)
    assert noted == [False, False]
    assert list(tmp_path.glob("*.closed")) == [], "of what isn't known to be on the disk nothing is noted"
    assert records(tmp_path) == [b"first"]


def test_full_segments_are_closed_behind_the_back_of_who_appends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_sync = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: may_sync.wait(60))
    writer = SegmentWriter(tmp_path, size_bytes=1)
    for number in range(3):
        writer.append([b"%d" % number])
    assert [each.live for each in list_segments(tmp_path)] == [True] * 3
    with pytest.raises(ConflictError, match="still being written"):
        remove_segment(tmp_path, list_segments(tmp_path)[0].name)
    assert records(tmp_path) == [b"0", b"1", b"2"]
    child = os.fork()
    if not child:  # holds the files, too
        time.sleep(60)
        os._exit(0)
    try:
        may_sync.set()
        writer.close()
        assert [each.live for each in list_segments(tmp_path)] == [False] * 3
        assert len(list(tmp_path.glob("*.closed"))) == 3
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_kept_aside_replaces_nothing(tmp_path: Path, is_folder: bool) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"first"])
    writer.close()
    path = only_file(tmp_path)
    taken = path.with_name(path.name + ".damaged")
    if is_folder:
        taken.mkdir()
    else:
        taken.write_bytes(b"others")
    kept = keep_aside(tmp_path, path.name)
    assert (kept.name, kept.read_bytes()) == (f"{taken.name}-2", path.read_bytes())
    assert keep_aside(tmp_path, path.name) == kept
    assert list_kept_aside(tmp_path) == [taken, kept]
    note = path.with_name(path.name + ".closed")
    note.unlink()
    note.mkdir()  # which tells nothing
    assert [each.record for each in read_segment(tmp_path, path.name)] == [b"first"]
    remove_segment(tmp_path, path.name)
    assert list_segments(tmp_path) == []


def test_the_note_of_a_closed_segment_goes_with_it(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"first"])
    writer.close()
    path = only_file(tmp_path)
    (note,) = tmp_path.glob("*.closed")
    assert int(note.read_text()) == path.stat().st_size
    remove_segment(tmp_path, path.name)
    assert list(tmp_path.iterdir()) == []
    note.write_text("13")  # as a process leaves it that is killed there
    os.utime(note, (0, 0))
    writer.append([b"second"])
    assert not note.exists()
    writer.append([b"third"])
    kill(writer)
    assert list(tmp_path.glob("*.closed")) == []
    assert records(tmp_path) == [b"second", b"third"]


def kill(writer: SegmentWriter) -> None:
    """End a writer as the end of its process does: its lock goes, and nothing is noted."""
    writer.after_fork()


def test_zeros_are_torn_only_if_nothing_whole_stands_behind_them(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"first", b"x" * (3 << 20), b"last"])
    kill(writer)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:21] + bytes(3 << 20) + whole[21 + (3 << 20) :])
    assert read_in_part(str(tmp_path), path.name, past_damage=False)[1]
    path.write_bytes(whole[:21] + bytes(3 << 20))
    assert records(tmp_path) == [b"first"]


def test_a_length_that_no_writer_writes_is_damage_and_no_torn_tail(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"a", b"needle", b"c"])
    writer.close()
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[20:21], data[17:20] = b"\xff", b"\0\0\0"
    path.write_bytes(data)
    assert records_holding(tmp_path, path.name, [b"needle"]) == []
    with pytest.raises(StorageError, match="damaged at byte 17"):
        records(tmp_path)


@given(
    st.lists(st.text("abc\0", max_size=6).map(str.encode), max_size=8),
    st.lists(st.text("abc\0", min_size=1, max_size=3).map(str.encode)),
    st.integers(1, 40),
    st.integers(0, 12),
)
def test_records_that_hold_bytes_are_those_of_reading_them_all(
    records: list[bytes], any_of: list[bytes], read_bytes: int, torn: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = SegmentWriter(folder)
        writer.append(records)
        writer.close()
        for segment in list_segments(folder):
            whole = [each.record for each in read_segment(folder, segment.name)]
            with Path(folder, segment.name).open("ab") as file:
                file.write(b"\x20\0\0\0 abc\0aa a kill"[:torn])
            expected = [each for each in whole if any(one in each for one in any_of)]
            with patch.object(segments, "_READ_BYTES", read_bytes):
                assert records_holding(folder, segment.name, any_of) == expected


def test_a_live_segment_is_verified_as_a_whole_when_it_is_closed(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"first"])
    assert is_whole(tmp_path)
    path = only_file(tmp_path)
    with path.open("r+b") as file:
        file.seek(path.read_bytes().index(b"first"))
        file.write(b"F")
    assert is_whole(tmp_path), "of a live one only what came since is read again"
    writer.append([b"second"])
    assert is_whole(tmp_path)
    writer.close()
    assert not is_whole(tmp_path)


def test_a_record_that_was_there_and_is_gone_is_told(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([b"first"])
    last = writer.append([b"last"])
    writer.close()
    assert is_whole(tmp_path)
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    assert last is not None
    data[last.offset + 1] ^= 1  # its length reaches beyond the end, as that of a torn record
    path.write_bytes(data)
    os.utime(path, (0, 0))
    assert not is_whole(tmp_path)
