"""MLflow's client inside a step: a loopback server with a token, which nobody started, for as long as the step runs.

The first run that the client starts is the step's own, later ones are its children. That the client ends it closes the client's
view only: what becomes of the step is the engine's to say. A user who set `MLFLOW_TRACKING_URI` is left alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from secrets import token_urlsafe
from typing import Any

from mainspring.ledger import new_id
from mainspring.pipelines.hooks import End, StepAtWork
from mainspring.runs import RunStore
from mainspring.server.app import ServerApp
from mainspring.server.mlflow.adoption import Adoption
from mainspring.web.server import serve_aside

_URI, _TOKEN, _SILENT = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_DISABLE_TELEMETRY"


def serve_step(step: StepAtWork) -> End:
    """Serve a step's MLflow client, and give what ends that."""
    if os.environ.get(_URI):
        return _nothing
    token = token_urlsafe(32)
    app = ServerApp(step.workspace, adoption=Adoption(_opener(step)), context=copy_context(), token=token)
    stack = ExitStack()
    address = stack.enter_context(serve_aside(app))
    # The client keeps its address in the environment, too. Nothing phones home.
    stack.enter_context(_variables({_URI: address, _TOKEN: token, _SILENT: os.environ.get(_SILENT, "true")}))
    library: Any = sys.modules["mlflow"]
    library.set_tracking_uri(address)

    def end() -> None:
        while library.active_run() is not None:
            library.end_run()
        library.set_tracking_uri(None)
        stack.close()

    return end


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
