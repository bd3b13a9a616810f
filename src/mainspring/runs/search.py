"""Search of runs in MLflow's grammar: conditions on metrics are answered by their own database, then runs by the rest."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Any

from mainspring.runs import filters
from mainspring.runs._store import RunStore
from mainspring.runs.experiment import View, seen
from mainspring.runs.filters import Condition, Kind, Order
from mainspring.runs.listing import Listing, Term
from mainspring.runs.metrics import Metrics
from mainspring.runs.page import Page, checked_limit, from_cursor, to_cursor
from mainspring.runs.run import Run
from mainspring.workspace import Workspace, current_workspace

ARTIFACT_URI = "mlflow-artifacts:/{number}/{run}/artifacts"
"""Where MLflow's clients find the files of a run."""
STATUS = {
    "running": "RUNNING", "succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "interrupted": "KILLED",
}  # fmt: skip
"""MLflow's word for each state."""
_URI = ARTIFACT_URI.format(number="' || experiment.number || '", run="' || run.id || '")
_STATUS = " ".join(f"WHEN '{state}' THEN '{status}'" for state, status in STATUS.items())
_NUMBERS = {
    "start_time": "run.started_at / 1000",  # milliseconds, as MLflow's clients have them
    "end_time": "run.ended_at / 1000",
    "started_at": "run.started_at",
    "ended_at": "run.ended_at",
    "updated_at": "run.updated_at",
}
_TEXTS = {
    "run_id": "run.id", "id": "run.id", "run_name": "run.name", "name": "run.name", "kind": "run.kind",
    "status": f"CASE run.state {_STATUS} END", "state": "run.state", "user_id": "run.actor", "actor": "run.actor",
    "artifact_uri": f"'{_URI}'", "experiment": "experiment.name", "experiment_id": "CAST(experiment.number AS TEXT)",
    "parent": "run.parent", "note": "run.note", "error": "run.error", "git_commit": "run.git_commit",
}  # fmt: skip
_ALIASES = {"created": "start_time", "Created": "start_time", "Run Name": "run_name", "run name": "run_name"}
_ATTRIBUTES = _NUMBERS | _TEXTS
_ATTRIBUTES |= {alias: _ATTRIBUTES[name] for alias, name in _ALIASES.items()}
KINDS = filters.Kinds(
    "runs",
    {name: "number" if _ALIASES.get(name, name) in _NUMBERS else "text" for name in _ATTRIBUTES},
    ("metric", "param", "tag", "dataset"),
)
_TIES = (("run.started_at", True), ("run.id", False))


def search_runs(
    filter: str = "",  # noqa: A002  # the word of MLflow's clients
    *,
    experiments: Sequence[str | int] | None = None,
    order_by: Sequence[str] = (),
    limit: int = 100,
    cursor: str | None = None,
    view: View = "active",
    workspace: Workspace | None = None,
) -> Page[Run]:
    """Runs that match a filter such as `metrics.auc > 0.9 AND params.depth = '3'`, in an order such as `metrics.auc DESC`.

    A run without what orders comes last, one whose metric is NaN before those; equals come newest first. The metric is
    the last value of each. The cursor of a page leads to the next, whatever is added meanwhile.

    Raises:
        InvalidError: the filter or an order breaks the grammar, at the place that is named; or limit or cursor is wrong.
        NotFoundError: an experiment does not exist.

    >>> import tempfile, pathlib
    >>> from mainspring.runs import start_run
    >>> workspace = Workspace.open(pathlib.Path(tempfile.mkdtemp()))
    >>> for depth in (2, 3):
    ...     with start_run(f"depth {depth}", params={"depth": depth}, workspace=workspace) as run:
    ...         run.log_metric("auc", depth / 10)
    >>> page = search_runs("metrics.auc > 0.1", order_by=["metrics.auc DESC"], limit=1, workspace=workspace)
    >>> [run.name for run in page], page.cursor is None
    (['depth 3'], False)
    """
    workspace = workspace or current_workspace()
    store = RunStore(workspace.database, workspace.ledger)
    conditions = filters.parse_filter(filter, KINDS)
    orders = [filters.parse_order(each, KINDS) for each in order_by]
    where = [Term(seen("run", view))]
    if experiments is not None:
        ids = tuple(store.experiments.get(each).id for each in experiments)
        where.append(Term(f"run.experiment IN ({', '.join('?' * len(ids)) or 'NULL'})", ids))
    asked = [each.kind for each in conditions] + [each.kind for each in orders]
    if "metric" in asked:
        found = _by_metrics(workspace, conditions, orders, where, limit=limit, cursor=cursor)
    else:
        found = _LISTING.find(workspace.database, conditions, orders, limit=limit, cursor=cursor, where=where)
    runs = store.get_many(found)
    return Page([runs[run_id] for run_id in found], found.cursor)


