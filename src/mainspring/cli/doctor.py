"""`mainspring doctor`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.errors import MainspringError, StorageError

if TYPE_CHECKING:
    from mainspring.runs import Run
    from mainspring.workspace import Workspace

_LITTLE_SPACE_BYTES = 1 << 30
_SHOWN_DEPENDENTS = 5
_MOST_RUNS = 1000
_HOLDS = {"data": "data", "result": "results", "code": "recorded code or environments", "log": "logs"}
_REMEDIES = {
    "data": "Adding or committing the same data again stores it anew.",
    "result": "A run with the same code and inputs makes it anew; else only looking at that run or replaying it needs it.",
    "code": "A run of the same sources in the same environment stores it anew; else these runs can't be replayed or resumed.",
    "log": "It can't be made again, and nothing else needs it.",
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: its name, whether it is fine, in words what is the case, and what to do."""

    what: str
    is_fine: bool
    said: str
    remedy: str = ""


@click.command(cls=Command)
@click.option("--blobs", is_flag=True, help="Read every blob that is in use and verify it; takes a while.")
@click.pass_context
def doctor(context: click.Context, blobs: bool) -> None:
    """Check the workspace and say what is wrong and what to do. Exit status 1 if something is."""
    invocation: Invocation = context.obj
    try:
        workspace = invocation.workspace
    except StorageError as error:
        findings = [Finding("workspace", False, str(error), "Until it can be opened, nothing else can be looked at.")]
        invocation.show({"fine": False, "findings": [msgspec.to_builtins(findings[0])]}, lambda: _shown(findings))
        context.exit(1)
    findings = [*_surroundings(workspace), *_database(workspace), *_runs(workspace), *_folders(workspace)]
    findings += _all_blobs(workspace) if blobs else _named_blobs(workspace)
    fine = all(finding.is_fine for finding in findings)
    invocation.show(
        {"fine": fine, "findings": [msgspec.to_builtins(finding) for finding in findings]}, lambda: _shown(findings)
    )
    if not fine:
        context.exit(1)


def _shown(findings: list[Finding]) -> str:
    lines = []
    for finding in findings:
        mark = click.style("ok   ", fg="green") if finding.is_fine else click.style("WRONG", fg="red")
        lines.append(f"{mark}  {finding.what}: {finding.said}")
        if finding.remedy:
            lines.append(f"       {finding.remedy}")
    return "\n".join(lines)


def _surroundings(workspace: Workspace) -> Iterator[Finding]:
    import platform

    import mainspring

    yield Finding("versions", True, f"mainspring {mainspring.__version__}, Python {platform.python_version()}")
    yield Finding("project", True, f"{workspace.project.name} in {workspace.project.root}")


def _database(workspace: Workspace) -> Iterator[Finding]:
    try:
        tables = workspace.database.query("SELECT room, MAX(number) FROM migration GROUP BY room ORDER BY room")
    except MainspringError as error:
        yield Finding("database", False, str(error))
        return
    schemas = f"schemas: {', '.join(f'{room} {number}' for room, number in tables)}"
    try:
        with workspace.database.transaction() as tx:
            tx.query("SELECT 1")
        yield Finding("database", True, f"{workspace.database.place} can be read and written; {schemas}")
    except MainspringError as error:
        told = f"{workspace.database.place} can be read, but not written ({error}); {schemas}"
        yield Finding("database", False, told, "Looking works; nothing can be run or committed here.")
    if workspace.project.settings.database.startswith("sqlite:"):
        said = workspace.database.query("PRAGMA quick_check")[0][0]
        remedy = "" if said == "ok" else "Restore the file from a backup; blobs are not affected."
        yield Finding("database file", said == "ok", "intact" if said == "ok" else str(said), remedy)


def _runs(workspace: Workspace) -> Iterator[Finding]:
    from mainspring.runs import RunState, RunStore

    running = RunStore(workspace.database, workspace.ledger).list(state=RunState.RUNNING, limit=_MOST_RUNS)
    left = _interrupted(workspace)
    if left:
        names = ", ".join(text.short(run.id) for run in left[:_SHOWN_DEPENDENTS])
        yield Finding(
            "runs",
            True,
            f"{text.counted(len(left), 'run')} interrupted: {names}",
            "`mainspring resume RUN` goes on with one.",
        )
    else:
        yield Finding("runs", True, f"{text.counted(len(running), 'run')} under way, none left over")


