"""The stores that MLflow's nouns are kept in, opened once for a server, and how its ids name their records."""

from __future__ import annotations

import re
from urllib.parse import unquote

from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import Ledger, note_moving
from mainspring.models._store import ModelStore
from mainspring.models.logged import LoggedModelStore
from mainspring.models.version import EXPORTS
from mainspring.runs._store import RunStore
from mainspring.runs.experiment import Experiment
from mainspring.runs.files import RunFiles
from mainspring.runs.inputs import RunInputs
from mainspring.runs.interrupted import as_read
from mainspring.runs.metrics import Metrics
from mainspring.runs.run import Run, RunState
from mainspring.server.mlflow.adoption import Adoption
from mainspring.server.mlflow.caller import is_asked_by_code
from mainspring.store import Database
from mainspring.workspace import Workspace

MIGRATIONS = [
    """
    CREATE TABLE mlflow_run_model (
        run TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, step INTEGER NOT NULL, PRIMARY KEY (run, role, model)
    )
    """,
]
_RUN = re.compile(r"[0-9a-f]{32}")
_PLACE = re.compile(
    r"(?P<number>\d{1,18})/(?:models/)?(?P<owner>m-[0-9a-f]{32}|[0-9a-f]{32}(?:\.exports)?)/artifacts(?:/(?P<path>.*))?",
    re.DOTALL,
)


class Records:
    """The records of a workspace in MLflow's terms.

    `adoption` is the run that the first one of a client becomes, if an engine runs the client.
    """

    def __init__(self, workspace: Workspace, adoption: Adoption | None = None) -> None:
        self.workspace = workspace
        self.adoption = adoption
        self.database: Database = workspace.database
        self.ledger: Ledger = workspace.ledger
        self.runs = RunStore(self.database, self.ledger)
        self.experiments = self.runs.experiments
        self.inputs = RunInputs(self.database, self.ledger)
        self.files = RunFiles(workspace)
        self.metrics = Metrics(workspace.metrics)
        self.models = ModelStore(self.database, self.ledger)
        self.logged = LoggedModelStore(workspace)
        self.database.migrate("server", MIGRATIONS)

    def experiment(self, number: str) -> Experiment:
        """An experiment by its decimal number.

        Raises:
            NotFoundError: there is none of it; names are no numbers.
        """
        if not number.isdecimal() or len(number) > 18:
            raise NotFoundError("experiment", number)
        return self.experiments.get(int(number))

    def run(self, run_id: str) -> Run:
        """A run by its whole id, deleted or not.

        Raises:
            NotFoundError: there is none of it.
        """
        found = self.runs.get_many([run_id]) if _RUN.fullmatch(run_id) else {}
        if run_id not in found:
            raise NotFoundError("run", run_id)
        return found[run_id]

    def is_asked_by_code(self, call: str) -> bool:
        """Whether a step's own code asks, by MLflow's function `call`, and not MLflow for its own ends."""
        return self.adoption is not None and is_asked_by_code(call)

    def own(self, run_id: str) -> None:
        """Count a run as work of the step whose client asks, if one does."""
        if self.adoption is not None:
            self.adoption.runs.add(run_id)

    def read_run(self, run_id: str) -> Run:
        """A run that a client is to be told of; raises as `run` does.

        The values of one that goes on move, unless it is the work of the step whose client asks.
        """
        run = self.run(run_id)
        if self.adoption is not None and run.state is RunState.RUNNING and run.id not in self.adoption.runs:
            (shown,) = as_read(self.database, self.workspace.leases, [run])
            if shown.state is RunState.RUNNING:
                note_moving("run", run.id)
        return run

    def open_run(self, run_id: str) -> Run:
        """A run that may be logged to.

        Raises:
            NotFoundError: there is none.
            InvalidError: it is deleted.
        """
        run = self.run(run_id)
        if run.deleted_at is not None:
            raise InvalidError("run_id", run_id, "a run that can be logged to: it is deleted", "Restore it first.")
        return run

    def place(self, path: str) -> tuple[str, str]:
        """Whose files a path of the artifact proxy is among, and the path there.

        Raises:
            InvalidError: it leads nowhere.
        """
        expect_inside(path)
        found = _PLACE.fullmatch(path.lstrip("/"))
        if found is None:
            raise InvalidError("path", path, "one below a run or a logged model: EXPERIMENT/RUN/artifacts/…")
        return found["owner"], found["path"] or ""

    def expect_writable(self, owner: str) -> None:
        """Refuse to change the files of what isn't there, or may not change.

        Raises:
            NotFoundError: there is no such run or logged model.
            InvalidError: the run is deleted.
            NotAllowedError: it is a version of a model.
        """
        if owner.startswith("m-"):
            self.logged.get(owner)
        else:
            if owner.endswith(EXPORTS) or self.models.find("v.id = ?", (owner,)) is not None:
                raise NotAllowedError("The files of a registered version never change. Register another version.")
            self.open_run(owner)


def expect_inside(path: str) -> None:
    """Refuse a path that leads up, however often its characters are encoded; raises `InvalidError`."""
    plain = path
    while (once := unquote(plain)) != plain:
        plain = once
    if ".." in plain.replace("\\", "/").split("/"):
        raise InvalidError("path", path, "a path that stays inside: it leads up")


def address(number: int, owner: str) -> str:
    """Where a client finds the files of a run or a logged model.

    >>> address(0, "m-12")
    'mlflow-artifacts:/0/models/m-12/artifacts'
    """
    folder = "models/" if owner.startswith("m-") else ""
    return f"mlflow-artifacts:/{number}/{folder}{owner}/artifacts"
