"""The registry of feature definitions: what applying them would change, the change itself, and looking them up.

A changed definition is a new version. What stands on it (a service on its views) gets a new version with it; the models
that use the old ones keep them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

import msgspec

from mainspring.data import DatasetVersion, dataset
from mainspring.data.tables.type_names import named_type
from mainspring.errors import ConflictError, ExistsError, InvalidError, WrongTypeError
from mainspring.features._store import DefinitionStore, new_definition
from mainspring.features.definitions.changes import changes
from mainspring.features.definitions.entity import Entity
from mainspring.features.definitions.records import Definition, Kind, Record, ViewRecord, content_digest, view_record
from mainspring.features.definitions.resolving import Resolver
from mainspring.features.definitions.service import FeatureService, OnDemandView
from mainspring.features.definitions.stream import Stream
from mainspring.features.definitions.view import FeatureView, Projection
from mainspring.features.online.packing import expect_servable
from mainspring.features.uses import Use, uses_of
from mainspring.ledger import new_id, note_search
from mainspring.workspace import Workspace, current_workspace

Action = Literal["new", "changed", "described", "unchanged", "missing", "retired"]
Declared = FeatureView | OnDemandView | FeatureService
_KINDS: tuple[tuple[type, Kind], ...] = (
    (FeatureView, "view"),
    (OnDemandView, "on_demand"),
    (FeatureService, "service"),
)
_ATTEMPTS = 20  # each failed one means that somebody else applied


class Change(msgspec.Struct, frozen=True):
    """What becomes of one definition. `uses` are the models and endpoints of the version that it had; they keep it."""

    kind: Kind
    name: str
    action: Action
    before: Definition | None
    after: Definition | None
    differences: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """What applying definitions changes, in the order in which they stand on each other."""

    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return all(change.action in ("unchanged", "missing") for change in self.changes)


def plan(
    *given: Any, retire: bool = False, sources: Mapping[str, DatasetVersion] | None = None,
    workspace: Workspace | None = None,
) -> Plan:  # fmt: skip
    """What `apply` of these would change, and whom: it names the model versions and endpoints that use what changes.

    `given` are views, services, or modules that hold some. What is applied already and not among them is `missing`, or
    with `retire` becomes `retired`: it is no longer found by its name, and models that use it keep it. Definitions are held
    to the newest versions of their datasets, or to those of `sources`, by dataset; a step names them, to be reused.

    Raises:
        InvalidError: a definition doesn't fit its data; the column is named, with the nearest.
        ExistsError: two different definitions have one name.
        NotFoundError: a dataset, or a feature that a service takes, is not there.
    """
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    return _planned(_declared(given), store, workspace, retire=retire, sources=sources)


def apply(
    *given: Any, retire: bool = False, sources: Mapping[str, DatasetVersion] | None = None,
    workspace: Workspace | None = None,
) -> Plan:  # fmt: skip
    """Make new versions of what changed, all in one transaction, and say what it was. Raises as `plan`, and:

    Raises:
        ConflictError: others apply again and again.
    """
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    declared = _declared(given)
    for _ in range(_ATTEMPTS):
        found = _planned(declared, store, workspace, retire=retire, sources=sources)
        with workspace.database.transaction() as tx:
            heads = store.heads(tx)
            if all(_same(change.before, heads.get((change.kind, change.name))) for change in found.changes):
                for change in found.changes:
                    _write(store, tx, change)
                return found
    raise ConflictError("Others applied feature definitions at the same time, again and again; nothing was applied.")


def get_definition(kind: Kind, reference: str, workspace: Workspace | None = None) -> Definition:
    """A version of a view, an on-demand view or a service, by `name` (its newest), `name/N` or id.

    Raises:
        NotFoundError: there is none, the nearest names are given; or the name is retired.
    """
    workspace = workspace or current_workspace()
    return DefinitionStore(workspace.database, workspace.ledger).get(kind, reference)


def find_definition(reference: str, workspace: Workspace | None = None) -> Definition:
    """A version of anything that is defined, by `name` (its newest), `name/N` or id; a service before a view of its name.

    Raises:
        NotFoundError: there is none, the nearest names are given; or the name is retired.
    """
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    return store.get_any(("service", "view", "on_demand"), reference, "feature view or service")


def list_definitions(kind: Kind | None = None, workspace: Workspace | None = None) -> list[Definition]:
    """The newest version of everything that is not retired, by kind and name."""
    workspace = workspace or current_workspace()
    heads = DefinitionStore(workspace.database, workspace.ledger).heads()
    note_search("feature definitions")
    return [heads[key] for key in sorted(heads) if heads[key].retired_at is None and kind in (None, key[0])]


def _declared(given: Iterable[Any]) -> dict[tuple[Kind, str], Declared]:
    """What is declared, with what it stands on, each before what stands on it."""
    found: dict[tuple[Kind, str], Declared] = {}
    for each in (inner for one in given for inner in _spread(one)):
        for declared in (*_below(each), each):
            kind = next(kind for cls, kind in _KINDS if isinstance(declared, cls))
            if found.setdefault((kind, declared.name), declared) is not declared:
                raise ExistsError(kind, declared.name, "Two definitions of this name are applied: rename one.")
    order = [kind for _, kind in _KINDS]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0][0])))


def _spread(given: Any) -> Iterator[Declared]:
    if isinstance(given, ModuleType):
        for value in vars(given).values():
            if isinstance(value, FeatureView | OnDemandView | FeatureService):
                yield value
    elif isinstance(given, Projection):
        yield given.view
    elif isinstance(given, FeatureView | OnDemandView | FeatureService):
        yield given
    elif not isinstance(given, Entity | Stream):
        hint = "Pass them one by one." if isinstance(given, list | tuple) else ""
        raise WrongTypeError("definitions", given, "feature views and services, or modules with them", hint)


def _below(given: Declared) -> Iterator[Declared]:
    parts: Sequence[Any] = ()
    if isinstance(given, FeatureService):
        parts = given.views
    elif isinstance(given, OnDemandView):
        parts = given.inputs
    for part in parts:
        if isinstance(part, OnDemandView):
            yield from _below(part)
            yield part
        else:
            yield part.view


def _planned(
    declared: dict[tuple[Kind, str], Declared], store: DefinitionStore, workspace: Workspace, *, retire: bool,
    sources: Mapping[str, DatasetVersion] | None,
) -> Plan:  # fmt: skip
    heads = store.heads()
    planned: dict[tuple[str, str], Definition] = {}
    resolver = Resolver(workspace, lambda kind, name: planned[kind, name], sources)
    _expect_one_meaning(declared)
    _expect_known_types(declared, heads, store, workspace, retire=retire)
    found = []
    for (kind, name), each in declared.items():
        record: Record = getattr(resolver, kind)(each)
        if isinstance(record, ViewRecord):
            expect_servable(record)
        change = _change(kind, name, heads.get((kind, name)), record)
        assert change.after is not None
        planned[kind, name] = change.after
        found.append(change)
    for (kind, name), head in heads.items():
        if (kind, name) not in declared and head.retired_at is None:
            found.append(Change(kind, name, "retired" if retire else "missing", head, None))
    used = uses_of([each.before for each in found if each.before is not None and _loses(each)], store, workspace)
    return Plan(tuple(
        msgspec.structs.replace(each, uses=used.get(each.before.id, ())) if each.before is not None else each
        for each in found
    ))  # fmt: skip


def _loses(change: Change) -> bool:
    return change.action in ("changed", "retired")


def _change(kind: Kind, name: str, before: Definition | None, record: Record) -> Change:
    digest = content_digest(record)
    if before is not None and before.content_digest == digest:
        is_same = before.record.about == record.about and before.retired_at is None
        kept = msgspec.structs.replace(before.record, about=record.about)
        after = msgspec.structs.replace(before, record=kept, retired_at=None)
        return Change(kind, name, "unchanged" if is_same else "described", before, after)
    after = new_definition(new_id(), before, record, digest)
    if before is None:
        return Change(kind, name, "new", None, after)
    return Change(kind, name, "changed", before, after, changes(before.record, record))


def _same(before: Definition | None, now: Definition | None) -> bool:
    told = [None if each is None else (each.id, each.record, each.retired_at) for each in (before, now)]
    return told[0] == told[1]


def _write(store: DefinitionStore, tx: Any, change: Change) -> None:
    if change.action in ("new", "changed"):
        assert change.after is not None
        store.add(tx, change.after)
    elif change.action == "described":
        assert change.before is not None
        assert change.after is not None
        store.describe(tx, change.before, change.after.record)
    elif change.action == "retired":
        assert change.before is not None
        store.retire(tx, change.before)


def _expect_one_meaning(declared: dict[tuple[Kind, str], Declared]) -> None:
    """An entity or a stream of one name means the same in every view."""
    entities: dict[str, Any] = {}
    streams: dict[str, Any] = {}
    for view in declared.values():
        if isinstance(view, FeatureView):
            told = [(entities, "entity", each.name, each.keys) for each in view.entities]
            if isinstance(view.source, Stream):
                told.append((streams, "stream", view.source.name, view.source.fields))  # type: ignore[arg-type]  # keys or fields, which are only compared
            for known, kind, name, value in told:
                if known.setdefault(name, value) != value:
                    raise InvalidError(
                        f"{kind} `{name}`", f"{value}", f"the same in every view, as before: {known[name]}"
                    )


def _expect_known_types(
    declared: dict[tuple[Kind, str], Declared], heads: Mapping[tuple[Kind, str], Definition], store: DefinitionStore,
    workspace: Workspace, *, retire: bool,
) -> None:  # fmt: skip
    """A field of a stream keeps its type: in the stream's dataset, in views that stay, and in versions that models use."""
    streams = [each.source for each in declared.values() if isinstance(each, FeatureView)]
    for stream in {each.name: each for each in streams if isinstance(each, Stream)}.values():
        known: dict[str, tuple[str, str]] = {}
        for (kind, name), head in heads.items():
            if kind != "view" or view_record(head).source != stream.name:
                continue
            versions = store.versions("view", name)
            used = uses_of(versions, store, workspace)
            stays = (kind, name) not in declared and head.retired_at is None and not retire
            for each in [one for one in versions if one.id in used or (stays and one.id == head.id)]:
                known |= {field: (str(each), dtype) for field, dtype in (view_record(each).stream or {}).items()}
        for newest in dataset(stream.name, workspace).versions()[:1]:
            known |= {field: (str(newest), dtype) for field, dtype in newest.schema}
        for field, dtype in stream.fields.items():
            place, told = known.get(field, ("", dtype))
            if named_type(told, field) != named_type(dtype, field):
                raise InvalidError(
                    f"stream `{stream.name}`.{field}", dtype, f"{told}, as in {place}",
                    "Give what is of another type a name of its own, or send it to another stream.",
                )  # fmt: skip
