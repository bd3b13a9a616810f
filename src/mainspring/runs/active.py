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

from mainspring.errors import ConflictError, InvalidError, MainspringError
from mainspring.ledger import close_scope, current_scope, new_id, open_scope
from mainspring.runs._store import RunStore
from mainspring.runs.code import CodeTree, keep_sources, script_name, script_sources
from mainspring.runs.environment import snapshot
from mainspring.runs.files import RunFiles
from mainspring.runs.git import GitQuery
from mainspring.runs.limits import KEY_CHARACTERS, checked_name, checked_param, checked_text
from mainspring.runs.metrics import Metrics
from mainspring.runs.mirroring import mirror_soon
from mainspring.runs.printed import LOG_NAME, Printed
from mainspring.runs.run import Run, RunState
from mainspring.runs.system import EVERY_S, SystemMetrics
from mainspring.runs.tracking import RunLog
from mainspring.secrets import redact
from mainspring.store.heartbeat import Heartbeat
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    from mainspring.store import Transaction

_LEASE_S = 60.0
_OF_PIPELINES = ("pipeline", "task", "replay")


class ActiveRun(RunLog):
    """A run that a script or notebook keeps open. Use as a context manager, or call `end()`.

    Several may be open; the one opened last is active, and they may end in any order. One that is still open when its
    process exits ends then: failed if by an uncaught exception, else succeeded; one that a step opened, with the step.
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
        self._cause: BaseException | None = None
        self._pid = os.getpid()
        self._system: SystemMetrics | None = None
        self._log_before = workspace.blobs.read(run.log).decode() if run.log else ""
        atexit.register(self._end_with_the_process)
        self._printed = Printed(workspace.scratch / run.id / LOG_NAME)
        self._meter = ResourceMeter().__enter__()

    def log_artifact(self, name: str, value: object) -> None:
        """Keep a value as an output, by the codec of its type; when this returns, it survives a kill."""
        super().log_artifact(name, value)
        self.flush()

    def _expect_free(self, path: str) -> None:
        super()._expect_free(path)
        RunFiles(self.workspace).expect_free(self.id, path)

    def flush(self) -> None:
        """Write what waits; when this returns, it survives a kill.

        Raises:
            StorageError: it can't be written now; it goes on waiting.
            ConflictError: another process gave a parameter another value; these parameters are left out.
            InvalidError: another process keeps a file where one of these needs a folder; these files are left out.
        """
        self.write_points()
        if not self.is_waiting:
            return
        try:
            with self.workspace.database.transaction() as tx:
                self.commit(tx, self._store, self.id, by=self.id)
        except ConflictError:
            self.params = {}
            raise
        except InvalidError:
            self.files = {}
            raise
        self._forget()

    def watch_system(self, every: bool | float) -> None:
        """Log what the machine does every so many seconds, ten if it is True."""
        if every:
            self._system = SystemMetrics(self, every_s=EVERY_S if every is True else float(every))

    def end(self, state: RunState = RunState.SUCCEEDED, error: str | None = None) -> None:
        """Write what waits and close the run; a second call does nothing.

        Raises:
            StorageError: it can't be written now; the run stays open, to be ended once more.
            ConflictError, InvalidError: as `flush`; the run has ended, as failed if it had not failed before.
        """
        if self._ended:
            return
        if self._system is not None:
            self._system.stop()
            self._system = None
        refused = self._flushed()
        if refused is not None and error is None:
            state, error = RunState.FAILED, redact(f"{type(refused).__name__}: {refused}")
        else:
            refused = None  # why it failed is what it ends with
        self._finish(state, error)
        self._ended = True
        atexit.unregister(self._end_with_the_process)
        self._heartbeat.__exit__()
        self._printed.remove()
        if current_scope() is None:  # else whatever this belongs to ends, too
            mirror_soon(self.workspace, self.id)
        if refused is not None:
            raise refused

    def _finish(self, state: RunState, error: str | None) -> None:
        """Record the end and what is known only then; if that can't be written now, it can be done once more."""
        self._meter.__exit__(None, None, None)
        close_scope(self._scope)
        text = self._log_before + redact(self._printed.end().decode("utf-8", "replace"))
        self.flush()
        log = self.workspace.blobs.put(text.encode()) if text else None
        code = _code(self.workspace, script_sources(self.workspace.project.root, self._sources))
        with self.workspace.database.transaction() as tx:
            if code is not None:
                _record_code(self._store, tx, self.id, self.name, code)
            self._store.update(tx, self.id, log=log, cpu_s=self._meter.cpu_s, peak_bytes=self._meter.peak_memory_bytes)
            self._store.finish(tx, self.id, state, error)
            self.workspace.leases.release_in(tx, self._lease)

    def _flushed(self) -> ConflictError | InvalidError | None:
        """What keeps a part of what waits from being written; all the rest then is."""
        refused: ConflictError | InvalidError | None = None
        while True:
            try:
                self.flush()
            except (ConflictError, InvalidError) as error:  # each leaves out what it is about
                refused = refused or error
            else:
                return refused

    def give_up(self, before: Run, error: BaseException) -> None:
        """End a run that could not begin, as it was before if it was resumed."""
        self._forget()
        if before.ended_at is None:
            self.end_by(error)
        else:
            self.end(before.state, before.error)

    def _end_with_the_process(self) -> None:
        """The end of a run that nobody ended: failed if an exception ends the script."""
        if os.getpid() != self._pid:  # a forked child: the run is its parent's to end
            with suppress(MainspringError):
                self.write_points()
            return
        uncaught = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        error = self._cause or uncaught  # what failed it, if that could not be written then
        with suppress(MainspringError):  # the workspace may be closed or gone; then the run shows as interrupted
            self.end_by(error)

    def end_by(self, error: BaseException | None) -> None:
        """End as by that exception, or by none; raises as `end`."""
        if error is None or (isinstance(error, SystemExit) and not error.code):
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

            self._cause = error
            self._printed.add("".join(traceback.format_exception(kind, error, trace)))
        self.end_by(error)

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
    name: str = "",
    *,
    experiment: str | None = None,
    params: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
    note: str = "",
    kind: str = "script",
    parent: str | None = None,
    nested: bool = False,
    resume: str | None = None,
    system_metrics: bool | float = False,
    workspace: Workspace | None = None,
) -> ActiveRun:
    """Start a run from a script or notebook, in the workspace of the project here.

    Datasets that are read or committed while it is open are its inputs and outputs, what is printed its log. `parent` is
    the run that it belongs to; `nested` makes that the one that is active here. `resume` opens a run that ended once
    more. `system_metrics` logs CPU, memory, disk, network and GPUs every ten seconds, or every so many.

    Raises:
        InvalidError: no run is active to nest in, or the run to resume is a pipeline's or deleted.
        ConflictError: the run to resume is still open.

    >>> import tempfile, pathlib
    >>> from mainspring.workspace import Workspace
    >>> workspace = Workspace.open(pathlib.Path(tempfile.mkdtemp()))
    >>> with start_run("trial", params={"depth": 3}, workspace=workspace) as run:
    ...     run.log_metric("auc", 0.81)
    """
    workspace = workspace or current_workspace()
    store = RunStore(workspace.database, workspace.ledger)
    given = {key: checked_param(key, value) for key, value in (params or {}).items()}
    checked_name("name of a run", name or "run", KEY_CHARACTERS)
    checked_text("note", note)
    if resume is not None:
        active, before = _resumed(workspace, store, resume)
    else:
        above = store.get(parent) if parent else _active_run(store) if nested else None
        run, sources = _created(
            workspace, store, kind=kind, name=name or "run", parent=above and above.id, note=note,
            experiment=experiment or (above.experiment if above else "Default"), params=given,
        )  # fmt: skip
        active, before = ActiveRun(workspace, run, sources), run
    try:
        for key, value in given.items():
            active.log_param(key, value)
        for key, text in (tags or {}).items():
            active.log_tag(key, text)
        active.watch_system(system_metrics)
    except BaseException as error:
        active.give_up(before, error)
        raise
    return active


