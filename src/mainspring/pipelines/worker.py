"""The process form of a step's execution: `python -m mainspring.pipelines.worker`.

With pipes (`MAINSPRING_ORDERS`) it is a warm worker under supervision. Without, it is told one task, knows only the two
URLs in its environment, supervises a worker of its own and records how that ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from mainspring.artifacts.project import import_folders, is_recorded_code
from mainspring.config import Settings
from mainspring.errors import LeaseLostError, MainspringError, NotFoundError
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.code.fingerprint import Fingerprinter
from mainspring.pipelines.code.reads import files_read
from mainspring.pipelines.code.registrations import has_registrations
from mainspring.pipelines.decision import Decider
from mainspring.pipelines.execution import Place, execute
from mainspring.pipelines.leftovers import leftovers, note_late_imports, unlike_the_original
from mainspring.pipelines.observation.importing import ImportWatch
from mainspring.pipelines.orders import InFlight, record_exit
from mainspring.pipelines.printed import log_blob
from mainspring.pipelines.seeds import seed_everything
from mainspring.pipelines.session import WORKER, code_folder, source_roots
from mainspring.pipelines.step import Step
from mainspring.pipelines.task import Attempt, Task
from mainspring.pipelines.values import Values
from mainspring.runners import ChildProcess, WorkOrder
from mainspring.runners.worker import serve_orders
from mainspring.runs import RunStore
from mainspring.runs.environment import snapshot
from mainspring.store import Lease
from mainspring.store.heartbeat import Heartbeat
from mainspring.workspace import Project, Workspace

_POLL_S = 0.02


def main(arguments: list[str]) -> int:
    """Serve orders from a pipe, or see one task through."""
    if "MAINSPRING_ORDERS" in os.environ:
        serve_orders(_ready)
    named = dict(zip(arguments[::2], arguments[1::2], strict=True))
    with _opened(Path.cwd()) as workspace:
        return _see_through(workspace, named["--task"], int(named["--token"]))


def _ready() -> Callable[[WorkOrder], None]:
    workspace = _opened(Path(os.environ.get("MAINSPRING_CODE") or Path.cwd() / "code"))
    return partial(_obey, workspace, TaskStore(workspace.database, workspace.ledger, workspace.leases))


def _obey(workspace: Workspace, store: TaskStore, order: WorkOrder) -> None:
    task, attempt, lease = _named(store, order.payload["task"], order.payload["token"])
    values = Values(store.artifacts, workspace.blobs)
    run = RunStore(workspace.database, workspace.ledger).get(task.run)
    place = Place(workspace, store, values, workspace.project.root, isolated=True)
    known = _fingerprinter(workspace)
    place.loads = lambda module: known.load(module).loaded
    left = leftovers if task.replay_of is None else unlike_the_original
    place.left = partial(left, Decider(store, values, known, run.seed, keep=False))
    log_path = Path(order.log_path)
    scratch = log_path.with_suffix("")
    scratch.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    os.chdir(scratch)
    try:
        # A refused commit has been recorded by whoever took the task over.
        with suppress(LeaseLostError):
            execute(place, task, attempt, lease, partial(_imported, place, task, run.module), log_path)
    finally:
        with suppress(FileNotFoundError):  # whoever gave the order was killed, and its folders are gone
            os.chdir(before)


def _imported(place: Place, task: Task, entry: str) -> Any:
    """The step's function, imported from the recorded code, which is this process's project."""
    seed_everything(task.seed)
    folders = source_roots(place.workspace, place.root)
    import_folders.set(tuple(folders))
    is_recorded_code.set(True)
    for folder in reversed(folders):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    parts = place.store.fingerprint_parts(task.fingerprint or "")
    if has_registrations(parts) and entry not in sys.modules:
        _first_import(place, task, entry)
    found: Any = sys.modules.get(task.module) or _first_import(place, task, task.module)
    for part in task.qualname.split("."):
        found = getattr(found, part)
    return found.function if isinstance(found, Step) else found


def _first_import(place: Place, task: Task, module: str) -> Any:
    """The step's module. What its import reads by a relative path lies in the recorded code, as it did in the project."""
    before = Path.cwd()
    if files_read(place.store.fingerprint_parts(task.fingerprint or "")):
        os.chdir(place.root)
    try:
        with ImportWatch(place.workspace):
            return import_module(module)
    finally:
        os.chdir(before)


@lru_cache(maxsize=1)
def _fingerprinter(workspace: Workspace) -> Fingerprinter:
    """What is known of the recorded code, which is one for all tasks of this process."""
    root = workspace.project.root
    known = Fingerprinter(root, workspace.cache, snapshot(), 0, import_roots=source_roots(workspace, root))
    note_late_imports(known.project, (found.name for found in known.project.modules.everything()))
    return known


def _see_through(workspace: Workspace, task_id: str, token: int) -> int:
    """Supervise a worker of one's own, keep the lease, record an end that the worker couldn't."""
    store = TaskStore(workspace.database, workspace.ledger, workspace.leases)
    task, attempt, lease = _named(store, task_id, token)
    run = RunStore(workspace.database, workspace.ledger).get(task.run)
    folder = Path.cwd()
    code = code_folder(workspace, run.code or "")
    log_path = folder / f"{attempt.id}.log"
    child = ChildProcess(
        [sys.executable, "-m", WORKER],
        environment=os.environ | {"MAINSPRING_CODE": str(code), "MAINSPRING_CACHE": str(workspace.cache)},
        folder=folder / "worker",
    )
    flying = InFlight(task, attempt, lease, log_path)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())  # whoever started this one gave it up
    with Heartbeat(workspace.leases, float(workspace.project.settings.lease_s)) as heartbeat:
        heartbeat.hold(lease)
        child.submit(flying.order)
        while (found := child.poll()) is None and not heartbeat.lost and not stopped.is_set():
            time.sleep(min(child.due_s(), _POLL_S))
    child.kill()
    if found is None:  # somebody else has the task now, or nobody; what was printed is the attempt's all the same
        log = log_blob(log_path, workspace.blobs)
        if log is not None:
            store.hand_in_log(attempt.id, log)
        return 1
    if found.kind != "done":
        with suppress(LeaseLostError):
            record_exit(store, workspace.blobs, flying, found)
    return 0


def _named(store: TaskStore, task_id: str, token: int) -> tuple[Task, Attempt, Lease]:
    """A task with the attempt that a token stands for."""
    task = store.get(task_id)
    if task is None:
        raise NotFoundError("task", task_id)
    attempt = next((each for each in store.attempts(task_id) if each.token == token), None)
    if attempt is None:
        raise NotFoundError("attempt", f"{task_id} token {token}")
    return task, attempt, Lease(f"task:{task_id}", attempt.worker, token)


def _opened(root: Path) -> Workspace:
    """The workspace that the environment names; its project is a folder with recorded code."""
    return Workspace.open(project=Project(root, Settings.load(root)))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MainspringError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
