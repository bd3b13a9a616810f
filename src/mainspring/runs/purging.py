"""The end of deleted runs: a grace period after their deletion a collection removes their rows, points, files and values.

Runs of pipelines and their steps stay hidden, as what reuses a step shows its metrics. The ledger keeps that there was a
run, and what it made. What a process of this workspace still works on is left until it has ended.
"""

from __future__ import annotations

from mainspring import clock
from mainspring.runs._store import RunStore
from mainspring.runs.checkpoint import CheckpointStore
from mainspring.runs.metrics import Metrics
from mainspring.store import batches
from mainspring.workspace import Workspace

_OF_PIPELINES = "'pipeline', 'task', 'replay'"
_TABLES = {
    "run_param": "run", "run_tag": "run", "run_blob": "run", "run_artifact": "run", "run_input": "run",
    "run_file": "owner", "checkpoint": "owner", "run": "id",
}  # fmt: skip
_VALUES = {"run_artifact": ("artifact", "run"), "checkpoint": ("id", "owner")}


def purge(workspace: Workspace, grace_s: float) -> int:
    """Remove runs that were deleted longer ago than that and have ended; gives how many.

    May be killed, and is done again then.
    """
    store = RunStore(workspace.database, workspace.ledger)
    artifacts = CheckpointStore(workspace.database, workspace.ledger).artifacts
    ripe = workspace.database.query(
        f"SELECT id, series FROM run WHERE deleted_at <= ? AND kind NOT IN ({_OF_PIPELINES})",
        (clock.now_us() - int(grace_s * 1e6),),
    )
    known = store.get_many(run for run, _ in ripe)
    ripe = [(run, series) for run, series in ripe if not store.goes_on(known[run], workspace.leases)]
    if ripe:
        Metrics(workspace.metrics).remove([series for _, series in ripe])
    for batch, marks in batches(run for run, _ in ripe):
        with workspace.database.transaction() as tx:
            for table, (artifact, column) in _VALUES.items():
                rows = tx.query(f"SELECT {artifact} FROM {table} WHERE {column} IN ({marks})", batch)
                artifacts.remove(tx, [made for (made,) in rows])
            for table, column in _TABLES.items():
                tx.execute(f"DELETE FROM {table} WHERE {column} IN ({marks})", batch)
            for run in batch:
                store.ledger.append(tx, "run.purged", run)
    return len(ripe)
