"""`mainspring runs files`."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.cli.failures import end_failed
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from mainspring.runs import Run, RunFile
    from mainspring.workspace import Workspace


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@click.argument("path", default="", metavar="[PATH]")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Copy them into this folder.", metavar="DIR")
@click.pass_obj
def files(invocation: Invocation, name: str, path: str, folder: Path | None) -> None:
    """List the files that RUN and its steps logged, or those at and below PATH; with --to copy them.

    A step's files are copied into a folder of its name. A file that is there already is left as it is, and an error if it has
    other bytes. What can't be copied is named, and the rest is copied.
    """
    from mainspring.cli.records import run_store
    from mainspring.errors import NotFoundError, close_names
    from mainspring.runs import RunFiles

    path = path.rstrip("/")  # as a shell completes a folder's name
    workspace = invocation.workspace
    run = run_store(workspace).get(name)
    kept = RunFiles(workspace)
    owners = _owners(workspace, run)
    found = [(step, owner, file) for owner, step in owners.items() for file in kept.walk(owner, path).values()]
    if path and not found:
        known = [each for owner in owners for each in kept.walk(owner)]
        raise NotFoundError("file", path, close_names(path, known), owner=f"Run {text.short(run.id)}")
    copied, failed = _copies(workspace, {folder / step / file.path: file for step, _, file in found} if folder else {})
    records = [msgspec.to_builtins(file) | {"task": step} for step, _, file in found]
    document = {"run": run.id, "files": records, "copied": copied, "failed": msgspec.to_builtins(failed)}
    invocation.show(document, lambda: _told(found, folder, len(copied)))
    end_failed(invocation, ((each.path, each.message) for each in failed))


def _owners(workspace: Workspace, run: Run) -> dict[str, str]:
    """The runs that files are logged to, with the step whose run each is; that of the run itself is empty."""
    from mainspring.cli.records import task_store
    from mainspring.pipelines.results import logged_runs

    store = task_store(workspace)
    tasks = store.of_run(run.id)
    logged = logged_runs(workspace, store, tasks)
    return {run.id: ""} | {logged[task.id].id: task.name for task in tasks if task.id in logged}


class _Failure(msgspec.Struct, frozen=True):
    """A file that could not be copied, and why."""

    path: str
    code: str
    message: str


def _copies(workspace: Workspace, targets: dict[Path, RunFile]) -> tuple[list[str], list[_Failure]]:
    """Copy files to these paths: those that were, and the others; of several, one that fails doesn't stop the rest."""
    copied, failed = [], []
    for target, file in targets.items():
        try:
            copied.append(str(_copied(workspace, file, target)))
        except MainspringError as error:
            if len(targets) == 1:
                raise
            failed.append(_Failure(str(target), error.code, str(error)))
    return copied, failed


def _copied(workspace: Workspace, file: RunFile, target: Path) -> Path:
    """Copy a file, whole or not at all."""
    from mainspring.errors import ConflictError, StorageError

    digest = file.digest or ""
    source = workspace.blobs.path(digest)
    unfinished = target.with_name(f".{target.name}.{digest[:8]}.part")
    try:
        if target.exists():
            if target.read_bytes() != source.read_bytes():
                raise ConflictError(f"`{target}` is there and has other bytes. Copy into another folder: --to DIR.")
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, unfinished)
        unfinished.replace(target)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise StorageError(str(target), f"it can't be written ({error.strerror})") from error
    return target


def _told(found: list[tuple[str, str, RunFile]], folder: Path | None, copied: int) -> str:
    if not found:
        return "No files. `ms.log_figure`, `log_table`, `log_text` and `log_file` keep them."
    if folder is not None:
        of = "" if copied == len(found) else f"{copied:,} of "
        return f"{of}{text.counted(len(found), 'file')} copied into {folder}."
    rows = [[step, file.path, text.size(file.size_bytes), text.short(file.digest or "")] for step, _, file in found]
    if not any(row[0] for row in rows):
        rows = [row[1:] for row in rows]
        return text.table(["file", "size", "content"], rows, drop=["content"])
    return text.table(["of", "file", "size", "content"], rows, drop=["content"])
