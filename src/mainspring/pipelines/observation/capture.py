"""What a step prints, in its log file as it prints it.

Inline, `sys.stdout` and `sys.stderr` are replaced by streams that find the task's log by a ContextVar. In a worker the
file descriptors 1 and 2 are turned to a file: C code and child processes are captured, and a kill at any instant loses
nothing. With a redaction that file is a raw one beside the log, read along while the step runs; `absorb` turns it into
the log if the worker died.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from glob import escape as glob_escape
from pathlib import Path
from types import ModuleType
from typing import TextIO

from mainspring.pipelines.observation.imports import on_import
from mainspring.runs.printed import replace_stream
from mainspring.secrets import LineRedaction

Redact = Callable[[str], str]
Tee = Callable[[str], None]

_LONGEST_LINE = 65_536
_SHORT = 1_024  # a line that is written anew with each piece of it
_MOST_UNWRITTEN = 2_048  # characters of an unfinished line, which a kill loses
_FOLLOW_EVERY_S = 0.05
_RAW = ".raw"
_LINE_BUFFERED = 1  # _IOLBF in stdio.h, on Linux and macOS
_LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"


@contextlib.contextmanager
def capture(path: Path, tee: Tee | None = None, *, fd: bool = False, redact: Redact | None = None) -> Iterator[None]:
    """Append what is written to stdout and stderr inside the block to the file, as it is written.

    `tee` is called with each finished line, redacted and without its line end. Inline, what it prints goes to the real
    streams; with `fd=True` it runs in a thread of its own and must not print. A line that is rewritten with carriage
    returns (a progress bar) is kept in its last form. Records of `logging` at INFO and above are printed to stderr
    where nobody has set up a handler. Inline captures may nest and run in threads at once; `fd=True` takes the whole
    process and must not overlap with another.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_descriptors(path, tee, redact) if fd else _streams(path, tee, redact))
        stack.enter_context(_last_resort)
        yield


def absorb(path: Path, redact: Redact | None = None) -> None:
    """Finish the log of a worker that died: make its last part anew from its raw file, if it left one, and remove that.

    Repeating it is harmless; a log without a raw file is complete already.
    """
    for raw in _raws(path):
        start = int(raw.name[len(path.name) + 1 : -len(_RAW)])
        finished = path.with_name(path.name + ".absorbed")
        finished.write_bytes(path.read_bytes()[:start] if path.exists() else b"")
        with _Log(finished, None, redact) as log:
            log.write(raw.read_text("utf-8", "replace"), None)
        os.replace(finished, path)
        raw.unlink(missing_ok=True)


def has_raw(path: Path) -> bool:
    """Whether a worker died, or is at work, whose log `absorb` would finish."""
    return any(True for _ in _raws(path))


def _raws(path: Path) -> Iterator[Path]:
    return path.parent.glob(f"{glob_escape(path.name)}.*{_RAW}")


class _Log:
    """A log file: whole lines redacted, the unfinished one visible at once and rewritten as it grows.

    Of a long one the last part may not be there yet: an eighth of it, and never more than 2,048 characters.
    It is made with its first text: most steps print nothing, and making a file is the dearest call of a small step.
    """

    def __init__(self, path: Path, tee: Tee | None, redact: Redact | None) -> None:
        self._path = path
        self._file = -1
        self._end = 0
        self._is_over = False
        self._tee, self._redaction = tee, LineRedaction(redact or str)
        self._pending = ""
        self._written = ""  # of the unfinished line
        self._owner: object = None
        self._lock = threading.RLock()

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._pending:
                self._finish(self._pending)
            self._is_over = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def write(self, text: str, owner: object) -> None:
        """Add what one stream wrote; another stream's unfinished line is ended first."""
        with self._lock:
            if self._is_over:  # a thread that outlived its step
                return
            if self._pending and owner is not self._owner:
                self._finish(self._pending)
                self._pending = ""
            self._owner = owner
            *lines, rest = (self._pending + text).split("\n")
            for line in lines:
                self._finish(line)
            body = rest.rstrip("\r")  # a return at the end leaves the line standing until more is written
            self._pending = body.rpartition("\r")[2] + rest[len(body) : len(body) + 1]
            if len(self._pending) > _LONGEST_LINE:
                self._finish(self._pending)
                self._pending = ""
            if self._pending and self._is_due(self._pending):
                self._put(self._redaction.part(self._shown(self._pending)))
                self._written = self._pending

    def _is_due(self, line: str) -> bool:
        """Whether an unfinished line is written anew, all of which is looked through then: a long one not for each piece."""
        grown = len(line) - len(self._written)
        return (
            len(line) <= _SHORT
            or grown > min(len(self._written) // 8, _MOST_UNWRITTEN)
            or not line.startswith(self._written)
        )

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = os.lseek(self._file, 0, os.SEEK_END)

    @staticmethod
    def _shown(line: str) -> str:
        return line.rstrip("\r").rpartition("\r")[2]

    def _finish(self, line: str) -> None:
        shown = self._redaction.line(self._shown(line))
        length = self._put(shown + "\n")  # which may have to find the end first
        self._written = ""
        self._end += length
        if self._tee is not None:
            token = _log.set(None)
            try:
                self._tee(shown)
            finally:
                _log.reset(token)

    def _put(self, text: str) -> int:
        """Write over the unfinished line."""
        data = text.encode("utf-8", "backslashreplace")
        if self._file < 0:
            self._open()
        os.pwrite(self._file, data, self._end)
        os.ftruncate(self._file, self._end + len(data))
        return len(data)


# The log of the task that this code belongs to: none, inside a tee or outside any capture.
_log: ContextVar[_Log | None] = ContextVar("log")
_open: list[_Log] = []  # as sys.stdout is one per process, so is the list of those who share it
_switch = threading.RLock()


def _current_log() -> _Log | None:
    """By the context; in a thread that has none, the only log of the process."""
    try:
        return _log.get()
    except LookupError:
        return _open[-1] if len(_open) == 1 else None


class _Routed(io.TextIOBase):
    """Stands for stdout or stderr while anything is captured."""

    def __init__(self, real: TextIO) -> None:
        self.real = real

    def write(self, text: str) -> int:
        log = _current_log()
        if log is None:
            return self.real.write(text)
        log.write(text, self)
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def flush(self) -> None:
        if not self.real.closed:
            self.real.flush()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.real.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property here, an attribute in the stubs
        return "utf-8"

    @property
    def buffer(self) -> io.BufferedIOBase:
        return _Bytes(self)


class _Bytes(io.BufferedIOBase):
    """`sys.stdout.buffer` of a captured stream."""

    def __init__(self, stream: _Routed) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes alone, as the text layer above gives
        self._stream.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)

    def writable(self) -> bool:
        return True


