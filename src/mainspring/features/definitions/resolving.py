"""What was declared, held to the data: types are found out, columns and names checked, code recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names
from mainspring.features.aggregation.aggregation import aggregation
from mainspring.features.definitions.composing import composed, given_fields, part_of
from mainspring.features.definitions.expressions import expect_no_codes, expect_of_single_rows, written
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import (
    About,
    Definition,
    Field,
    OnDemandRecord,
    Part,
    Python,
    ServiceRecord,
    Sql,
    ViewRecord,
)  # fmt: skip
from mainspring.features.definitions.rows import fitted, source_schema, transformed, view_rows
from mainspring.features.definitions.service import FeatureService, OnDemandView
from mainspring.features.definitions.stream import Stream
from mainspring.features.definitions.view import FeatureView, Projection

if TYPE_CHECKING:
    import polars as pl

    from mainspring.data import DatasetVersion
    from mainspring.workspace import Workspace

Find = Callable[[str, str], Definition]
"""The version of a kind and name that the definitions being resolved stand on."""


class Resolver:
    """Makes records of declarations. `find` gives those that others of them stand on.

    They are held to the newest versions of their datasets, or to those of `sources`, by dataset.
    """

    def __init__(self, workspace: Workspace, find: Find, sources: Mapping[str, DatasetVersion] | None = None) -> None:
        self.workspace, self.find, self.sources = workspace, find, sources or {}
        self.functions = Functions(workspace)

    def view(self, view: FeatureView) -> ViewRecord:
        """A view's record.

        Raises:
            InvalidError: a column is missing or has a type that it can't have; it is named with the nearest. Or a feature of a
                stream's events looks at several of them.
            NotFoundError: there is no such dataset.
        """
        stream = view.source if isinstance(view.source, Stream) else None
        draft = ViewRecord(
            name=view.name, entities=tuple(entity.name for entity in view.entities), keys=view.keys,
            source=stream.name if stream else str(view.source), stream=dict(stream.fields) if stream else None,
            event_time=view.event_time, created_time=view.created_time, event_id=view.event_id, ttl_us=view.ttl_us,
            transform=self._transform(view), fields=tuple(_field(view.name, *each) for each in view.features.items()),
            aggregates=view.aggregates, about=_about(view),
        )  # fmt: skip
        if stream is not None:
            expect_of_single_rows(view.name, draft.fields)
        return _typed(draft, self._empty(draft), self.functions)

    def _transform(self, view: FeatureView) -> Sql | Python | None:
        if view.transform is None or isinstance(view.transform, str):
            return Sql(view.transform) if view.transform else None
        if not callable(view.transform):
            raise WrongTypeError(f"{view.name}.transform", view.transform, "SQL, or a function of a module")
        return self.functions.record(view.transform, f"{view.name}.transform")

    def _empty(self, record: ViewRecord) -> pl.LazyFrame:
        """No rows, with the columns of the source."""
        import polars as pl

        from mainspring.data import dataset

        if record.stream is not None:
            return pl.LazyFrame(schema=source_schema(record.stream))
        version = self.sources.get(record.source) or dataset(record.source, self.workspace).latest()
        version.expect("table")
        return pl.LazyFrame(schema=version.scan().collect_schema())

    def on_demand(self, view: OnDemandView) -> OnDemandRecord:
        """An on-demand view's record; raises as `view`."""
        inputs = tuple(self.part(each) for each in view.inputs)
        schema = _request(view.name, view.request) | self._given(inputs)
        transform = None
        if view.transform is not None:
            transform = self.functions.record(view.transform, f"{view.name}.transform")
            fields = tuple(Field(name, _dtype(f"{view.name}.{name}", dtype)) for name, dtype in view.features.items())
        else:
            fields = tuple(_field(view.name, *each) for each in view.features.items())
            expect_of_single_rows(
                view.name, fields, "What is answered would depend on who else is asked for in the request."
            )
        record = OnDemandRecord(
            name=view.name, request=dict(view.request), inputs=inputs, transform=transform, fields=fields,
            about=_about(view),
        )  # fmt: skip
        return _computed(record, schema, self.functions)

    def service(self, service: FeatureService) -> ServiceRecord:
        """A service's record; raises as `view`, and InvalidError where views want one column in two types."""
        parts = tuple(self.part(each) for each in service.views if isinstance(each, Projection))
        found = [self.find("on_demand", each.name) for each in service.views if isinstance(each, OnDemandView)]
        demanded = [(part_of(each, [field.name for field in each.record.fields]), _of_demand(each)) for each in found]
        inner = [part for _, record in demanded for part in record.inputs]
        views = {part.version: self.find("view", part.view) for part in (*parts, *inner)}
        record = composed(service.name, parts, demanded, views, service.names, _about(service))
        return _with_defaults(record, service)

    def part(self, projection: Projection) -> Part:
        """Features of the version of a view that others stand on.

        Raises:
            NotFoundError: that version has no such feature.
        """
        found = self.find("view", projection.view.name)
        known = [field.name for field in found.record.fields]
        features = projection.features or projection.view.names
        for name in features:
            if name not in known:
                raise NotFoundError("feature", f"{found.name}:{name}", close_names(name, known))
        return part_of(found, features, projection.keys, projection.prefix)

    def _given(self, parts: tuple[Part, ...]) -> dict[str, pl.DataType]:
        """The features of parts with their types, under the names that they have there."""
        from mainspring.data.tables.type_names import named_type

        views = {part.version: self.find("view", part.view) for part in parts}
        return {field.name: named_type(field.dtype, field.name) for field in given_fields(parts, views)}


