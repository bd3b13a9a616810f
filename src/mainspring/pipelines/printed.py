"""What attempts printed whose driver died: found on this machine, and kept as their logs before its folders go.

Invariant: a file with the only copy is never removed before the log is named by its attempt.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from mainspring.errors import StorageError
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.observation.capture import absorb, has_raw
from mainspring.pipelines.task import Attempt
from mainspring.secrets import redact
from mainspring.store import BlobStore
from mainspring.store.scratch import Scratch, drop_from_scratch, find_in_scratch
from mainspring.workspace import Workspace


class Printed(msgspec.Struct, frozen=True):
    """What is here of the open attempts of a run: logs as blobs, and where those are that are not here, by attempt.

    `silent` are the attempts that printed nothing.
    """

    logs: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    silent: list[str] = []

    def drop(self) -> None:
        """Remove what is kept by now from the folders of killed detached workers; call it when the logs are named."""
        for attempt_id in self.logs:
            drop_from_scratch(f"{attempt_id}.log*")


def keep_printed(workspace: Workspace, store: TaskStore, run_id: str) -> Printed:
    """Put what the open attempts of a run printed into blobs, which nothing names yet; the files stay.

    Raises:
        StorageError: a file can't be read, or a blob not be written.
    """
    kept = Printed()
    for attempt in store.open_attempts(run_id):
        path, log = log_file(workspace, run_id, attempt), None
        if path is not None:
            log = (
                _detached_log(path, workspace.blobs)
                if attempt.runner == "detached"
                else log_blob(path, workspace.blobs)
            )
        if log is not None:
            kept.logs[attempt.id] = log
        elif attempt.log is None and (path is not None or _was_here(workspace, run_id, attempt)):
            kept.silent.append(attempt.id)
        elif attempt.log is None:
            host, here = (owner.partition(":")[0] for owner in (attempt.worker, workspace.owner))
            kept.elsewhere[attempt.id] = "its folder on this machine is gone" if host == here else f"it ran on `{host}`"
    return kept


def log_file(workspace: Workspace, run_id: str, attempt: Attempt) -> Path | None:
    """Where the log of an attempt is on this machine that is under way, or whose driver died; None if it has none here."""
    name = f"{attempt.id}.log"
    path: Path | None = workspace.scratch / run_id / name
    if attempt.runner == "detached":
        found = find_in_scratch(f"{name}*")
        path = found and found.with_name(name)
    return path if path is not None and (path.exists() or has_raw(path)) else None


def _detached_log(path: Path, blobs: BlobStore) -> str | None:
    """As `log_blob`, of a worker that may live, whose files stay as they are."""
    import shutil

    with Scratch() as folder:
        with suppress(FileNotFoundError):  # it ended meanwhile
            for each in path.parent.glob(f"{path.name}*"):
                shutil.copy2(each, folder)
        return log_blob(folder / path.name, blobs)


def log_blob(path: Path, blobs: BlobStore) -> str | None:
    """A log whose process is gone as a blob, finished and redacted; None if nothing was printed.

    Raises:
        StorageError: it can't be read or written.
    """
    try:
        absorb(path, redact)
        if path.stat().st_size:
            return blobs.put(path)
        path.unlink()
        return None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(str(path), f"what a step printed can't be kept ({error.strerror})") from error


def keep_before_removal(workspace: Workspace, run_id: str) -> None:
    """Name the logs of a run that nobody drives by its open attempts: what the collector does before it tidies up."""
    store = TaskStore(workspace.database, workspace.ledger, workspace.leases)
    printed = keep_printed(workspace, store, run_id)
    nothing = workspace.blobs.put(b"") if printed.silent else ""  # else its folder would be missed when the run goes on
    for attempt_id, log in [*printed.logs.items(), *((each, nothing) for each in printed.silent)]:
        store.hand_in_log(attempt_id, log)
    printed.drop()


def unkept(workspace: Workspace, run_id: str) -> list[Path]:
    """The folders that have the only copy of what attempts of a run printed."""
    store = TaskStore(workspace.database, workspace.ledger, workspace.leases)
    found = (log_file(workspace, run_id, each) for each in store.open_attempts(run_id) if each.log is None)
    return list(dict.fromkeys(path.parent for path in found if path is not None))


def _was_here(workspace: Workspace, run_id: str, attempt: Attempt) -> bool:
    """Whether the attempt's folder is here, so that one without a log printed nothing."""
    if attempt.runner == "detached":
        return find_in_scratch(f"{attempt.id}*") is not None
    return (workspace.scratch / run_id).is_dir()
