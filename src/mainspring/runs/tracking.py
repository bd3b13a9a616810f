"""Logging from user code: `start_run` in a script or notebook, `log_metric` and its like anywhere a run is active.

Points are kept in memory and written in groups, at the latest when the run ends, also when it ends by an exception.
"""

from __future__ import annotations

import atexit
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from mainspring import clock
from mainspring.errors import InvalidError, MainspringError, WrongTypeError
from mainspring.ledger import new_id
from mainspring.runs._store import RunStore
from mainspring.runs.git import git_state
from mainspring.runs.metrics import Metric, Metrics
from mainspring.runs.run import Run, RunState
from mainspring.secrets import redact, redact_value
from mainspring.store.heartbeat import Heartbeat
from mainspring.workspace import Workspace, current_workspace

_GROUP = 500  # points written at once
_LEASE_S = 60.0


class RunLog:
    """What is logged to one series: metrics as they come, parameters and tags until the end."""

    def __init__(self, series: str) -> None:
        self.series = series
        self.params: dict[str, Any] = {}
        self.tags: dict[str, str] = {}
        self.points: list[Metric] = []
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self.points or self.params or self.tags)

    def metric(self, key: str, value: float, step: int) -> int:
        """Keep a point in memory; gives how many wait."""
        if not isinstance(value, int | float) and not hasattr(value, "__float__"):
            raise WrongTypeError(f"metric `{key}`", value, "a number")
        point = Metric(key, float(value), int(step), clock.now_us())
        with self._lock:
            self.points.append(point)
            return len(self.points)

    def take(self) -> list[Metric]:
        """The points that wait; they are the caller's now."""
        with self._lock:
            points, self.points = self.points, []
        return points


active_log: ContextVar[RunLog | None] = ContextVar("active_log", default=None)


class ActiveRun:
    """A run that a script or notebook keeps open. Use as a context manager, or call `end()`.

    One that is still open when its process exits ends then: failed if by an uncaught exception, else succeeded.
    """

    def __init__(self, workspace: Workspace, run: Run) -> None:
        self.workspace = workspace
        self.id = run.id
        self.name = run.name
        self._log = RunLog(run.series)
        self._metrics = Metrics(workspace.metrics)
        self._lease = workspace.leases.claim(f"run:{run.id}", workspace.owner, _LEASE_S)
        self._heartbeat = Heartbeat(workspace.leases, _LEASE_S)
        self._heartbeat.hold(self._lease)
        self._heartbeat.__enter__()
        self._token = active_log.set(self._log)
        self._ended = False
        atexit.register(self._end_with_the_process)

    def log_metric(self, key: str, value: float, *, step: int = 0) -> None:
        """Keep a metric point; NaN and infinities are kept as they are."""
        if self._log.metric(key, value, step) >= _GROUP:
            self.flush()

    def log_param(self, key: str, value: object) -> None:
        """Keep a parameter, without secrets."""
        self._log.params[key] = redact_value(key, value)

    def log_tag(self, key: str, value: str) -> None:
        """Keep a tag."""
        self._log.tags[key] = redact(value)

    def flush(self) -> None:
        """Write what waits; when this returns, it survives a kill."""
        store = RunStore(self.workspace.database, self.workspace.ledger)
        points = self._log.take()
        if points:
            self._metrics.append(self._log.series, points)
        run = store.get(self.id)
        with self.workspace.database.transaction() as tx:
            store.update(tx, self.id, params=run.params | self._log.params, tags=run.tags | self._log.tags)

    def end(self, state: RunState = RunState.SUCCEEDED, error: str | None = None) -> None:
        """Write what waits and close the run; a second call does nothing."""
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self._end_with_the_process)
        with suppress(ValueError):  # a notebook's cells may be contexts of their own, in which nothing is to be undone
            active_log.reset(self._token)
        self._heartbeat.__exit__()
        self.flush()
        with self.workspace.database.transaction() as tx:
            RunStore(self.workspace.database, self.workspace.ledger).finish(tx, self.id, state, error)
            self.workspace.leases.release_in(tx, self._lease)

    def _end_with_the_process(self) -> None:
        """The end of a run that nobody ended: failed if an exception ends the script."""
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)  # set by an uncaught one
        with suppress(MainspringError):  # the workspace may be closed or gone; then the run shows as interrupted
            self.__exit__(None if error is None else type(error), error, None)

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            state = RunState.CANCELLED if isinstance(error, KeyboardInterrupt) else RunState.FAILED
            self.end(state, redact(f"{type(error).__name__}: {error}"))

    def __repr__(self) -> str:
        return f"<run {self.name} {self.id[:12]}{', ended' if self._ended else ''}>"

    def _repr_html_(self) -> str:
        return f"<b>run {self.name}</b> <code>{self.id[:12]}</code>"


def start_run(
    name: str = "run",
    *,
    experiment: str = "Default",
    params: dict[str, Any] | None = None,
    workspace: Workspace | None = None,
) -> ActiveRun:
    """Start a run from a script or notebook, in the workspace of the project here.

    >>> import tempfile, pathlib
    >>> from mainspring.workspace import Workspace
    >>> workspace = Workspace.open(pathlib.Path(tempfile.mkdtemp()))
    >>> with start_run("trial", params={"depth": 3}, workspace=workspace) as run:
    ...     run.log_metric("auc", 0.81)
    """
    workspace = workspace or current_workspace()
    git = git_state(workspace.project.root)
    diff = workspace.blobs.put(git.diff.encode()) if git.diff else None
    run_id = new_id()
    clean = {key: redact_value(key, value) for key, value in (params or {}).items()}
    store = RunStore(workspace.database, workspace.ledger)
    with workspace.database.transaction() as tx:
        run = store.create(
            tx,
            kind="script",
            name=name,
            id=run_id,
            experiment=experiment,
            params=clean,
            git_commit=git.commit,
            git_diff=diff,
        )
    return ActiveRun(workspace, run)


def log_metric(key: str, value: float, *, step: int = 0) -> None:
    """Keep a metric point of the run or step that is active here.

    Raises:
        InvalidError: no run is active.
    """
    _active("metric", key).metric(key, value, step)


def log_param(key: str, value: object) -> None:
    """Keep a parameter of the run or step that is active here; raises as `log_metric` does."""
    _active("parameter", key).params[key] = redact_value(key, value)


def log_tag(key: str, value: str) -> None:
    """Keep a tag of the run or step that is active here; raises as `log_metric` does."""
    _active("tag", key).tags[key] = redact(value)


def _active(kind: str, key: str) -> RunLog:
    log = active_log.get()
    if log is None:
        raise InvalidError(kind, key, "logged inside a run", "Call it in a step, or after `run = ms.start_run()`.")
    return log
