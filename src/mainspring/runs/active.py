"""The run of a script or notebook: opened by `start_run`, recorded as a pipeline's is, closed by whatever ends it.

What is recorded: code, environment and git; the datasets that are read and made meanwhile, as its lineage; what is logged
and printed; wall and processor time and peak memory.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.errors import MainspringError
from mainspring.ledger import close_scope, new_id, open_scope
from mainspring.runs._store import RunStore
from mainspring.runs.code import CodeTree, keep_sources, script_name, script_sources
from mainspring.runs.environment import snapshot
from mainspring.runs.git import GitQuery
from mainspring.runs.metrics import Metrics
from mainspring.runs.printed import Printed
from mainspring.runs.run import Run, RunState
from mainspring.runs.tracking import RunLog
from mainspring.secrets import redact, redact_value
from mainspring.store.heartbeat import Heartbeat
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    from mainspring.store import Transaction

_LEASE_S = 60.0


class ActiveRun(RunLog):
    """A run that a script or notebook keeps open. Use as a context manager, or call `end()`.

    Several may be open; the one opened last is active, and they may end in any order. One that is still open when its
    process exits ends then: failed if by an uncaught exception, else succeeded.
    """

    def __init__(self, workspace: Workspace, run: Run, sources: dict[str, bytes]) -> None:
        super().__init__(run.series, workspace, run.params)
        from mainspring.runners.resources import ResourceMeter

        self.id = run.id
        self.name = run.name
        self._sources = sources
        self._store = RunStore(workspace.database, workspace.ledger)
        self._lease = workspace.leases.claim(f"run:{run.id}", workspace.owner, _LEASE_S)
        self._heartbeat = Heartbeat(workspace.leases, _LEASE_S)
        self._heartbeat.hold(self._lease)
        self._heartbeat.__enter__()
        self._scope = open_scope(run.id, self)
        self._inside = ExitStack()
        self._ended = False
        atexit.register(self._end_with_the_process)
        self._printed = Printed(workspace.scratch / run.id / "run.log")
        self._meter = ResourceMeter().__enter__()

    def log_artifact(self, name: str, value: object) -> None:
        """Keep a value as an output, by the codec of its type; when this returns, it survives a kill."""
        super().log_artifact(name, value)
        self.flush()

    def flush(self) -> None:
        """Write what waits; when this returns, it survives a kill."""
        self.write_points()
        if self.is_waiting:
            with self.workspace.database.transaction() as tx:
                self.commit(tx, self._store, self.id, by=self.id)
            self._forget()

    def end(self, state: RunState = RunState.SUCCEEDED, error: str | None = None) -> None:
        """Write what waits and close the run; a second call does nothing."""
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self._end_with_the_process)
        self._meter.__exit__(None, None, None)
        close_scope(self._scope)
        self._heartbeat.__exit__()
        text = redact(self._printed.end().decode("utf-8", "replace"))
        self.flush()
        log = self.workspace.blobs.put(text.encode()) if text else None
        code = _code(self.workspace, script_sources(self.workspace.project.root, self._sources))
        with self.workspace.database.transaction() as tx:
            if code is not None:
                _record_code(self._store, tx, self.id, self.name, code)
            self._store.update(tx, self.id, log=log, cpu_s=self._meter.cpu_s, peak_bytes=self._meter.peak_memory_bytes)
            self._store.finish(tx, self.id, state, error)
            self.workspace.leases.release_in(tx, self._lease)

    def _end_with_the_process(self) -> None:
        """The end of a run that nobody ended: failed if an exception ends the script."""
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)  # set by an uncaught one
        with suppress(MainspringError):  # the workspace may be closed or gone; then the run shows as interrupted
            self._end_by(error)

    def _end_by(self, error: BaseException | None) -> None:
        if error is None:
            self.end()
        else:
            state = RunState.CANCELLED if isinstance(error, KeyboardInterrupt) else RunState.FAILED
            self.end(state, redact(f"{type(error).__name__}: {error}"))

    def __enter__(self) -> ActiveRun:
        self._inside.enter_context(using(self.workspace))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ValueError):  # ended in another context than it was entered in, where nothing is to be undone
            self._inside.close()
        if error is not None and not self._ended:
            import traceback

            self._printed.add("".join(traceback.format_exception(kind, error, trace)))
        self._end_by(error)

    def __repr__(self) -> str:
        return f"<run {self.name} {self.id[:12]} {'ended' if self._ended else 'running'}>"

    def _repr_html_(self) -> str:
        from html import escape

        self.flush()
        run = self._store.get(self.id)
        facts = {f"{name} =": value for name, value in run.params.items()}
        facts |= {
            f"{name}:": f"{value:.6g}"
            for name, value in Metrics(self.workspace.metrics).latest_values(run.series).items()
        }
        rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
        return f"<b>run {escape(run.name)}</b> {run.state.value} <code>{run.id[:12]}</code><table>{rows}</table>"


def start_run(
    name: str = "run",
    *,
    experiment: str = "Default",
    params: dict[str, Any] | None = None,
    workspace: Workspace | None = None,
) -> ActiveRun:
    """Start a run from a script or notebook, in the workspace of the project here.

    Datasets that are read or committed while it is open are its inputs and outputs, what is printed its log.

    >>> import tempfile, pathlib
    >>> from mainspring.workspace import Workspace
    >>> workspace = Workspace.open(pathlib.Path(tempfile.mkdtemp()))
    >>> with start_run("trial", params={"depth": 3}, workspace=workspace) as run:
    ...     run.log_metric("auc", 0.81)
    """
    workspace = workspace or current_workspace()
    root = workspace.project.root
    query = GitQuery(root)
    environment = snapshot()
    kept = workspace.blobs.put(msgspec.json.encode(environment))
    sources = script_sources(root)
    code = _code(workspace, sources)
    git = query.result()
    diff = workspace.blobs.put(git.diff.encode()) if git.diff else None
    store = RunStore(workspace.database, workspace.ledger)
    with workspace.database.transaction() as tx:
        run = store.create(
            tx, kind="script", name=name, id=new_id(), experiment=experiment, target=script_name(root),
            params={key: redact_value(key, value) for key, value in (params or {}).items()},
            hash_seed_fixed=os.environ.get("PYTHONHASHSEED", "random") != "random",
            environment=kept, environment_digest=environment.digest, git_commit=git.commit, git_diff=diff,
        )  # fmt: skip
        if code is not None:
            _record_code(store, tx, run.id, name, code)
    return ActiveRun(workspace, run, sources)


def _code(workspace: Workspace, sources: dict[str, bytes]) -> CodeTree | None:
    """The sources that run here, kept; None if there are none that can be told."""
    return keep_sources(sources, workspace.blobs) if sources else None


def _record_code(store: RunStore, tx: Transaction, run_id: str, name: str, code: CodeTree) -> None:
    """Name the code as the run's; a notebook's and one with late imports is known whole only at the end."""
    store.update(tx, run_id, code=code.manifest, code_digest=code.digest)
    store.keep_blobs(tx, run_id, code.blobs)
    store.ledger.node(tx, "code", code.manifest, f"code of {name}", code.digest)
    store.ledger.edge(tx, run_id, "ran", code.manifest)
