"""The process form of a search: `python -m mainspring.studies.worker` makes one trial for each order."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from mainspring.config import Settings
from mainspring.runners import WorkOrder
from mainspring.runners.worker import serve_orders
from mainspring.secrets import redact
from mainspring.studies._store import StudyStore
from mainspring.studies.objective import IN_WORKER, find_objective
from mainspring.studies.search import Search
from mainspring.studies.sights import seen_to
from mainspring.workspace import Project, Workspace


def _ready() -> Callable[[WorkOrder], None]:
    root = Path(os.environ["MAINSPRING_PROJECT"])
    workspace = Workspace.open(project=Project(root, Settings.load(root)))
    try:
        search = _opened(workspace, os.environ[IN_WORKER])
    except (Exception, SystemExit) as error:  # noqa: BLE001  # an objective's module may raise anything while it is imported
        told = redact(f"{type(error).__name__}: {error}")
        return lambda order: _refuse(order, told)
    return partial(_obey, search)


def _obey(search: Search, order: WorkOrder) -> None:
    root = order.payload["root"]
    with nullcontext() if root is None else seen_to(order.log_path, root, search.workspace):
        search.one(claim=order.id)


def _refuse(order: WorkOrder, told: str) -> None:
    """Tell the supervisor, which reads it behind the order's end."""
    Path(order.log_path).write_text(told)


def _opened(workspace: Workspace, study: str) -> Search:
    record = StudyStore(workspace).get(study)
    return Search(workspace, record, find_objective(record.definition.objective)).__enter__()


if __name__ == "__main__":
    serve_orders(_ready)