def _interrupted(workspace: Workspace) -> list[Run]:
    from mainspring.runs import RunState, RunStore

    store = RunStore(workspace.database, workspace.ledger)
    running = store.list(state=RunState.RUNNING, limit=_MOST_RUNS)
    return [run for run in running if store.shown_state(run, workspace.leases) is RunState.INTERRUPTED]


def _with_only_copies(workspace: Workspace) -> dict[Path, set[str]]:
    """The folders that alone have what interrupted runs printed, with those runs: the scratch folder, and those of workers."""
    from mainspring.pipelines.printed import unkept
    from mainspring.runs.printed import LOG_NAME

    found: dict[Path, set[str]] = {}
    for run in _interrupted(workspace):
        own = workspace.scratch / run.id
        for folder in [*unkept(workspace, run.id), *([own] if (own / LOG_NAME).exists() else [])]:
            found.setdefault(workspace.scratch if folder == own else folder, set()).add(run.id)
    return found


def _folders(workspace: Workspace) -> Iterator[Finding]:
    cache = workspace.cache
    yield Finding("cache", True, f"{cache}, {text.size(_size(cache))}: safe to delete at any time")
    only = _with_only_copies(workspace)
    for folder, runs in only.items():
        held = f"{folder}, {text.size(_size(folder))}"
        told = f"{held}: nothing else has what {text.counted(len(runs), 'interrupted run')} printed"
        yield Finding("scratch", True, told, "`mainspring gc` keeps that with the runs; then it is safe to delete.")
    scratch = workspace.scratch
    if scratch not in only and scratch.is_dir() and any(scratch.iterdir()):
        yield Finding("scratch", True, f"{scratch}, {text.size(_size(scratch))}: safe to delete while nothing runs")
    kept = [place for place in (workspace.database.place, workspace.blobs.place) if place.startswith("/")]
    if kept:
        yield Finding("state", True, f"{' and '.join(kept)}: never delete or edit these by hand")
    for place in sorted(_disks(kept)):
        free = shutil.disk_usage(place).free
        enough = free > _LITTLE_SPACE_BYTES
        remedy = "" if enough else f"Delete {cache}; then `mainspring gc` frees what nothing names."
        yield Finding("disk", enough, f"{text.size(free)} free for {place}", remedy)
        yield Finding("write access", os.access(place, os.W_OK), place)


def _named_blobs(workspace: Workspace) -> Iterator[Finding]:
    try:
        named = _named(workspace)
    except StorageError as error:
        yield Finding("blobs", False, f"which are named can't be told: {error}")
        return
    missing = [digest for digest in named if not workspace.blobs.exists(digest)]
    yield from _about(workspace, missing, "missing")
    if not missing:
        yield Finding("blobs", True, f"all {len(named):,} that are named are there (`--blobs` reads and verifies them)")


def _all_blobs(workspace: Workspace) -> Iterator[Finding]:
    named = _named(workspace)
    bad: list[str] = []
    with click.progressbar(named, label="verifying blobs", file=sys.stderr) as progress:
        for digest in progress:
            try:
                workspace.blobs.read(digest)
            except MainspringError:
                bad.append(digest)
    yield from _about(workspace, bad, "corrupt or missing")
    if not bad:
        yield Finding("blobs", True, f"all {len(named):,} that are named are there and intact")


def _about(workspace: Workspace, digests: list[str], fault: str) -> Iterator[Finding]:
    """Name each blob with what depends on it and what can be done, then how many of them are of which kind."""
    counts: dict[str, int] = {}
    for digest in digests:
        dependents = dict.fromkeys(_dependents(workspace, digest))
        shown = [said for _, said in dependents]
        more = len(shown) - _SHOWN_DEPENDENTS
        told = "; ".join(shown[:_SHOWN_DEPENDENTS]) + (f"; {more} more" if more > 0 else "")
        kinds = [kind for kind in _REMEDIES if any(kind == found for found, _ in dependents)] or ["data"]
        counts[kinds[0]] = counts.get(kinds[0], 0) + 1
        said = f"{text.short(digest)} is {fault}; on it depend: {told or 'work under way, as of an ingestion'}"
        yield Finding("blob", False, said, " ".join(_REMEDIES[kind] for kind in kinds))
    if len(digests) > 1:
        told = ", ".join(f"{counts[kind]:,} with {_HOLDS[kind]}" for kind in _REMEDIES if kind in counts)
        yield Finding("blobs", False, f"{len(digests):,} are {fault}: {told}")