@contextlib.contextmanager
def _streams(path: Path, tee: Tee | None, redact: Redact | None) -> Iterator[None]:
    with _Log(path, tee, redact) as log:
        with _switch:
            _open.append(log)
            for name in ("stdout", "stderr"):
                if not isinstance(getattr(sys, name), _Routed):
                    replace_stream(name, _Routed(getattr(sys, name)))
        token = _log.set(log)
        try:
            yield
        finally:
            _log.reset(token)
            with _switch:
                _open.remove(log)
                for name in ("stdout", "stderr"):
                    stream = getattr(sys, name)
                    if not _open and isinstance(stream, _Routed):
                        replace_stream(name, stream.real)


@contextlib.contextmanager
def _descriptors(path: Path, tee: Tee | None, redact: Redact | None) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    absorb(path, redact)
    plain = tee is None and redact is None
    start = path.stat().st_size if path.exists() else 0
    target = path if plain else path.with_name(f"{path.name}.{start}{_RAW}")
    with contextlib.ExitStack() as stack:
        if not plain:
            stack.enter_context(_following(target, path, tee, redact))
        _flush_c_streams()
        stack.callback(_turn_back, _turn_descriptors(target))
        stack.callback(_flush_c_streams)
        stack.enter_context(_unbuffered())
        yield


def _turn_descriptors(target: Path) -> dict[int, int]:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    for descriptor in saved:
        os.dup2(file, descriptor)
    os.close(file)
    return saved


def _turn_back(saved: dict[int, int]) -> None:
    for descriptor, former in saved.items():
        os.dup2(former, descriptor)
        os.close(former)


def _flush_c_streams() -> None:
    """Write out what C code printed and the C library holds back; from now on it holds back no finished line."""
    import ctypes

    library = ctypes.CDLL(None)
    library.fflush(None)
    stdout = ctypes.c_void_p.in_dll(library, "__stdoutp" if sys.platform == "darwin" else "stdout")
    library.setvbuf(stdout, None, _LINE_BUFFERED, 0)


@contextlib.contextmanager
def _unbuffered() -> Iterator[None]:
    """Python's own streams write through to the descriptors: the order is kept and nothing waits in a buffer."""
    former = {"stdout": sys.stdout, "stderr": sys.stderr}
    for number, name in enumerate(former, 1):
        raw = io.FileIO(number, "wb", closefd=False)
        replace_stream(name, io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True))
    try:
        yield
    finally:
        for name, stream in former.items():
            getattr(sys, name).flush()
            replace_stream(name, stream)


@contextlib.contextmanager
def _following(raw: Path, path: Path, tee: Tee | None, redact: Redact | None) -> Iterator[None]:
    """Turn the raw file into the log while it grows, and remove it at the end."""
    ended = threading.Event()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    raw.touch(mode=0o600)
    with _Log(path, tee, redact) as log, raw.open("rb", buffering=0) as grown:

        def follow() -> None:
            while not ended.wait(_FOLLOW_EVERY_S):
                log.write(decoder.decode(grown.read()), None)

        thread = threading.Thread(target=follow, name="mainspring-log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            log.write(decoder.decode(grown.read(), final=True), None)
    raw.unlink(missing_ok=True)


class _LastResort:
    """Where no handler is set up, `logging` prints from INFO on, while anything is captured.

    It changes the handler of last resort rather than adding one, so that `logging.basicConfig` in a step still works.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._undo = contextlib.ExitStack()
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                on_import("logging", "capture", self._open_up)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._undo.close()

    def _open_up(self, logging: ModuleType) -> None:
        root, last = logging.getLogger(), logging.lastResort
        if not self._inside or last is None or root.handlers:
            return
        self._undo.callback(last.setLevel, last.level)
        self._undo.callback(last.setFormatter, last.formatter)
        last.setLevel(logging.INFO)
        last.setFormatter(logging.Formatter(_LOG_FORMAT))
        if root.level == logging.WARNING:
            self._undo.callback(root.setLevel, root.level)
            root.setLevel(logging.INFO)


_last_resort = _LastResort()