def _created(workspace: Workspace, store: RunStore, *, name: str, **fields: Any) -> tuple[Run, dict[str, bytes]]:
    """A new run of what runs here, and its sources."""
    root = workspace.project.root
    query = GitQuery(root)
    environment = snapshot()
    kept = workspace.blobs.put(msgspec.json.encode(environment))
    sources = script_sources(root)
    code = _code(workspace, sources)
    git = query.result()
    diff = workspace.blobs.put(git.diff.encode()) if git.diff else None
    with workspace.database.transaction() as tx:
        run = store.create(
            tx, name=name, id=new_id(), target=script_name(root),
            hash_seed_fixed=os.environ.get("PYTHONHASHSEED", "random") != "random",
            environment=kept, environment_digest=environment.digest, git_commit=git.commit, git_diff=diff, **fields,
        )  # fmt: skip
        if code is not None:
            _record_code(store, tx, run.id, name, code)
    return run, sources


def _resumed(workspace: Workspace, store: RunStore, name: str) -> tuple[ActiveRun, Run]:
    """A run that ended, open once more, and what it was."""
    run = store.get(name)
    if run.deleted_at is not None:
        raise InvalidError(
            "run to resume", name, "one that can go on: it is deleted", "`mainspring runs restore` helps."
        )
    if run.kind in _OF_PIPELINES:
        raise InvalidError("run to resume", name, "a script's run", f"`mainspring resume {name}` resumes a pipeline's.")
    active = ActiveRun(workspace, run, script_sources(workspace.project.root))  # refused while somebody holds its lease
    try:
        with workspace.database.transaction() as tx:
            store.resume(tx, run)
    except BaseException as error:
        active.give_up(run, error)
        raise
    return active, run


def _active_run(store: RunStore) -> Run:
    """The run that is active here: an open one, or that of the step at work."""
    scope = current_scope()
    if scope is None:
        raise InvalidError("nested", True, "possible here", "Call it inside a run or step, or name its `parent`.")
    above = [edge.dst for edge in store.ledger.edges([scope.id]) if edge.role == "part_of"]
    found = store.get_many([scope.id, *above])
    return found.get(scope.id) or next(run for run in found.values() if run.kind != "task")


def _code(workspace: Workspace, sources: dict[str, bytes]) -> CodeTree | None:
    """The sources that run here, kept; None if there are none that can be told."""
    return keep_sources(sources, workspace.blobs) if sources else None


def _record_code(store: RunStore, tx: Transaction, run_id: str, name: str, code: CodeTree) -> None:
    """Name the code as the run's; a notebook's and one with late imports is known whole only at the end."""
    store.update(tx, run_id, code=code.manifest, code_digest=code.digest)
    store.keep_blobs(tx, run_id, code.blobs)
    store.ledger.node(tx, "code", code.manifest, f"code of {name}", code.digest)
    store.ledger.edge(tx, run_id, "ran", code.manifest)