def _of_demand(definition: Definition) -> OnDemandRecord:
    assert isinstance(definition.record, OnDemandRecord)
    return definition.record


def _about(given: FeatureView | OnDemandView | FeatureService) -> About:
    return About(given.description, given.owner, given.tags)


def _field(view: str, name: str, given: Any) -> Field:
    if isinstance(given, str):
        import polars as pl

        return Field(name, "") if given == name else Field(name, "", *written(pl.col(given), f"{view}.{name}"))
    return Field(name, "", *written(given, f"{view}.{name}"))


def _typed(record: ViewRecord, empty: pl.LazyFrame, functions: Functions) -> ViewRecord:
    """A view's record with the types of its features, as they come of its source."""
    import msgspec
    import polars as pl

    from mainspring.artifacts.table import schema_of

    given = transformed(record, empty, functions).collect_schema()
    with fitted(record):
        rows = view_rows(record, pl.LazyFrame(schema=given) if record.transform is None else empty, functions).collect()
    types = dict(schema_of(rows))
    if record.aggregates:
        columns = {each.column: types[each.column] for each in record.aggregates if each.column}
        results = aggregation(record.aggregates, columns).result_types
        fields = tuple(Field(*each) for each in results.items())
        return msgspec.structs.replace(record, fields=fields, columns=columns)
    fields = tuple(msgspec.structs.replace(field, dtype=types[field.name]) for field in record.fields)
    return msgspec.structs.replace(record, fields=fields)


def _with_defaults(record: ServiceRecord, service: FeatureService) -> ServiceRecord:
    """A service's record with what is answered while the online store is away, held to the types of its features."""
    import msgspec

    from mainspring.features.definitions.frames import typed_frame

    try:
        defaults = msgspec.json.decode(msgspec.json.encode(service.defaults))
    except (TypeError, msgspec.MsgspecError) as error:
        raise InvalidError(f"{service.name}.defaults", service.defaults, "values as in JSON", str(error)) from error
    types = {field.name: field.dtype for field in record.fields}
    typed_frame({name: (types[name], [value]) for name, value in defaults.items()})
    return msgspec.structs.replace(record, outage=service.outage, defaults=defaults)


def _dtype(where: str, dtype: object) -> str:
    from mainspring.artifacts._columns import type_name
    from mainspring.data.tables.type_names import named_type

    return type_name(named_type(str(dtype), where), where)


def _request(view: str, columns: Mapping[str, str]) -> dict[str, pl.DataType]:
    from mainspring.data.tables.type_names import named_type

    return {name: named_type(dtype, f"{view}.request.{name}") for name, dtype in columns.items()}


def _computed(record: OnDemandRecord, schema: Mapping[str, pl.DataType], functions: Functions) -> OnDemandRecord:
    """An on-demand record with the types of what it computes, tried on no rows."""
    import msgspec
    import polars as pl

    from mainspring.artifacts.table import schema_of
    from mainspring.features.definitions.demand import computed

    frame = pl.DataFrame(schema=dict(schema))
    expect_no_codes(record.name, record.fields, frame.schema)
    found = dict(schema_of(computed(record, frame, functions)))
    fields = tuple(msgspec.structs.replace(field, dtype=field.dtype or found[field.name]) for field in record.fields)
    return msgspec.structs.replace(record, fields=fields)
