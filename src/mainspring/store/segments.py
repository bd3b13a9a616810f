"""Segments: append-only files of records in a folder, one writer each, any number of readers.

Invariant: what `append` returned from is read by everybody, also after the writer was killed at any instant; what was
written in part is never read as a record. A tail is torn, as a kill leaves it, only if no whole frame stands behind it; a
segment that was closed in order has none: its length is noted beside it once its bytes are on the disk, so that what isn't
whole up to there is damage, also after the loss of the machine.
"""

from __future__ import annotations

import fcntl
import filecmp
import itertools
import os
import re
import shutil
import struct
import threading
import time
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from mainspring.errors import ConflictError, InvalidError, NotFoundError, StorageError
from mainspring.store.blobs import write_all
from mainspring.store.frames import HEADER_BYTES, LARGEST_FRAME_BYTES, LARGEST_RECORD_BYTES, header, next_frame
from mainspring.store.space import naming_full_disk

_MAGIC = b"MSSEG\0\0\1"  # its last byte is the format's number
_SUFFIX = ".segment"
_NEW = ".new"
_DAMAGED = ".damaged"  # what was kept of a segment whose whole records were taken from it
_CLOSED = ".closed"  # beside a segment that its writer closed: how many bytes of it were on the disk then
_NAME = re.compile(r"[a-z0-9_]{0,40}")
_FILE = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}(-[a-z0-9_]+)?\.segment")
_KEPT = re.compile(rf"{_FILE.pattern}\{_DAMAGED}(-\d+)?")
_SIZE_BYTES = 64 << 20
_READ_BYTES = 1 << 20
_ABANDONED_S = 3600.0
_WHOLE = "whole.json"  # beside the segments: which of them were found whole, and as what
_Whole = tuple[int, int, int, int]  # number, size and time of change of the file, and where its last whole record ends


class Segment(msgspec.Struct, frozen=True):
    """A file of records: its name, which sorts by the time it was begun, its size, and whether its writer lives."""

    name: str
    size_bytes: int
    live: bool


class SegmentRecord(NamedTuple):
    """A record and where it stands; `end` is where the next one does, the cursor of its segment once it is dealt with."""

    segment: str
    offset: int
    record: bytes

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + HEADER_BYTES + len(self.record)


class Salvaged(NamedTuple):
    """The whole records of a damaged segment, and how many bytes of it are no part of one."""

    records: list[bytes]
    passed_bytes: int


