"""What a script or notebook prints while its run is open: shown as ever, and kept in the run's log.

`sys.stdout` and `sys.stderr` are replaced by streams that hand everything on. What C code and child processes write to the
file descriptors is not seen. A stream whose run has ended only hands on, so runs may end in any order. No fault of the
log's disk reaches who prints.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.secrets import LineRedaction
from mainspring.store.own_work import at_own_work

if TYPE_CHECKING:
    from mainspring.workspace import Workspace

LOG_NAME = "run.log"
_LONGEST_LINE = 65_536
_MOST_WAITING = 1 << 20  # bytes


class LogWaits(UserWarning):
    """What a run prints is shown, and can't be written to its log now."""


def keep_before_removal(workspace: Workspace, run_id: str) -> None:
    """Add what a script whose process is gone printed to its run's log: what the collector does before it tidies up."""
    from mainspring.runs._store import RunStore

    path = workspace.scratch / run_id / LOG_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    store = RunStore(workspace.database, workspace.ledger)
    run = store.get_many([run_id]).get(run_id)
    if run is None:
        return
    before = workspace.blobs.read(run.log) if run.log else b""
    if not before.endswith(text):  # else the file has outlived it: a collector was killed here
        log = workspace.blobs.put(before + text)
        with workspace.database.transaction() as tx:
            store.update(tx, run_id, log=log)
    path.unlink(missing_ok=True)


class Printed:
    """The log of an open run, in a file that is made with its first text; whole lines, redacted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: dict[str, str] = {}
        self._redaction = LineRedaction()
        self._lock = threading.RLock()
        self._is_open = True
        self._waiting = bytearray()
        self._left_out = 0
        self._warned = False
        self._streams = {name: _Echo(getattr(sys, name), name, self) for name in ("stdout", "stderr")}
        for name, stream in self._streams.items():
            replace_stream(name, stream)

    def add(self, text: str, stream: str = "stderr") -> None:
        """Take in what a stream wrote; of a line that is rewritten with carriage returns the last form is kept."""
        with self._lock:
            if not self._is_open:
                return
            *lines, rest = (self._pending.get(stream, "") + text).split("\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], ""
            self._pending[stream] = rest
            if lines:
                self._write(lines)

    @at_own_work()
    def end(self) -> bytes:
        """Give the streams back and the log; a second call gives it again. The file stays until `remove`."""
        for name, stream in self._streams.items():
            stream.is_open = False
            if getattr(sys, name) is stream:
                replace_stream(name, _live(stream))
        with self._lock:
            self._write([rest for rest in self._pending.values() if rest])
            self._pending = {}
            self._is_open = False
            try:
                kept = self._path.read_bytes()
            except FileNotFoundError:
                kept = b""
            return kept + bytes(self._waiting) + self._gap()

    @at_own_work()
    def remove(self) -> None:
        """Remove the file, whose text is kept elsewhere now."""
        with suppress(OSError):  # there is none, or something else is in the folder
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()

    def _write(self, lines: list[str]) -> None:
        text = "".join(f"{self._redaction.line(line.rstrip(chr(13)).rpartition(chr(13))[2])}\n" for line in lines)
        data = text.encode("utf-8", "backslashreplace")
        if self._waiting and (self._left_out or len(self._waiting) + len(data) > _MOST_WAITING):
            self._left_out += len(data)
        else:
            self._waiting += data
        if not self._waiting:
            return
        try:
            self._write_waiting()
        except OSError as error:
            self._warn(error)

    def _write_waiting(self) -> None:
        """Append what waits to the file; on an error what was not written goes on waiting."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            while self._waiting:
                del self._waiting[: os.write(file, self._waiting)]  # a disk may take a part
                if not self._waiting:
                    self._waiting += self._gap()
                    self._left_out = 0
        finally:
            os.close(file)

    def _gap(self) -> bytes:
        return (
            f"[{self._left_out:,} bytes that were printed here could not be kept]\n".encode() if self._left_out else b""
        )

    def _warn(self, error: OSError) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"What the run prints can't be written to `{self._path}`: {error.strerror}. It is shown all the same, and up to "
            f"{_MOST_WAITING:,} bytes of it wait until that is possible. Free some space.",
            LogWaits,
            stacklevel=5,
        )


class _Echo:
    """Stands for stdout or stderr: writes to the real one, then to the log; else it is the real one."""

    def __init__(self, real: Any, name: str, log: Printed) -> None:
        self.real = real
        self.name_of_stream = name
        self.log = log
        self.is_open = True

    def write(self, text: str) -> Any:
        written = self.real.write(text)
        if self.is_open:
            self.log.add(text, self.name_of_stream)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def _live(stream: Any) -> Any:
    """The first stream behind this one that still is somebody's."""
    while isinstance(stream, _Echo) and not stream.is_open:
        stream = stream.real
    return stream


def replace_stream(name: str, stream: Any) -> None:
    """Replace a standard stream, also in the root logger's handlers that hold the present one."""
    present = getattr(sys, name)
    setattr(sys, name, stream)
    logging = sys.modules.get("logging")
    for handler in logging.getLogger().handlers if logging is not None else ():
        if getattr(handler, "stream", None) is present and hasattr(handler, "setStream"):
            handler.setStream(stream)
