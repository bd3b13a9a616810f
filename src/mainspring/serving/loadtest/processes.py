"""The CPU time of whoever listens on a port of this machine, as Linux tells it below /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"


def cpu_of_port(port: int, proc: Path = Path("/proc")) -> float | None:
    """CPU seconds of the processes that hold a listening socket of a port, and of all that they started.

    What has ended is not in it. None where that isn't told: on other systems, or of processes of other users.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not sockets:
        return None
    pids = [int(each.name) for each in proc.iterdir() if each.name.isdigit()]
    found = {pid for pid in pids if _holds(proc / str(pid), sockets)}
    if not found:
        return None
    stats = {pid: stat for pid in pids if (stat := _stat(proc / str(pid)))}
    while more := {pid for pid, (parent, _) in stats.items() if parent in found} - found:
        found |= more
    return sum(stats[pid][1] for pid in found if pid in stats)


def _listening(port: int, proc: Path) -> Iterator[str]:
    """The inodes of the sockets that listen on a port."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _holds(process: Path, sockets: set[str]) -> bool:
    try:
        return any(os.readlink(each) in sockets for each in (process / "fd").iterdir())
    except OSError:  # another user's, or one that just ended
        return False


def _stat(process: Path) -> tuple[int, float] | None:
    """A process's parent and its CPU seconds, in user and kernel mode."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