class SegmentWriter:
    """Appends to a segment of its own, which it begins with the first record, and to a new one when that is full.

    For all threads of a process; a forked child begins a segment of its own. The segment is locked as long as the writer
    lives, and the kernel frees the lock with it.
    """

    def __init__(self, folder: str | Path, name: str = "", *, size_bytes: int = _SIZE_BYTES) -> None:
        if _NAME.fullmatch(name) is None:
            raise InvalidError("name", name, "small letters, digits and underscores, 40 at most")
        self.folder = Path(folder)
        self.place = str(folder)
        self._name = name
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._file: _Open | None = None
        self._closing: threading.Thread | None = None
        _writers.add(self)

    def append(self, records: Sequence[bytes]) -> SegmentRecord | None:
        """Write all records in one piece; gives the last one as it stands, None if there are none.

        When it returns, the records outlive this process, though not the loss of the machine.

        Raises:
            InvalidError: a record is larger than 16 MiB.
            StorageError: the disk is full or the folder not writable; nothing of it is kept.
        """
        if not records:
            return None
        data = _framed(records)
        with self._lock:
            try:
                file = self._written(data)
            except OSError:  # named only then: a context manager for each append would cost 3 µs
                with _naming(self.folder):
                    raise
            if file.size_bytes >= self._size_bytes:
                self._close_full()
            return SegmentRecord(file.name, file.size_bytes - HEADER_BYTES - len(records[-1]), records[-1])

    def close(self) -> None:
        """End the segment, so that it counts as closed, with its bytes on the disk; a later append begins another."""
        with self._lock:
            if self._closing is not None:
                self._closing.join()
            self._end(in_order=True)

    def after_fork(self) -> None:
        """In the child: the parent's segment is the parent's."""
        self._lock = threading.Lock()
        self._closing = None
        self._end()

    def _written(self, data: bytes) -> _Open:
        """The segment that it was written to."""
        file = self._file or self._begin()
        start = file.size_bytes
        try:
            write_all(file.handle, data if start else _MAGIC + data)
        except BaseException:
            # A reader may have seen part of it, so that its place is used no more: the next append begins a segment.
            with suppress(OSError):
                os.ftruncate(file.handle, start)
                if not start:
                    os.unlink(self.folder / file.name)
            self._end()
            raise
        file.size_bytes += len(data) + (0 if start else len(_MAGIC))
        return file

    def _begin(self) -> _Open:
        self.folder.mkdir(parents=True, exist_ok=True)
        _sweep(self.folder)
        parts = [f"{time.time_ns() // 1_000:016x}", os.urandom(4).hex(), *([self._name] if self._name else [])]
        name = "-".join(parts) + _SUFFIX
        path = self.folder / name
        handle = os.open(f"{path}{_NEW}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.rename(f"{path}{_NEW}", path)  # only now is it seen, and it is locked
        except BaseException:
            os.close(handle)
            os.unlink(f"{path}{_NEW}")
            raise
        self._file = _Open(name, handle)
        return self._file

    def _close_full(self) -> None:
        """Close the segment while the next one is written: a disk may take seconds for its bytes, and nobody waits for it."""
        file, before = self._file, self._closing
        assert file is not None
        closing = threading.Thread(target=file.close, args=(self.folder, before), daemon=True)
        try:
            closing.start()
        except RuntimeError:  # there are as many threads as there may be, or the interpreter ends
            self._end(in_order=True)
        else:
            self._file, self._closing = None, closing

    def _end(self, *, in_order: bool = False) -> None:
        """Let go of the segment, in order or as a kill does."""
        file, self._file = self._file, None
        if file is not None and in_order:
            file.close(self.folder)
        elif file is not None:
            os.close(file.handle)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self._end()


class _Open:
    """A segment that is being written."""

    def __init__(self, name: str, handle: int) -> None:
        self.name = name
        self.handle = handle
        self.size_bytes = 0

    def close(self, folder: Path, after: threading.Thread | None = None) -> None:
        """Note the length once the bytes are on the disk, and only then free the lock; after what is being closed already."""
        if after is not None:
            after.join()
        with suppress(OSError):  # it is read as one whose writer was killed
            os.fsync(self.handle)
            _note_of(folder / self.name).write_text(str(self.size_bytes))
        fcntl.flock(self.handle, fcntl.LOCK_UN)  # a process that was forked meanwhile may hold the file, too
        os.close(self.handle)


_writers: weakref.WeakSet[SegmentWriter] = weakref.WeakSet()


def _in_child() -> None:
    for writer in list(_writers):
        writer.after_fork()


os.register_at_fork(after_in_child=_in_child)


def list_segments(folder: str | Path) -> list[Segment]:
    """The segments of a folder, those begun first first; one whose writer ended, however it did, is not live.

    What is closed when it is listed changes no more.
    """
    found = []
    for name in _names(Path(folder)):
        with suppress(FileNotFoundError), _opened(Path(folder, name)) as handle:
            live = _is_locked(handle)  # asked before the size
            found.append(Segment(name, os.fstat(handle).st_size, live))
    return found


def read_segments(folder: str | Path, cursor: Mapping[str, int] | None = None) -> Iterator[SegmentRecord]:
    """Every record behind a cursor, segment by segment in the order of `list_segments`; ends where there are no more now.

    The cursor tells for each segment up to where its records were dealt with (`SegmentRecord.end`); one that it doesn't
    name is read from its start. Records of one segment come in the order in which they were appended. A torn tail, as a
    kill leaves it, is passed over; while the writer lives, it may become a record later.

    Raises:
        StorageError: a segment is damaged, or one can't be read.
    """
    folder = Path(folder)
    for name in _names(folder):
        with suppress(FileNotFoundError):  # removed since it was listed
            yield from _records(folder / name, (cursor or {}).get(name, 0))


def read_segment(folder: str | Path, name: str, *, past_damage: bool = False) -> Iterator[SegmentRecord]:
    """Every record of one segment, in the order in which they were appended; a torn tail is passed over.

    With `past_damage` also those behind what is damaged, which is told after the last one.

    Raises:
        NotFoundError: there is none, or it was removed.
        StorageError: it is damaged, or can't be read.
    """
    with _expecting(folder, name):
        yield from _records(Path(folder, name), 0, past_damage=past_damage)


def salvage_segment(folder: str | Path, name: str) -> Salvaged:
    """The whole records of a segment, whatever is damaged before or behind them.

    Raises:
        NotFoundError: there is none, or it was removed.
        StorageError: it is of a newer format, or can't be read.
    """
    path = Path(folder, name)
    with _expecting(folder, name), _opened(path) as handle:
        size, head = os.fstat(handle).st_size, os.pread(handle, len(_MAGIC), 0)
        is_damaged = _damaged_head(path, head) is not None
        records: list[bytes] = []
        with suppress(StorageError):  # which is told after the last one
            for each in _records(path, 0, past_damage=True):
                records.append(each.record)  # noqa: PERF401  # those before the error are kept
    whole = sum(HEADER_BYTES + len(record) for record in records) + (0 if is_damaged else len(head))
    return Salvaged(records, size - whole)


def keep_aside(folder: str | Path, name: str) -> Path:
    """Keep the bytes of a closed segment under a name that no reader looks for, also when it is removed; gives that name.

    It has a number behind it where something else has that name. The bytes are on the disk when it returns.

    Raises:
        ConflictError: its writer lives.
        NotFoundError: there is none, or it was removed.
        StorageError: the disk is full or the folder not writable.
    """
    path = Path(folder, name)
    with _expecting(folder, name), _opened(path) as handle:
        if _is_locked(handle):
            raise ConflictError(f"The segment `{name}` in {folder} is still being written.")
        with _naming(Path(folder)):
            for number in itertools.count(1):
                kept = path.with_name(f"{path.name}{_DAMAGED}{f'-{number}' if number > 1 else ''}")
                if kept.is_file() and filecmp.cmp(path, kept, shallow=False):  # kept by one that was killed then
                    return kept
                if not os.path.lexists(kept):
                    break
            with open(handle, "rb", closefd=False) as file, open(f"{kept}{_NEW}", "wb") as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                os.fsync(copy.fileno())
            os.replace(f"{kept}{_NEW}", kept)
    return kept


def list_kept_aside(folder: str | Path) -> list[Path]:
    """The files that `keep_aside` made."""
    return sorted(each for each in Path(folder).glob(f"*{_SUFFIX}{_DAMAGED}*") if _KEPT.fullmatch(each.name))


def last_record(folder: str | Path, name: str, key: Callable[[bytes], str], most: str) -> bytes | None:
    """Of a segment whose records come in the order of their keys, the last one whose key is not behind `most`, if any.

    It alone is verified, and few keys are asked for: that takes a fraction of a second, however many records there are. Of a
    damaged segment `key` may get bytes that are no record.

    Raises:
        NotFoundError: there is none, or it was removed.
        StorageError: that record is damaged.
    """
    with _expecting(folder, name), _opened(Path(folder, name)) as handle:
        data = os.pread(handle, os.fstat(handle).st_size, 0)
    starts = _starts(data)

    def frame(start: int) -> bytes:
        return data[start : start + HEADER_BYTES + header(data, start)[0]]

    place = bisect_right(starts, most, key=lambda start: key(frame(start)[HEADER_BYTES:])) - 1
    return _verified(folder, name, frame(starts[place]), starts[place]) if place >= 0 else None


def records_holding(folder: str | Path, name: str, any_of: Sequence[bytes]) -> list[bytes]:
    """The records of a segment in which one of some texts of bytes lies, in order; these alone are verified.

    What is damaged elsewhere is not told, also where it hides such a record: that is for `expect_whole` to say.

    Raises:
        NotFoundError: there is none, or it was removed.
        StorageError: one of them is damaged.
    """
    with _expecting(folder, name), _opened(Path(folder, name)) as handle:
        places = sorted(_places(handle, any_of))
        data = os.pread(handle, places[-1][1], 0) if places else b""
        found: list[bytes] = []
        start = end = len(_MAGIC)
        is_found = True
        with suppress(struct.error):  # behind the last frame
            for place, stop in places:
                while end <= place:  # from frame to frame, to the one in which it begins
                    start, is_found = end, False
                    end += HEADER_BYTES + header(data, start)[0]
                if is_found or place < start + HEADER_BYTES or stop > end:
                    continue
                frame = os.pread(handle, min(end - start, LARGEST_FRAME_BYTES), start)
                if len(frame) < end - start:  # torn, or its length is damaged
                    break
                found.append(_verified(folder, name, frame, start))
                is_found = True
    return found


def expect_whole(folder: str | Path, segments: Sequence[Segment]) -> None:
    """Verify every record of all segments of a folder, as they were listed; a torn tail is passed over.

    That takes less than a microsecond for each record, and what was whole is noted in the folder: a closed segment is verified
    once, as long as its file has the same size and time of change, and of a live one what was written since. So what a program
    changes is told, and what the disk itself loses later is not; reading the records tells of it.

    Raises:
        StorageError: one is damaged, or can't be read.
    """
    folder = Path(folder)
    noted = _noted_whole(folder)
    whole: dict[str, _Whole] = {}
    damage: StorageError | None = None
    for segment in segments:
        with suppress(FileNotFoundError):  # removed since it was listed
            status = os.stat(folder / segment.name)
            changed = (
                0 if segment.live else status.st_mtime_ns
            )  # so that a live one is verified as a whole when it is closed
            stamp, before = (status.st_ino, status.st_size, changed), noted.get(segment.name)
            if before is not None and before[:3] == stamp:
                whole[segment.name] = before
                continue
            is_longer = before is not None and segment.live and before[0] == stamp[0] and before[3] <= stamp[1]
            try:
                end = _expect_whole(folder / segment.name, before[3] if before is not None and is_longer else 0)
                if before is not None and before[0] == stamp[0] and end < before[3]:  # what is gone was there
                    raise StorageError(str(folder / segment.name), f"the segment is damaged at byte {end:,}")
            except StorageError as error:
                damage = damage or error
            else:
                whole[segment.name] = (*stamp, end)
    if whole != noted:
        with suppress(OSError):  # it is verified again then
            (folder / _WHOLE).write_bytes(msgspec.json.encode(whole))
    if damage is not None:
        raise damage


def _noted_whole(folder: Path) -> dict[str, _Whole]:
    """The segments that were found whole; none if that can't be read."""
    with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):  # several may have written it at once
        return msgspec.json.decode((folder / _WHOLE).read_bytes(), type=dict[str, _Whole])
    return {}


