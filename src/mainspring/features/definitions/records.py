"""Definitions as they are recorded: immutable, whole, and readable without the project that they came from."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from blake3 import blake3

from mainspring.errors import InvalidError
from mainspring.features.aggregation.aggregate import Aggregate
from mainspring.features.definitions.entity import Key
from mainspring.models import FeatureSet
from mainspring.workspace import Workspace

Kind = Literal["view", "on_demand", "service"]


class Field(msgspec.Struct, frozen=True):
    """A feature: its name and type in the words of schemas, and what it is computed by (nothing: the column itself).

    `formula` is an expression as Polars serialises it, `shown` the same for people.
    """

    name: str
    dtype: str
    formula: str = ""
    shown: str = ""


class Sql(msgspec.Struct, frozen=True, tag="sql"):
    """Rows by a SQL query over the source by its name."""

    text: str


class Python(msgspec.Struct, frozen=True, tag="python"):
    """Rows by a function of the project: where it is, a digest for each part of code that it reaches, and the code.

    `code` is the manifest of the recorded tree, `blobs` all that it takes.
    """

    module: str
    qualname: str
    parts: dict[str, str]
    code: str
    blobs: tuple[str, ...]


Transform = Sql | Python


class About(msgspec.Struct, frozen=True):
    """What is said of a definition and changes no value."""

    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()


class ViewRecord(msgspec.Struct, frozen=True, kw_only=True, tag="view"):
    """A feature view. `stream` are the types of an event's data, None for a dataset; empty columns are not there.

    `columns` are the types of the columns that aggregates are of.
    """

    name: str
    entities: tuple[str, ...]
    keys: tuple[Key, ...]
    source: str
    stream: dict[str, str] | None
    event_time: str
    created_time: str
    event_id: str
    ttl_us: int | None
    transform: Transform | None
    fields: tuple[Field, ...]
    aggregates: tuple[Aggregate, ...] = ()
    columns: dict[str, str] = {}  # a Struct copies its defaults
    about: About = About()  # frozen


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Features of a view's version in a service. `keys` are columns of the request by the view's keys."""

    view: str
    version: str
    content: str
    features: tuple[str, ...]
    keys: dict[str, str]
    prefix: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names in the service."""
        return tuple(self.prefix + name for name in self.features)


class OnDemandRecord(msgspec.Struct, frozen=True, kw_only=True, tag="on_demand"):
    """Features that are computed from the request's columns and from those of views."""

    name: str
    request: dict[str, str]
    inputs: tuple[Part, ...]
    transform: Python | None
    fields: tuple[Field, ...]
    about: About = About()  # frozen


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True, tag="service"):
    """What a model uses. Parts without keys are on-demand views; `request` are all columns that a request must hold.

    `outage` is what is answered while the online store is away, empty for the workspace's setting; `defaults` are values
    of features for that, as JSON.
    """

    name: str
    parts: tuple[Part, ...]
    on_demand: tuple[Part, ...]
    request: dict[str, str]
    fields: tuple[Field, ...]
    outage: str = ""
    defaults: dict[str, Any] = {}  # a Struct copies its defaults
    about: About = About()  # frozen


Record = ViewRecord | OnDemandRecord | ServiceRecord


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a view, an on-demand view or a service. Times are microseconds since 1970."""

    id: str
    number: int
    content_digest: str
    record: Record
    created_at: int
    actor: str
    retired_at: int | None = None

    @property
    def kind(self) -> Kind:
        """What it defines."""
        return kind_of(self.record)

    @property
    def name(self) -> str:
        """Its name, which its versions share."""
        return self.record.name

    @property
    def ledger_id(self) -> str:
        """The node of the lineage that this is."""
        return self.id

    def feature_set(self, workspace: Workspace) -> FeatureSet:  # noqa: ARG002  # what was made by a service looks it up there
        """What a model gets that is registered with this version of a service.

        Raises:
            InvalidError: it defines no service.
        """
        if not isinstance(self.record, ServiceRecord):
            raise InvalidError("features", str(self), "a feature service, or a training set made by one")
        features = {field.name: field.dtype for field in self.record.fields}
        return FeatureSet(self.id, str(self), features, self.record.request)

    def expect(self, kind: Kind) -> None:
        """Go on only if it is of this kind.

        Raises:
            InvalidError: it is of another.
        """
        if self.kind != kind:
            wanted = {"view": "a feature view", "on_demand": "an on-demand view", "service": "a feature service"}[kind]
            raise InvalidError(kind, str(self), wanted, f"It is a {self.kind.replace('_', '-')}.")

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"


def kind_of(record: Record) -> Kind:
    """What a record defines."""
    return record.__struct_config__.tag  # type: ignore[return-value]  # the tags are the kinds


def view_record(definition: Definition) -> ViewRecord:
    """What a version of a view says.

    Raises:
        InvalidError: it defines something else.
    """
    if not isinstance(definition.record, ViewRecord):
        raise InvalidError("view", str(definition), "a feature view")
    return definition.record


def content_digest(record: Record) -> str:
    """A digest of everything that values depend on: not of what is said for people, nor of where the code lies."""
    told: dict[str, Any] = msgspec.to_builtins(record)
    del told["about"]
    for field in told["fields"]:
        field.pop("shown", None)
    if told.get("transform"):
        for place in ("code", "blobs"):
            told["transform"].pop(place, None)
    for part in (*told.get("parts", ()), *told.get("on_demand", ()), *told.get("inputs", ())):
        del part["version"]
    return blake3(msgspec.json.encode(told, order="sorted")).hexdigest()
