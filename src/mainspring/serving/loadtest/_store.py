"""The table of load tests: each is kept with the model version that answered."""

from __future__ import annotations

import msgspec

from mainspring.ledger import new_id
from mainspring.models import ModelVersion, get_model_version
from mainspring.serving.loadtest.report import LoadReport
from mainspring.store import Database
from mainspring.workspace import Workspace, current_workspace

MIGRATIONS = [
    """
    CREATE TABLE loadtest (
        id TEXT PRIMARY KEY, version TEXT NOT NULL, endpoint TEXT NOT NULL, at INTEGER NOT NULL, report TEXT NOT NULL
    );
    CREATE INDEX loadtest_by_version ON loadtest (version, at, id)
    """,
]


def keep_load_test(report: LoadReport, workspace: Workspace | None = None) -> str:
    """Keep a report with the model version that answered; gives its id.

    Raises:
        NotFoundError: this workspace has no such version.
    """
    workspace = workspace or current_workspace()
    version = get_model_version(report.version, workspace)
    made, label = new_id(), f"load test of {version}"
    with _migrated(workspace.database).transaction() as tx:
        values: dict[str, str | int] = {"id": made, "version": version.id, "endpoint": report.endpoint, "at": report.at}
        values["report"] = msgspec.json.encode(report).decode()
        tx.insert("loadtest", values)
        workspace.ledger.node(tx, "load test", made, label)
        workspace.ledger.edge(tx, made, "of", version.id)
        told = {"endpoint": report.endpoint, "version": str(version), "capacity_per_s": report.capacity_per_s}
        workspace.ledger.append(tx, "model.load-tested", version.id, told)
    return made


def list_load_tests(version: str | ModelVersion, workspace: Workspace | None = None) -> list[LoadReport]:
    """The load tests of a model version, by any reference, newest first.

    Raises:
        NotFoundError: there is no such version.
    """
    workspace = workspace or current_workspace()
    found = get_model_version(version, workspace) if isinstance(version, str) else version
    query = "SELECT report FROM loadtest WHERE version = ? ORDER BY at DESC, id DESC"
    rows = _migrated(workspace.database).query(query, (found.id,))
    return [msgspec.json.decode(row[0], type=LoadReport) for row in rows]


def _migrated(database: Database) -> Database:
    database.migrate("loadtest", MIGRATIONS)
    return database
