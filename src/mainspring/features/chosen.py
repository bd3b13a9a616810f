"""Features chosen by name: a service that nobody applied, read like any other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from blake3 import blake3

from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.features._store import DefinitionStore, new_definition
from mainspring.features.definitions.composing import composed, part_of
from mainspring.features.definitions.records import About, Definition, OnDemandRecord, ServiceRecord, content_digest
from mainspring.workspace import Workspace, current_workspace

_SEPARATOR = "__"  # no name has it


def choose_features(
    features: Sequence[str], *, full_names: bool = False, workspace: Workspace | None = None
) -> Definition:
    """A service of features `view:feature`, in this order, that isn't kept; a view is its newest version, or `view/N`.

    With `full_names` a feature is called `view__feature`.

    Raises:
        NotFoundError: there is no such view or feature; the nearest are named.
        InvalidError: a name isn't of that form, or two features have one name.
    """
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    picked: dict[str, list[str]] = {}
    asked = [_split(each) for each in features]
    for view, feature in asked:
        picked.setdefault(view, []).append(feature)
    found = {view: _view(view, chosen, store) for view, chosen in picked.items()}
    prefixes = {view: f"{each.name}{_SEPARATOR}" if full_names else "" for view, each in found.items()}
    names = [prefixes[view] + feature for view, feature in asked]
    if not names:
        raise InvalidError("features", "[]", "at least one name like `view:feature`")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidError("features", twice, "different names of features", "Full names tell views apart.")
    parts, demanded = [], []
    for view, definition in found.items():
        part = part_of(definition, picked[view], prefix=prefixes[view])
        if isinstance(definition.record, OnDemandRecord):
            demanded.append((part, definition.record))
        else:
            parts.append(part)
    views = store.by_id(part.version for part in (*parts, *(each for _, record in demanded for each in record.inputs)))
    record = composed("chosen", parts, demanded, views, names, About())
    identity = blake3(msgspec.json.encode(record)).hexdigest()[:32]  # the same versions are the same service
    return new_definition(identity, None, record, content_digest(record))


def full_names_of(record: ServiceRecord) -> list[str]:
    """The names of a service's features behind those of their views, in order: `view__feature`."""
    views = {name: part.view for part in (*record.parts, *record.on_demand) for name in part.names}
    return [f"{views[field.name]}{_SEPARATOR}{field.name}" for field in record.fields]


def _split(name: object) -> tuple[str, str]:
    view, _, feature = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not view or not feature:
        raise InvalidError("features", name, "a name like `view:feature`")
    return view, feature


def _view(name: str, chosen: Sequence[str], store: DefinitionStore) -> Definition:
    """The view or on-demand view that features are of."""
    found = store.get_any(("view", "on_demand"), name, "feature view")
    names = [field.name for field in found.record.fields]
    for feature in chosen:
        if feature not in names:
            raise NotFoundError("feature", f"{name}:{feature}", close_names(feature, names))
    return found
