"""What a step cost: wall time, processor time and peak memory, measured from inside or by the parent that watches it.

Linux is read from `/proc`; elsewhere `ps` and `getrusage` stand in, and the peak is then the process's, not the step's.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

_LINUX = sys.platform.startswith("linux")
_KIB = 1024
_STATUS_SIZE = 8192  # bytes; it has about 1,500, and the sizes stand in its first half
_RESET_PEAK = b"5"  # proc(5): writing 5 to clear_refs sets the peak resident size back to the present one


class ResourceMeter:
    """Measures the process between entry and exit.

    `wall_s` and `cpu_s` are seconds (user and system time of all threads); `peak_memory_bytes` is the largest resident
    size. On Linux the peak is the step's own: the kernel's high-water mark is set back on entry. Two meters open at
    once share that mark, so the outer one may report less than the true peak.

    >>> with ResourceMeter() as meter:
    ...     total = sum(range(1000))
    >>> meter.wall_s > 0 and meter.peak_memory_bytes > 0
    True
    """

    __slots__ = ("_cpu_at_start_s", "_wall_at_start_s", "cpu_s", "peak_memory_bytes", "wall_s")

    def __init__(self) -> None:
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.peak_memory_bytes = 0
        self._wall_at_start_s = 0.0
        self._cpu_at_start_s = 0.0

    def __enter__(self) -> ResourceMeter:
        _reset_peak()
        self._cpu_at_start_s = time.process_time()
        self._wall_at_start_s = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wall_s = time.perf_counter() - self._wall_at_start_s
        self.cpu_s = time.process_time() - self._cpu_at_start_s
        self.peak_memory_bytes = peak_bytes(os.getpid()) or _own_peak_bytes()


def rss_bytes(pid: int) -> int:
    """The resident size of a process in bytes; 0 if it is gone."""
    return _status_bytes(pid, b"VmRSS:") if _LINUX else _ps_rss_bytes(pid)


def peak_bytes(pid: int) -> int:
    """The largest resident size a process had, in bytes; 0 if it is gone.

    Off Linux no process can ask for another's peak, so this is the present size, and a parent keeps the largest it saw.
    """
    if _LINUX:
        return _status_bytes(pid, b"VmHWM:")
    return _own_peak_bytes() if pid == os.getpid() else _ps_rss_bytes(pid)


def _reset_peak() -> None:
    if not _LINUX:
        return
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:  # a container may forbid it; the peak is then the process's, which is too high rather than too low
        return
    try:
        os.write(descriptor, _RESET_PEAK)
    finally:
        os.close(descriptor)


def _status_bytes(pid: int, field: bytes) -> int:
    try:
        descriptor = os.open(f"/proc/{pid}/status", os.O_RDONLY)
        try:
            status = os.read(descriptor, _STATUS_SIZE)
        finally:
            os.close(descriptor)
    except OSError:  # the process ended
        return 0
    start = status.find(field)
    return int(status[start + len(field) : status.index(b"\n", start)].split()[0]) * _KIB if start >= 0 else 0


def _own_peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB  # bytes on macOS, kibibytes elsewhere


def _ps_rss_bytes(pid: int) -> int:
    import subprocess

    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(shown.stdout.strip() or 0) * _KIB


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from running meanwhile: what it frees, and its time, have nothing to do with what is measured."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
