"""Which runs nobody works on any more, told by their leases: every reader shows and finds those as interrupted.

A run is under its own lease or under that of the run that it is part of. One of a client of MLflow has none: it goes on until
its client ends it, or until what it is part of is interrupted. The same rule stands here twice: for runs that were read, and as
SQL for those that are looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from mainspring.runs.listing import Term
from mainspring.runs.run import CLIENT_KIND, Run, RunState
from mainspring.store import Database, Leases, batches

_PREFIX = "run:"
_Row = tuple[str, str, str, str | None]  # id, kind, state, parent


def as_read(database: Database, leases: Leases, runs: Sequence[Run]) -> list[Run]:
    """The runs with the states that they are in, in this order."""
    cut = _cut(database, leases, [(run.id, run.kind, run.state.value, run.parent) for run in runs])
    return [replace(run, state=RunState.INTERRUPTED) if run.id in cut else run for run in runs]


def state_as_read(leases: Leases) -> Term:
    """The state that a row of `run` is in, as SQL."""
    held = [name.removeprefix(_PREFIX) for name in leases.live(_PREFIX)]
    marks = ", ".join("?" * (len(held) + 1))
    among = ("", *held)  # an empty list is no SQL
    cut = f"""
        WITH RECURSIVE cut (id) AS (
            SELECT id FROM run AS own WHERE own.state = 'running' AND own.kind <> '{CLIENT_KIND}'
                AND own.id NOT IN ({marks}) AND (own.parent IS NULL OR own.parent NOT IN ({marks}))
            UNION
            SELECT inside.id FROM cut JOIN run AS inside ON inside.parent = cut.id
                WHERE inside.state = 'running' AND inside.kind = '{CLIENT_KIND}'
        ) SELECT id FROM cut
    """
    state = f"""
        CASE WHEN run.state <> 'running' THEN run.state
            WHEN run.kind <> '{CLIENT_KIND}' AND (run.id IN ({marks}) OR run.parent IN ({marks})) THEN 'running'
            WHEN run.kind <> '{CLIENT_KIND}' OR run.parent IN ({cut}) THEN 'interrupted' ELSE 'running' END
    """
    return Term(state, among * 4)


def _cut(database: Database, leases: Leases, rows: Iterable[_Row]) -> set[str]:
    """The ids among these of runs that were interrupted."""
    open_rows = [row for row in rows if row[2] == RunState.RUNNING.value]
    owned = [row for row in open_rows if row[1] != CLIENT_KIND]
    held = leases.held_among({_PREFIX + name for run_id, _, _, parent in owned for name in (run_id, parent or run_id)})
    cut = {row[0] for row in owned if not {_PREFIX + row[0], _PREFIX + (row[3] or row[0])} & held}
    parents = {row[0]: row[3] for row in open_rows if row[1] == CLIENT_KIND and row[3] is not None}
    if parents:
        above = _cut(database, leases, _rows(database, parents.values()))
        cut |= {run_id for run_id, parent in parents.items() if parent in above}
    return cut


def _rows(database: Database, ids: Iterable[str | None]) -> list[_Row]:
    return [
        row
        for batch, marks in batches(each for each in ids if each is not None)
        for row in database.query(f"SELECT id, kind, state, parent FROM run WHERE id IN ({marks})", batch)
    ]
