"""What runs that are over left on this machine: scratch folders, unredacted logs, folders of recorded code, environments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from mainspring.errors import ConflictError
from mainspring.lazy import registered
from mainspring.workspace.workspace import Workspace

LOGS = "mainspring.gc_logs"
_LEASE_S = 60.0
_SILENT_S = 3600.0  # a process elsewhere whose lease lapsed longer ago is taken for dead
KeepLogs = Callable[[Workspace, str], None]
"""Keeps what is in a run's scratch folder alone of what it printed; the run's lease is held meanwhile."""


def remove_leftovers(workspace: Workspace, *, older_than_s: float) -> int:
    """Remove what no run that is under way needs; gives the bytes that were freed.

    Logs, code and environments stay for `older_than_s`. What a dead worker printed, unredacted, and the scratch folders of its
    steps go at once, when what was printed is kept with its run. A run whose process may live is left alone, though its lease
    has lapsed: of another machine's, for an hour or `older_than_s`, whichever is longer.
    """
    return sum(_scratch(workspace, older_than_s)) + sum(_code(workspace, older_than_s))


def _scratch(workspace: Workspace, older_than_s: float) -> Iterator[int]:
    keepers: list[KeepLogs] = registered(LOGS)
    for run in _folders(workspace.scratch):
        if _may_live(workspace, f"run:{run.name}", older_than_s):
            continue
        try:
            lease = workspace.leases.claim(f"run:{run.name}", workspace.owner, _LEASE_S)
        except ConflictError:
            continue
        try:
            for keep in keepers:
                keep(workspace, run.name)
            if _age_s(workspace, run) >= older_than_s:
                yield _removed(run)
            else:
                yield from (_removed(path) for path in list(run.iterdir()) if path.is_dir() or path.suffix == ".raw")
                with suppress(OSError):  # a log is in it
                    run.rmdir()
        finally:
            workspace.leases.release(lease)


def _code(workspace: Workspace, older_than_s: float) -> Iterator[int]:
    """Folders of code and environments not used lately, unless a run that may live may start another worker in one."""
    begun = workspace.leases.names("run:")
    running = [name.removeprefix("run:") for name in begun if _may_live(workspace, name, older_than_s)]
    replayed = [
        edge.dst for edge in workspace.ledger.edges(running) if edge.role == "replays"
    ]  # whose code a replay runs
    used = {edge.dst for edge in workspace.ledger.edges([*running, *replayed]) if edge.role == "ran"}
    unused = [folder for folder in _folders(workspace.cache / "code") if folder.name not in used]
    unused += [] if running else _folders(workspace.cache / "environments")
    for folder in unused:
        if _age_s(workspace, folder) >= older_than_s:
            yield _removed(folder)


def _may_live(workspace: Workspace, run: str, older_than_s: float) -> bool:
    return workspace.leases.idle_s(run) < max(older_than_s, _SILENT_S)


def _folders(parent: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return [path for path in parent.iterdir() if path.is_dir()]
    return []


def _age_s(workspace: Workspace, path: Path) -> float:
    """Real time since it was last used."""
    with suppress(FileNotFoundError):
        return workspace.database.now_us() / 1e6 - path.stat().st_mtime
    return 0.0


def _removed(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = 0
    for file in files:
        with suppress(OSError):
            size += file.lstat().st_size
    if path.is_dir():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)
    return size
