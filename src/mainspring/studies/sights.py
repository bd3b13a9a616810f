"""What a trial's own process reads is an input of the step that searches: the worker writes it down, the crew takes it over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mainspring.pipelines.observation.observer import Observation, Observer
from mainspring.pipelines.observation.places import own_addresses, own_paths
from mainspring.pipelines.observation.watcher import current
from mainspring.store.own_work import at_own_work
from mainspring.workspace import Workspace

_SUFFIX = ".seen"


def watched_root() -> str | None:
    """The folder of the project whose step is being watched here; None if none is."""
    watcher = current()
    return None if watcher is None else watcher.root


@contextmanager
def seen_to(log_path: str, root: str, workspace: Workspace) -> Iterator[None]:
    """Watch the block and write what it reads beside a log; nothing is declared here, the step's process knows what is."""
    observer = Observer(
        project_root=Path(root), declared_files=(), declared_env=(),
        allowed_paths=[*own_paths(workspace), Path.cwd()], allowed_addresses=own_addresses(workspace),
    )  # fmt: skip
    try:
        with observer:
            yield
    finally:
        if observer.seen:
            Path(log_path).with_suffix(_SUFFIX).write_bytes(msgspec.json.encode(observer.seen))


def take_over(log_path: str, *, is_whole: bool) -> None:
    """Count what an order's process saw for the step that is watched here; one that was cut off tells of nothing it read."""
    watcher, written = current(), Path(log_path).with_suffix(_SUFFIX)
    if watcher is None:
        return
    if not is_whole:
        watcher.process("a trial's process that did not end well")
    with at_own_work():
        found = written.read_bytes() if written.exists() else b"[]"
    for each in msgspec.json.decode(found, type=list[Observation]):
        watcher.adopt(each.kind, each.name, each.by)
