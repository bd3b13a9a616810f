"""Search of models and versions in MLflow's grammar."""

from __future__ import annotations

from collections.abc import Sequence

from mainspring.ledger import note_search
from mainspring.models import _rows
from mainspring.models._store import ModelStore
from mainspring.models.registry import model_store
from mainspring.models.version import ModelVersion, RegisteredModel
from mainspring.runs import filters
from mainspring.runs.listing import Listing, Term
from mainspring.runs.page import Page
from mainspring.workspace import Workspace

_MODEL_NUMBERS = {
    "created_at": "m.created_at", "updated_at": "m.updated_at", "creation_timestamp": "m.created_at / 1000",
    "last_updated_timestamp": "m.updated_at / 1000", "timestamp": "m.updated_at / 1000",  # milliseconds, as MLflow's
}  # fmt: skip
_MODEL_TEXTS = {"name": "m.name", "id": "m.id", "description": "m.description"}
_VERSION_NUMBERS = {
    "number": "v.number", "version_number": "v.number", "version": "v.number", "created_at": "v.created_at",
    "updated_at": "v.updated_at", "creation_timestamp": "v.created_at / 1000", "last_updated_timestamp": "v.updated_at / 1000",
}  # fmt: skip
_VERSION_TEXTS = {
    "name": "m.name", "id": "v.id", "run": "v.run", "run_id": "v.run", "source": "v.source", "source_path": "v.source",
    "stage": "v.stage", "current_stage": "v.stage", "actor": "v.actor", "content_digest": "v.content_digest",
    "licence": "v.licence", "description": "v.description",
}  # fmt: skip


def _listing(
    records: str, source: str, owner: str, numbers: dict[str, str], texts: dict[str, str], ties: tuple[tuple[str, bool], ...]
) -> tuple[Listing, filters.Kinds]:  # fmt: skip
    attributes = numbers | texts

    def term(kind: filters.Kind, key: str) -> Term:
        return Term(attributes[key]) if kind == "attribute" else _rows.term(owner, "tag", key)

    kinds = filters.Kinds(records, {name: "number" if name in numbers else "text" for name in attributes}, ("tag",))
    return Listing(source, term, ties), kinds


def _found(
    store: ModelStore, searched: tuple[Listing, filters.Kinds], text: str, order: Sequence[str], *, limit: int,
    cursor: str | None, where: str,
) -> Page[str]:  # fmt: skip
    listing, kinds = searched
    return listing.find(
        store.database, filters.parse_filter(text, kinds), [filters.parse_order(each, kinds) for each in order],
        limit=limit, cursor=cursor, where=[Term(where)],
    )  # fmt: skip


_MODELS = _listing("models", "model m", "m.id", _MODEL_NUMBERS, _MODEL_TEXTS, (("m.name", False), ("m.id", False)))
_VERSIONS = _listing(
    "model versions", "model_version v JOIN model m ON m.id = v.model", "v.id", _VERSION_NUMBERS, _VERSION_TEXTS,
    (("m.name", False), ("v.number", True), ("v.id", False)),
)  # fmt: skip


def search_models(
    filter: str = "",  # noqa: A002  # the word of MLflow's clients
    *,
    order_by: Sequence[str] = (),
    limit: int = 100,
    cursor: str | None = None,
    workspace: Workspace | None = None,
) -> Page[RegisteredModel]:
    """Models that match a filter such as `name LIKE 'churn%' AND tags.team = 'x'`, by name where nothing else orders them.

    Raises:
        InvalidError: the filter or an order breaks the grammar, at the place that is named; or limit or cursor is wrong.
    """
    store = model_store(workspace)
    note_search("models", filter)
    page = _found(store, _MODELS, filter, order_by, limit=limit, cursor=cursor, where="m.deleted_at IS NULL")
    return Page(store.models_of(page.items), page.cursor)


def search_model_versions(
    filter: str = "",  # noqa: A002  # the word of MLflow's clients
    *,
    order_by: Sequence[str] = (),
    limit: int = 100,
    cursor: str | None = None,
    workspace: Workspace | None = None,
) -> Page[ModelVersion]:
    """Versions that match a filter such as `name = 'churn' AND run_id = '…'`, those changed last first if nothing orders them.

    Raises:
        InvalidError: the filter or an order breaks the grammar, at the place that is named; or limit or cursor is wrong.
    """
    store, there = model_store(workspace), "v.deleted_at IS NULL AND m.deleted_at IS NULL"
    order = order_by or ("updated_at DESC",)
    note_search("model versions", filter)
    page = _found(store, _VERSIONS, filter, order, limit=limit, cursor=cursor, where=there)
    return Page(store.versions_of(page.items), page.cursor)
