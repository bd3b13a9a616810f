"""MLflow's client inside a step: a loopback server with a token, which nobody started, for as long as the step runs.

What threads of the client send while the step ends is waited for. Whoever asks later is told that the step is over: a client
that finds nobody at the address goes on trying for minutes, and the process waits for its threads.

The first run that the client starts is the step's own, later ones are its children. That the client ends it closes the client's
view only: what becomes of the step is the engine's to say. A user who set `MLFLOW_TRACKING_URI` is left alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from functools import cache
from secrets import token_urlsafe
from typing import Any

from mainspring.ledger import new_id
from mainspring.pipelines.hooks import End, StepAtWork
from mainspring.runs import RunStore
from mainspring.server.app import ServerApp
from mainspring.server.mlflow.adoption import Adoption
from mainspring.server.mlflow.caller import threads_inside
from mainspring.web.server import DRAIN_S, Aside

_MOST_KEPT = 8
_SEEN_QUIET = 2
_TURN_S = 0.02
_URI, _TOKEN, _SILENT = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_DISABLE_TELEMETRY"


def serve_step(step: StepAtWork) -> End:
    """Serve a step's MLflow client, and give what ends that."""
    if os.environ.get(_URI):
        return _nothing
    token = token_urlsafe(32)
    app = ServerApp(step.workspace, adoption=Adoption(_opener(step)), context=copy_context(), token=token)
    served = Aside(app)
    stack = ExitStack()
    stack.callback(_kept().add, served)
    stack.callback(app.end, f"The step `{step.name}`, whose client this is, is over.")
    # The client keeps its address in the environment, too. Nothing phones home.
    own = {_URI: served.address, _TOKEN: token, _SILENT: os.environ.get(_SILENT, "true")}
    stack.enter_context(_variables(own))
    library: Any = sys.modules["mlflow"]
    library.set_tracking_uri(served.address)
    stack.callback(library.set_tracking_uri, None)

    def end() -> None:
        with stack, _variables(own):  # they are put back already where the library was imported before the step
            library.flush_async_logging()
            while library.active_run() is not None:
                library.end_run()
            _wait_for_quiet(app)

    return end


class _Kept:
    """The servers of steps that are over, of which the last few go on answering until the process ends."""

    def __init__(self) -> None:
        self._served: deque[Aside] = deque()

    def add(self, served: Aside) -> None:
        """Keep one, and close the oldest if there are too many."""
        self._served.append(served)
        if len(self._served) > _MOST_KEPT:
            self._served.popleft().close()


@cache
def _kept() -> _Kept:
    return _Kept()


def _wait_for_quiet(app: ServerApp) -> None:
    """Wait until nothing is under way and no thread of MLflow's works, as seen twice in a row; or until it took too long.

    Daemons are those that wait for work, and hand it to others.
    """
    until, quiet = time.monotonic() + DRAIN_S, 0
    while time.monotonic() < until:
        inside = threads_inside()
        is_busy = app.metrics.in_flight > 0 or any(not each.daemon for each in inside)
        quiet = 0 if is_busy else quiet + 1
        if quiet == _SEEN_QUIET or not (is_busy or inside):
            return
        time.sleep(_TURN_S)


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables with other values in the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _opener(step: StepAtWork) -> Any:
    """What records the step's run when its client starts one, with the series that the step logs to."""

    def opened(experiment: str) -> str:
        if step.log.run is None:
            runs = RunStore(step.workspace.database, step.workspace.ledger)
            with step.workspace.database.transaction() as tx:
                made = runs.create(
                    tx, kind="task", name=step.name, id=new_id(), experiment=experiment, parent=step.run,
                    series=step.log.series,
                )  # fmt: skip
                step.workspace.ledger.edge(tx, made.id, "logged_by", step.task, step.task)
            step.log.run = made.id
        return step.log.run

    return opened


def _nothing() -> None:
    """What ends a server that was not started."""