def _term(kind: Kind, key: str) -> Term:
    if kind == "dataset":
        around = "EXISTS (SELECT 1 FROM run_input AS used WHERE used.run = run.id AND {})"
        return Term(f"used.{key}", (), around)
    if kind == "attribute":
        return Term(_ATTRIBUTES[key])
    if kind == "metric":
        return Term("NULL")  # known only to the metrics' database
    return Term(f"(SELECT text FROM run_{kind} WHERE run_{kind}.run = run.id AND run_{kind}.key = ?)", (key,))


_LISTING = Listing("run JOIN experiment ON experiment.id = run.experiment", _term, _TIES)


def _by_metrics(
    workspace: Workspace, conditions: Sequence[Condition], orders: Sequence[Order], where: Sequence[Term], *, limit: int,
    cursor: str | None,
) -> Page[str]:  # fmt: skip
    """The ids that match, where a metric decides: every other condition is asked of the runs, metrics of their series."""
    metrics = Metrics(workspace.metrics)
    asked = [(each, metrics.matching(each)) for each in conditions if each.kind == "metric"]
    others = [_LISTING.condition(each) for each in conditions if each.kind != "metric"]
    keys = _LISTING.keys(orders)
    sql, values = _LISTING.select([*keys, (Term("run.series"), False)], [*where, *others])
    rows = workspace.database.query(sql, values)
    for condition, series in asked:
        is_wanted = condition.operator != "IS NULL"
        rows = [row for row in rows if (row[-1] in series) is is_wanted]
    for place, order in enumerate(orders):
        if order.kind == "metric":
            value_of = metrics.by_value(order.key)
            rows = [(*row[:place], value_of.get(row[-1]), *row[place + 1 :]) for row in rows]
    ranks = [_rank(down) for _, down in keys]

    def rank(row: Sequence[Any]) -> list[Any]:
        return [of(value) for of, value in zip(ranks, row, strict=False)]

    if cursor is not None:
        last = rank([math.nan if value == "NaN" else value for value in from_cursor(cursor, len(keys))])
        rows = [row for row in rows if rank(row) > last]
    best = heapq.nsmallest(checked_limit(limit) + 1, rows, key=rank)
    if len(best) <= limit:
        return Page([row[-2] for row in best])
    place_of_last = ["NaN" if value != value else value for value in best[limit - 1][: len(keys)]]
    return Page([row[-2] for row in best[:limit]], to_cursor(place_of_last))


def _rank(down: bool) -> Callable[[Any], tuple[int, Any]]:
    """What sorts values of one key: first those that compare, then NaN, then none."""

    def rank(value: Any) -> tuple[int, Any]:
        if value is None:
            return 2, 0
        if value != value:
            return 1, 0
        if not down:
            return 0, value
        return 0, _Downwards(value) if isinstance(value, str) else -value

    return rank


class _Downwards:
    """A text that sorts the other way round."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Downwards) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Downwards) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)