def _dependents(workspace: Workspace, digest: str) -> Iterator[tuple[str, str]]:
    """Kind, and words: results with step and run, versions of datasets and models, recorded code, logs."""
    yield from (("result", said) for said in _results(workspace, digest))
    yield from (("code", said) for said in _codes(workspace, digest))
    yield from (("data", said) for said in _versions_in(workspace, digest))
    yield from (("log", said) for said in _logs(workspace, digest))


def _results(workspace: Workspace, digest: str) -> Iterator[str]:
    database = workspace.database
    holding = "SELECT id, name FROM artifact WHERE encoded LIKE ? AND removed_at IS NULL"
    for artifact, name in database.query(holding, (f"%{digest}%",)):
        row = database.query_one(
            "SELECT edge.role, attempt.number, task.name, run.id, run.name FROM edge"
            " LEFT JOIN attempt ON attempt.id = edge.dst LEFT JOIN task ON task.id = COALESCE(attempt.task, edge.dst)"
            " JOIN run ON run.id = COALESCE(task.run, edge.dst)"
            " WHERE edge.src = ? AND edge.role IN ('made_by', 'checkpoint_of')",
            (artifact,),
        )
        if row is None:
            yield f"`{name}`, which a pipeline was given"
        else:
            role, attempt, step, run, run_name = row
            kind, of_step = "output" if role == "made_by" else "checkpoint", f" of step `{step}`" if step else ""
            of_attempt = f" of attempt {attempt}" if attempt else ""
            yield f"{kind} `{name}`{of_attempt}{of_step} in run {text.short(run)} ({run_name})"
        yield from _made_from(workspace, artifact)


def _codes(workspace: Workspace, digest: str) -> Iterator[str]:
    """The runs whose recorded code or environment is in a blob."""
    where = (
        "code = ? OR environment = ? OR git_diff = ? OR id IN (SELECT run FROM run_blob WHERE blob = ?)"
        " OR code IN (SELECT manifest FROM code_tree WHERE blobs LIKE ?)"
    )
    values = (digest, digest, digest, digest, f"%{digest}%")
    for run, name in workspace.database.query(f"SELECT id, name FROM run WHERE {where} ORDER BY id DESC", values):
        yield f"the recorded code or environment of run {text.short(run)} ({name})"


def _logs(workspace: Workspace, digest: str) -> Iterator[str]:
    """The steps and scripts whose log is in a blob."""
    for step, run in workspace.database.query(
        "SELECT DISTINCT task.name, task.run FROM task LEFT JOIN attempt ON attempt.task = task.id"
        " WHERE task.log = ? OR attempt.log = ? ORDER BY task.run DESC",
        (digest, digest),
    ):
        yield f"the log of step `{step}` in run {text.short(run)}"
    for run, name in workspace.database.query("SELECT id, name FROM run WHERE log = ?", (digest,)):
        yield f"the log of run {text.short(run)} ({name})"


def _made_from(workspace: Workspace, artifact: str) -> Iterator[str]:
    """The versions and endpoints that came from an artifact."""
    edges = workspace.ledger.walk(artifact, "down")
    for node in workspace.ledger.nodes([edge.src for edge in edges]).values():
        if node.kind in ("dataset_version", "model_version", "endpoint"):
            yield f"{node.kind.replace('_', ' ')} {node.label}"


def _versions_in(workspace: Workspace, digest: str) -> Iterator[str]:
    """The versions of datasets and models whose own bytes are in a blob."""
    from mainspring.data.reachable import versions_needing

    yield from (f"dataset version {version}" for version in versions_needing(digest, workspace))
    for name, number in workspace.database.query(
        "SELECT m.name, v.number FROM model_version v JOIN model m ON m.id = v.model WHERE v.encoded LIKE ?"
        " OR ? IN (v.input_example, v.environment) OR v.id IN (SELECT owner FROM run_file WHERE digest = ?)"
        " ORDER BY 1, 2",
        (f"%{digest}%", digest, digest),
    ):
        yield f"model version {name}/{number}"


def _named(workspace: Workspace) -> list[str]:
    from mainspring.workspace import named_blobs

    return sorted(named_blobs(workspace))


def _disks(places: list[str]) -> set[str]:
    """The folders that places lie in, without those inside another of them on the same disk."""
    folders = {_existing(Path(place)) for place in places}
    return {
        str(folder)
        for folder in folders
        if not any(other in folder.parents and other.stat().st_dev == folder.stat().st_dev for other in folders)
    }


def _existing(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total
