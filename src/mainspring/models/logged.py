"""Logged models: what a run keeps of a model that has no name in the registry yet, as MLflow's clients log it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, NotFoundError, RemovedError
from mainspring.ledger import new_id
from mainspring.models import _rows
from mainspring.models._rules import check_tags, check_text, without
from mainspring.models._store import ModelStore
from mainspring.runs import filters
from mainspring.runs.files import RunFiles
from mainspring.runs.listing import Listing, Term
from mainspring.runs.page import Page
from mainspring.store import batches
from mainspring.workspace import Workspace

STATUSES = ("PENDING", "READY", "FAILED")


class LoggedMetric(msgspec.Struct, frozen=True):
    """A value measured of a logged model, perhaps on a dataset; `at` is in microseconds since 1970."""

    key: str
    value: float
    step: int
    at: int
    dataset: str = ""
    dataset_digest: str = ""
    run: str = ""


class LoggedModel(msgspec.Struct, frozen=True):
    """A model of a run. `id` is `m-` and 32 hex characters, `experiment` a number; its files are those of its id.

    Times are microseconds since 1970; `status` is PENDING while it is written, then READY or FAILED, and `message` why.
    """

    id: str
    name: str
    experiment: int
    run: str | None
    type: str
    status: str
    message: str
    created_at: int
    updated_at: int
    deleted_at: int | None = None
    tags: dict[str, str] = {}
    params: dict[str, str] = {}


_SELECT = f"SELECT {', '.join(_rows.columns(LoggedModel))} FROM logged_model l"
_NUMBERS = {
    "creation_timestamp": "l.created_at / 1000", "creation_time": "l.created_at / 1000",  # milliseconds, as MLflow's
    "last_updated_timestamp": "l.updated_at / 1000", "last_updated_time": "l.updated_at / 1000",
    "created_at": "l.created_at", "updated_at": "l.updated_at",
}  # fmt: skip
_TEXTS = {
    "name": "l.name", "model_id": "l.id", "id": "l.id", "model_type": "l.type", "status": "l.status",
    "source_run_id": "l.run", "run": "l.run",
}  # fmt: skip
_ATTRIBUTES = _NUMBERS | _TEXTS
KINDS = filters.Kinds(
    "logged models",
    {name: "number" if name in _NUMBERS else "text" for name in _ATTRIBUTES},
    ("metric", "param", "tag"),
)


class LoggedModelStore:
    """Logged models of a workspace. Methods that change one give it as it is then."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.files = RunFiles(workspace)
        self.database, self.ledger = workspace.database, workspace.ledger
        ModelStore(self.database, self.ledger)  # the tables are there

    def create(
        self, experiment: int, name: str, *, run: str | None = None, kind: str = "",
        tags: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None,
    ) -> LoggedModel:  # fmt: skip
        """Record a model that is about to be written, which `finalize` ends.

        Raises:
            InvalidError: a name, tag or parameter can't be kept.
        """
        now = clock.now_us()
        model = LoggedModel(
            f"m-{new_id()}", check_text("name", name), experiment, run, kind, "PENDING", "", now, now, None,
            check_tags(tags or {}), check_tags(params or {}),
        )  # fmt: skip
        with self.database.transaction() as tx:
            _rows.insert(tx, "logged_model", model)
            self.ledger.node(tx, "logged_model", model.id, name)
            if run:
                self.ledger.edge(tx, model.id, "made_by", run)
            self.ledger.append(tx, "logged_model.created", model.id, {"name": name, "run": run})
        return model

    def get(self, model_id: str) -> LoggedModel:
        """A logged model.

        Raises:
            NotFoundError: there is none of this id.
            RemovedError: it was deleted.
        """
        found = self._read("l.id = ?", (model_id,))
        if not found:
            raise NotFoundError("logged model", model_id)
        deleted_at = found[0].deleted_at
        if deleted_at is not None:
            raise RemovedError("logged model", model_id, clock.from_us(deleted_at).isoformat(timespec="seconds"))
        return found[0]

    def finalize(self, model_id: str, status: str, message: str = "") -> LoggedModel:
        """Say what became of it; raises `InvalidError` if that is no status."""
        if status not in STATUSES:
            raise InvalidError("status", status, f"one of {', '.join(STATUSES)}")
        return self._changed(model_id, "finalized", lambda _: {"status": status, "message": message})

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> LoggedModel:
        """Set tags, others stay."""
        kept = check_tags(tags)
        return self._changed(model_id, "tagged", lambda model: {"tags": model.tags | kept})

    def delete_tag(self, model_id: str, key: str) -> LoggedModel:
        """Remove a tag; one that isn't there is left so."""
        return self._changed(model_id, "tagged", lambda model: {"tags": without(model.tags, key)})

    def log_params(self, model_id: str, params: Mapping[str, str]) -> LoggedModel:
        """Add parameters."""
        kept = check_tags(params)
        return self._changed(model_id, "described", lambda model: {"params": model.params | kept})

    def delete(self, model_id: str) -> None:
        """Delete a logged model with its files; versions that were registered from it keep theirs."""
        with self.database.transaction() as tx:
            deleted = {"deleted_at": clock.now_us()}
            _rows.change(tx, self.ledger, "logged_model", "deleted", self.get(model_id), deleted)
            self.files.remove(tx, model_id)

    def log_metrics(self, model_id: str, points: Sequence[LoggedMetric]) -> None:
        """Keep what was measured; a point of the same key, dataset, step and run replaces the one before."""
        self.get(model_id)
        with self.database.transaction() as tx:
            for each in points:
                is_nan = math.isnan(each.value)
                place = (model_id, each.key, each.dataset, each.dataset_digest, each.step, each.run, each.at)
                tx.execute(
                    "INSERT INTO logged_model_metric VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (model, key, dataset, dataset_digest, step, run)"
                    " DO UPDATE SET at = excluded.at, is_nan = excluded.is_nan, value = excluded.value",
                    (*place, int(is_nan), None if is_nan else each.value),
                )

    def metrics(self, model_ids: Sequence[str]) -> dict[str, list[LoggedMetric]]:
        """What was measured of each of these, by key, dataset and step."""
        found: dict[str, list[LoggedMetric]] = {model_id: [] for model_id in model_ids}
        for batch, marks in batches(model_ids):
            rows = self.database.query(
                "SELECT model, key, value, step, at, dataset, dataset_digest, run FROM logged_model_metric"
                f" WHERE model IN ({marks}) ORDER BY model, key, dataset, dataset_digest, step, run",
                batch,
            )
            for model, key, value, *rest in rows:
                found[model].append(LoggedMetric(key, math.nan if value is None else value, *rest))
        return found

    def search(
        self, filter: str = "", *, experiments: Sequence[int] | None = None,  # noqa: A002  # the word of MLflow's clients
        order_by: Sequence[str] = (), datasets: Sequence[tuple[str, str]] = (), limit: int = 100, cursor: str | None = None,
    ) -> Page[LoggedModel]:  # fmt: skip
        """Logged models that match, newest first where nothing else orders them.

        With `datasets`, pairs of a name and a digest (empty: any), a metric is one that was measured on one of those.

        Raises:
            InvalidError: the filter or an order breaks the grammar, at the place that is named.
        """
        where = [Term("l.deleted_at IS NULL")]
        if experiments is not None:
            marks = ", ".join("?" * len(experiments)) or "NULL"
            where.append(Term(f"l.experiment IN ({marks})", tuple(experiments)))
        listing = Listing("logged_model l", _terms(datasets), (("l.created_at", True), ("l.id", True)))
        conditions = filters.parse_filter(filter, KINDS)
        orders = [filters.parse_order(each, KINDS) for each in order_by]
        page = listing.find(self.database, conditions, orders, limit=limit, cursor=cursor, where=where)
        return Page(_rows.by_ids(self.database, LoggedModel, _SELECT, "l.id", page.items), page.cursor)

    def _read(self, where: str, params: Sequence[Any]) -> list[LoggedModel]:
        return _rows.read(self.database, LoggedModel, f"{_SELECT} WHERE {where}", params)

    def _changed(self, model_id: str, event: str, change: Callable[[LoggedModel], dict[str, Any]]) -> LoggedModel:
        with self.database.transaction() as tx:
            model = self.get(model_id)
            return _rows.change(tx, self.ledger, "logged_model", event, model, change(model))


def _terms(datasets: Sequence[tuple[str, str]]) -> Callable[[filters.Kind, str], Term]:
    """How an identifier reads, where metrics are those of some datasets."""
    each = ["(d.dataset = ? AND d.dataset_digest = ?)" if digest else "d.dataset = ?" for _, digest in datasets]
    among = f" AND ({' OR '.join(each)})" if each else ""
    values = tuple(value for name, digest in datasets for value in ((name, digest) if digest else (name,)))

    def term(kind: filters.Kind, key: str) -> Term:
        if kind == "metric":
            return Term(
                "(SELECT d.value FROM logged_model_metric d WHERE d.model = l.id AND d.key = ?"
                f"{among} ORDER BY d.step DESC, d.at DESC LIMIT 1)",
                (key, *values),
            )
        if kind == "attribute":
            return Term(_ATTRIBUTES[key])
        return _rows.term("l.id", "param" if kind == "param" else "tag", key)

    return term