def _expect_whole(path: Path, start: int) -> int:
    """Verify the records of a segment from a frame on, in a third of the time of reading them; gives where the last one ends.

    What is behind the last whole one is read as everywhere.
    """
    with _opened(path) as handle:
        size = os.fstat(handle).st_size
        if not start and os.pread(handle, len(_MAGIC), 0) == _MAGIC:
            start = len(_MAGIC)
        data = os.pread(handle, max(size - start, 0), start)
    at = whole = 0
    begun: dict[int, int] = {}  # the checksum of a length: few are many records'
    with suppress(struct.error):  # behind the last frame
        while start:
            length, digest = header(data, at)
            before = begun.get(length)
            if before is None:
                before = begun[length] = crc32(data[at : at + 4])
            at += HEADER_BYTES
            if crc32(data[at : at + length], before) != digest:
                break
            whole = at = at + length
    end = start + whole
    for each in _records(path, end):
        end = each.end
    return end


def _places(handle: int, any_of: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Where in a file texts of bytes begin and end."""
    most = max(map(len, any_of), default=1)
    buffer = bytearray(_READ_BYTES + most)
    view = memoryview(buffer)  # memory that is used again: new one costs as much as the search
    held = offset = 0
    while count := os.readv(handle, [view[held:]]):
        size = held + count
        for each in any_of:
            at = buffer.find(each, 0, size)
            while at >= 0:
                if at + len(each) > held:  # else it was told before
                    yield offset + at, offset + at + len(each)
                at = buffer.find(each, at + 1, size)
        held = min(most - 1, size)
        buffer[:held] = buffer[size - held : size]
        offset += size - held


def _verified(folder: str | Path, name: str, frame: bytes, start: int) -> bytes:
    """The record of a frame, which begins there."""
    found = frame[HEADER_BYTES:]
    if crc32(found, crc32(frame[:4])) != header(frame)[1]:
        raise StorageError(str(Path(folder, name)), f"the segment is damaged at byte {start:,}")
    return found


def _starts(data: bytes) -> list[int]:
    """Where the frames begin that are there whole, by their lengths alone."""
    starts: list[int] = []
    at, put = len(_MAGIC), starts.append
    with suppress(struct.error):  # of what is behind the end: three times as fast as looking for it
        while True:
            put(at)
            at += HEADER_BYTES + header(data, at)[0]
    starts.pop()
    if starts and at > len(data):
        starts.pop()
    return starts


def remove_segment(folder: str | Path, name: str) -> None:
    """Remove a closed segment.

    Raises:
        ConflictError: its writer lives.
        NotFoundError: there is none.
    """
    path = Path(folder, name)
    if _FILE.fullmatch(name) is None or not path.exists():
        raise NotFoundError("segment", name, hint=f"It is not in {folder}.")
    with _naming(Path(folder)), _opened(path) as handle:
        if _is_locked(handle):
            raise ConflictError(f"The segment `{name}` in {folder} is still being written.")
        path.unlink(missing_ok=True)
        with suppress(OSError):  # the note is of no use without it
            _note_of(path).unlink()


def _note_of(path: Path) -> Path:
    """Where the length of a segment is noted when it is closed."""
    return path.with_name(path.name + _CLOSED)


def _closed_bytes(path: Path) -> int | None:
    """How long a segment was when its writer closed it; None if that isn't known, as of one whose writer was killed."""
    with suppress(OSError, ValueError):
        return int(_note_of(path).read_bytes())
    return None


def _records(path: Path, start: int, *, past_damage: bool = False) -> Iterator[SegmentRecord]:
    with _opened(path) as handle:
        live = _is_locked(handle)
        closed = None if live else _closed_bytes(path)
        offset, name = max(start, len(_MAGIC)), path.name
        damage = None if start else _damaged_head(path, os.pread(handle, len(_MAGIC), 0))
        if damage is not None and not past_damage:
            raise damage
        buffer = _more(handle, offset, b"")
        while buffer:
            at, size = 0, len(buffer)
            while at + HEADER_BYTES <= size:
                length, digest = header(buffer, at)
                end = at + HEADER_BYTES + length
                record = buffer[at + HEADER_BYTES : end]
                if end > size or crc32(record, crc32(buffer[at : at + 4])) != digest:
                    break
                yield SegmentRecord(name, offset, record)
                offset += end - at
                at = end
            if at:
                buffer = _more(handle, offset, buffer[at:])
                continue
            found = next_frame(handle, offset)  # reads again: a writer that lives may have ended the frame meanwhile
            if found is None and closed is None and (live or _is_torn(buffer)):
                break
            if found != offset:
                said = "What stands before it can be read."
                damage = damage or StorageError(str(path), f"the segment is damaged at byte {offset:,}", said)
            if found is None or (damage is not None and not past_damage):
                break
            offset, buffer = found, _more(handle, found, b"")
        if damage is None and closed is not None and offset < closed:
            said = (
                f"It was closed with {closed:,} bytes and has {os.fstat(handle).st_size:,}. What is left can be read."
            )
            damage = StorageError(str(path), f"the segment is damaged at byte {offset:,}", said)
        if damage is not None:
            raise damage


def _damaged_head(path: Path, head: bytes) -> StorageError | None:
    """What is wrong with the first bytes of a file, if anything is; those of a newer format are refused at once."""
    if _MAGIC.startswith(head):
        return None
    if head[:-1] == _MAGIC[:-1] and head[-1] > _MAGIC[-1]:
        raise StorageError(str(path), f"this is a segment of a newer format ({head[-1]}), or it is damaged at byte 7")
    return StorageError(str(path), "the segment is damaged at byte 0, or this is no segment")


def _more(handle: int, offset: int, held: bytes) -> bytes:
    """At least the whole frame at an offset of a file, as far as it is there; `held` are the first of its bytes."""
    data = held + os.pread(handle, _READ_BYTES, offset + len(held))
    wanted = HEADER_BYTES + int.from_bytes(data[:4], "little") if len(data) >= HEADER_BYTES else 0
    if len(data) < wanted <= LARGEST_FRAME_BYTES:
        data += os.pread(handle, wanted - len(data), offset + len(data))
    return data


def _is_torn(tail: bytes) -> bool:
    """Whether a kill may have left this at the end of a file: not a frame that is whole but for its digest, or longer than any.

    A lost machine leaves zeros.
    """
    frame_bytes = (
        HEADER_BYTES + int.from_bytes(tail[:4], "little") if len(tail) >= HEADER_BYTES else LARGEST_FRAME_BYTES
    )
    return len(tail) < frame_bytes <= LARGEST_FRAME_BYTES or not tail.strip(b"\0")


def _framed(records: Sequence[bytes]) -> bytes:
    """Records as they stand in a segment, one behind the other."""
    parts: list[bytes] = []
    for record in records:
        if len(record) > LARGEST_RECORD_BYTES:
            raise InvalidError("record", f"{len(record):,} bytes", "a record of at most 16 MiB")
        length = len(record).to_bytes(4, "little")
        parts += length, crc32(record, crc32(length)).to_bytes(4, "little"), record
    return b"".join(parts)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _FILE.fullmatch(name))
    except FileNotFoundError:
        return []


def _sweep(folder: Path) -> None:
    """Remove what was killed between making a file and showing it, and the notes of segments that are gone."""
    for path in (*folder.glob(f"*{_SUFFIX}{_NEW}"), *folder.glob(f"*{_SUFFIX}{_CLOSED}")):
        with suppress(OSError):
            is_gone = path.suffix == _NEW or not path.with_suffix("").exists()
            if is_gone and time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _expecting(folder: str | Path, name: str) -> Iterator[None]:
    """A file that isn't there is told as a segment that isn't."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError("segment", name, hint=f"It is not in {folder}.") from error


def _is_locked(handle: int) -> bool:
    """Whether the writer of an open segment lives."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(handle, fcntl.LOCK_UN)
    return False


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Errors of the block name the folder."""
    try:
        with naming_full_disk(folder):
            yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(str(folder), os.strerror(error.errno or 0)) from error
