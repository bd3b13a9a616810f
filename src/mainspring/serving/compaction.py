"""A server's own compaction: while it runs, segments that are closed become Parquet parts, in a process of low priority.

One at a time on a machine, by the lease of the log. It may be killed at any instant: what it left is ended by the next.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from mainspring.config import Settings
from mainspring.errors import ConflictError, MainspringError
from mainspring.pipelines.seeds import threads_environment
from mainspring.secrets import redact
from mainspring.serving.feedback.intake import feedback_folder
from mainspring.serving.predictions.log import predictions_folder
from mainspring.store import list_segments
from mainspring.workspace import Project, Workspace

_LEAST_PRIORITY, _STEP = 19, 5
_BEHIND_BYTES = 64 << 20
_log = logging.getLogger("mainspring.serving")


class Order(msgspec.Struct, frozen=True):
    """The project whose logs are compacted, with its settings as they are in force, and how willingly others go first."""

    root: str
    settings: dict[str, Any]
    niceness: int = _LEAST_PRIORITY


@contextmanager
def compacting(workspace: Workspace, every_s: float) -> Iterator[None]:
    """Compact what is closed within the block, looking for it so often; never if that is 0."""
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(workspace, every_s, ended), name="compaction", daemon=True)
    if every_s > 0:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()


def _watch(workspace: Workspace, every_s: float, ended: threading.Event) -> None:
    while not ended.wait(every_s):
        with suppress(OSError):  # the folder can't be read, or there is no process to be had: the next time
            closed = [each for log in _folders(workspace) for each in list_segments(log) if not each.live]
            if closed:
                _compact(workspace, ended, niceness_of(sum(each.size_bytes for each in closed)))


def niceness_of(closed_bytes: int) -> int:
    """How willingly compaction lets others go first: less so with each full segment that waits, or a busy core would starve it.

    >>> niceness_of(64 << 20), niceness_of(128 << 20), niceness_of(1 << 30)
    (19, 14, 0)
    """
    return max(_LEAST_PRIORITY - _STEP * max(closed_bytes // _BEHIND_BYTES - 1, 0), 0)


def _folders(workspace: Workspace) -> tuple[Path, Path]:
    return predictions_folder(workspace), feedback_folder(workspace)


def _compact(workspace: Workspace, ended: threading.Event, niceness: int = _LEAST_PRIORITY) -> None:
    """Have a process compact what is closed, until it has, or the block ends."""
    settings = {name: each.value for name, each in workspace.project.settings.origins.items()}
    order = Order(str(workspace.project.root), settings, niceness)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=os.environ | threads_environment(1) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        process_group=0,  # Ctrl-C is for the server
    ) as process:  # fmt: skip
        said: bytes | None = None
        data: bytes | None = msgspec.msgpack.encode(order)
        while said is None:
            try:
                said = process.communicate(data, timeout=0.2)[1]
            except subprocess.TimeoutExpired:
                data = None
                if ended.is_set():
                    process.kill()
    if process.returncode and not ended.is_set():
        _log.warning("the logs were not compacted: %s", redact(said.decode(errors="replace").strip()))


def compact_logs(order: Order) -> None:
    """Compact what is closed of predictions and labels; nothing where another process is at it.

    Raises:
        StorageError: a segment is damaged, or the workspace can't be written.
    """
    from mainspring.serving.feedback import compact_feedback  # here, as servers do without Polars
    from mainspring.serving.predictions import compact_predictions

    root = Path(order.root)
    project = Project(root, Settings.load(root, overrides=order.settings))
    with Workspace.open(project=project) as workspace:
        for compact in (compact_predictions, compact_feedback):
            with suppress(ConflictError):
                compact(workspace)


def main() -> None:
    """The process that compacts: told on stdin what."""
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    os.nice(order.niceness)
    try:
        compact_logs(order)
    except MainspringError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
