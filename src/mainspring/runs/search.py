"""Search of runs in MLflow's grammar: conditions on metrics are answered by their own database, then runs by the rest."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from mainspring.ledger import note_search
from mainspring.runs import filters
from mainspring.runs._store import RunStore
from mainspring.runs.experiment import View, seen
from mainspring.runs.filters import Condition, Kind, Order
from mainspring.runs.interrupted import as_read, state_as_read
from mainspring.runs.listing import Listing, Term
from mainspring.runs.metrics import Metrics
from mainspring.runs.page import Page, checked_limit, from_cursor, to_cursor
from mainspring.runs.run import Run
from mainspring.store import BATCH
from mainspring.workspace import Workspace, current_workspace

ARTIFACT_URI = "mlflow-artifacts:/{number}/{run}/artifacts"
"""Where MLflow's clients find the files of a run."""
STATUS = {
    "running": "RUNNING", "succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "interrupted": "KILLED",
}  # fmt: skip
"""MLflow's word for each state."""
_URI = ARTIFACT_URI.format(number="' || experiment.number || '", run="' || run.id || '")
_STATUS = "CASE {} " + " ".join(f"WHEN '{state}' THEN '{status}'" for state, status in STATUS.items()) + " END"
_USER = "COALESCE((SELECT text FROM run_tag WHERE run_tag.run = run.id AND run_tag.key = 'mlflow.user'), run.actor)"
_NUMBERS = {
    "start_time": "run.started_at / 1000",  # milliseconds, as MLflow's clients have them
    "end_time": "run.ended_at / 1000",
    "started_at": "run.started_at",
    "ended_at": "run.ended_at",
    "updated_at": "run.updated_at",
}
_TEXTS = {
    "run_id": "run.id", "id": "run.id", "run_name": "run.name", "name": "run.name", "kind": "run.kind",
    "status": _STATUS.format("run.state"), "state": "run.state", "user_id": _USER, "actor": "run.actor",
    "artifact_uri": f"'{_URI}'", "experiment": "experiment.name", "experiment_id": "CAST(experiment.number AS TEXT)",
    "parent": "run.parent", "note": "run.note", "error": "run.error", "git_commit": "run.git_commit",
}  # fmt: skip
_ALIASES = {
    "created": "start_time",
    "Created": "start_time",
    "Run Name": "run_name",
    "Run name": "run_name",
    "run name": "run_name",
}
_ATTRIBUTES = _NUMBERS | _TEXTS
_ATTRIBUTES |= {alias: _ATTRIBUTES[name] for alias, name in _ALIASES.items()}
KINDS = filters.Kinds(
    "runs",
    {name: "number" if _ALIASES.get(name, name) in _NUMBERS else "text" for name in _ATTRIBUTES},
    ("metric", "param", "tag", "dataset"),
)
_BY_STATE: set[tuple[Kind, str]] = {("attribute", "state"), ("attribute", "status")}
_Row = tuple[Any, ...]
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
    the last value of each. The state is what it is when it is read: a run whose process was killed was interrupted. The
    cursor of a page leads to the next, whatever is added meanwhile.

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
    note_search("runs", filter)
    where = [Term(seen("run", view))]
    if experiments is not None:
        ids = tuple(store.experiments.get(each).id for each in experiments)
        where.append(Term(f"run.experiment IN ({', '.join('?' * len(ids)) or 'NULL'})", ids))
    asked = {(each.kind, each.key) for each in conditions} | {(each.kind, each.key) for each in orders}
    listing = _listing(workspace, is_by_state=bool(asked & _BY_STATE))
    if any(kind == "metric" for kind, _ in asked):
        found = _ByMetrics(workspace, listing, conditions, orders, where).find(limit=limit, cursor=cursor)
    else:
        found = listing.find(workspace.database, conditions, orders, limit=limit, cursor=cursor, where=where)
    runs = store.get_many(found)
    return Page(as_read(workspace.database, workspace.leases, [runs[run_id] for run_id in found]), found.cursor)


def _listing(workspace: Workspace, *, is_by_state: bool) -> Listing:
    """How runs are searched; the state as it is costs a query, so it is told where it is asked for."""
    if not is_by_state:
        return _LISTING
    state = state_as_read(workspace.leases)
    known = {("attribute", "state"): state, ("attribute", "status"): replace(state, sql=_STATUS.format(state.sql))}
    return replace(_LISTING, term=lambda kind, key: known.get((kind, key)) or _term(kind, key))


def _term(kind: Kind, key: str) -> Term:
    if kind == "dataset":
        around = "EXISTS (SELECT 1 FROM run_input AS used WHERE used.run = run.id AND {})"
        return Term(f"used.{key}", (), around)
    if kind == "attribute":
        return Term(_ATTRIBUTES[key])
    if kind == "metric":
        return Term("NULL")  # known only to the metrics' database
    return Term(f"(SELECT text FROM run_{kind} WHERE run_{kind}.run = run.id AND run_{kind}.key = ?)", (key,))


_LISTING = Listing("run LEFT JOIN experiment ON experiment.id = run.experiment", _term, _TIES)


class _ByMetrics:
    """A search in which metrics decide: every other condition is asked of the runs, metrics of their series."""

    def __init__(
        self, workspace: Workspace, listing: Listing, conditions: Sequence[Condition], orders: Sequence[Order],
        where: Sequence[Term],
    ) -> None:  # fmt: skip
        self._database, self._metrics, self._orders = workspace.database, Metrics(workspace.metrics), orders
        self._listing = listing
        self._asked = [each for each in conditions if each.kind == "metric"]
        self._where = [*where, *(listing.condition(each) for each in conditions if each.kind != "metric")]
        self._keys = listing.keys(orders)
        self._ranks = [_rank(down) for _, down in self._keys]

    def find(self, *, limit: int, cursor: str | None) -> Page[str]:
        """The ids that match, in order, and the cursor of what follows."""
        wanted, last = checked_limit(limit) + 1, None
        if cursor is not None:
            last = [math.nan if value == "NaN" else value for value in from_cursor(cursor, len(self._keys))]
        rows = self._among_the_best(last, wanted)
        if len(rows) < wanted:
            rows = self._behind(last, self._valued(self._matching(self._rows())))
        best = heapq.nsmallest(wanted, rows, key=self._rank_of)
        if len(best) < wanted:
            return Page([row[-2] for row in best])
        place = ["NaN" if value != value else value for value in best[limit - 1][: len(self._keys)]]
        return Page([row[-2] for row in best[:limit]], to_cursor(place))

    def _among_the_best(self, last: list[Any] | None, wanted: int) -> list[_Row]:
        """What matches among the best few by the first order, if that is a metric. Too few mean nothing."""
        first = self._orders[0] if self._orders else None
        if first is None or first.kind != "metric" or (last is not None and (last[0] is None or math.isnan(last[0]))):
            return []
        after = None if last is None else last[0]
        best = self._metrics.best(first.key, highest=first.is_descending, count=BATCH, after=after, where=self._asked)
        if len(best) == BATCH:  # others may be equal to the last
            bound = best[next(reversed(best))]
            best = {series: value for series, value in best.items() if value != bound}
        if len(best) < wanted:
            return []
        among = Term(f"run.series IN ({', '.join('?' * len(best))})", tuple(best))
        return self._behind(last, self._valued(self._rows(among)))

    def _rows(self, *where: Term) -> list[_Row]:
        """What orders each run that fulfils all but the conditions on metrics, its id and its series."""
        columns = [*self._keys, (Term("run.series"), False)]
        rows: list[_Row] = self._database.query(*self._listing.select(columns, [*self._where, *where]))
        return rows

    def _matching(self, rows: list[_Row]) -> list[_Row]:
        """The rows whose metrics fulfil the conditions on them."""
        for condition in self._asked:
            series = self._metrics.matching(condition, [row[-1] for row in rows])
            is_wanted = condition.operator != "IS NULL"
            rows = [row for row in rows if (row[-1] in series) is is_wanted]
        return rows

    def _valued(self, rows: list[_Row]) -> list[_Row]:
        """The rows with the last values of the metrics that order them."""
        for place, order in enumerate(self._orders):
            if order.kind == "metric":
                value_of = self._metrics.by_value(order.key, [row[-1] for row in rows])
                rows = [(*row[:place], value_of.get(row[-1]), *row[place + 1 :]) for row in rows]
        return rows

    def _behind(self, last: list[Any] | None, rows: list[_Row]) -> list[_Row]:
        if last is None:
            return rows
        place = self._rank_of(last)
        return [row for row in rows if self._rank_of(row) > place]

    def _rank_of(self, row: Sequence[Any]) -> list[Any]:
        return [rank(value) for rank, value in zip(self._ranks, row, strict=False)]


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
