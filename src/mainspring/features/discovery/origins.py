"""From which columns of the raw data each feature is computed: what the query that gives it really asks of its source.

The definition is run on no rows, one feature at a time, over a source that notes which columns are asked of it. So an
expression, a chain of them and a function all answer alike; a function that collects its frame has asked for all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.data import dataset
from mainspring.data.validation.expressions import columns_of
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.demand import computed
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, OnDemandRecord, Part, Sql, ViewRecord
from mainspring.features.definitions.rows import source_schema, transformed, view_rows
from mainspring.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

REQUEST = "request"


class Origin(msgspec.Struct, frozen=True):
    """Columns of a dataset, a stream or the request that a feature is computed from.

    Keys and times by which a row is found are not among them, unless the value is computed from them.
    """

    source: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.source}: {', '.join(self.columns) or 'no column'}"


class Origins:
    """Finds the columns that features come from, each view once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.functions = workspace, Functions(workspace)
        self.store = DefinitionStore(workspace.database, workspace.ledger)
        self._views: dict[str, dict[str, tuple[Origin, ...]]] = {}

    def of(self, definition: Definition) -> dict[str, tuple[Origin, ...]]:
        """The origins of each feature of a definition, in order.

        Raises:
            NotFoundError: its dataset is gone.
            InvalidError: the definition does not fit its dataset any more.
        """
        record = definition.record
        if isinstance(record, ViewRecord):
            if definition.id not in self._views:
                self._views[definition.id] = self._of_view(record)
            return self._views[definition.id]
        if isinstance(record, OnDemandRecord):
            return self._of_demand(record)
        found: dict[str, tuple[Origin, ...]] = {}
        for part in (*record.parts, *record.on_demand):
            found |= self._of_part(part)
        return {field.name: found[field.name] for field in record.fields}

    def _of_part(self, part: Part) -> dict[str, tuple[Origin, ...]]:
        below = self.of(self.store.by_id([part.version])[part.version])
        return {name: below[feature] for feature, name in zip(part.features, part.names, strict=True)}

    def _of_view(self, record: ViewRecord) -> dict[str, tuple[Origin, ...]]:
        import polars as pl

        if record.stream is not None:
            schema = pl.Schema(source_schema(record.stream))
        else:
            schema = dataset(record.source, self.workspace).latest().scan().collect_schema()
        columns = {field.name: field.name for field in record.fields}
        # What is read is asked of a source whose types may have changed since.
        untyped = tuple(msgspec.structs.replace(field, dtype="") for field in record.fields)
        record = msgspec.structs.replace(record, fields=untyped, columns={})
        for each in record.aggregates:
            columns |= {one.name: each.column or record.event_time for one in each.features()}
        read = {name: self._read(record, schema, name) for name in dict.fromkeys(columns.values())}
        return {feature: (Origin(record.source, read[name]),) for feature, name in columns.items()}

    def _read(self, record: ViewRecord, schema: pl.Schema, name: str) -> tuple[str, ...]:
        """The columns of the source that a column of the view's rows needs."""
        given, sql = schema, record.transform if isinstance(record.transform, Sql) else None
        if sql is not None:
            import polars as pl

            given = transformed(record, pl.LazyFrame(schema=schema), self.functions).collect_schema()
            record = msgspec.structs.replace(record, transform=None)
        asked = Asked(given)
        view_rows(record, asked.frame(), self.functions, is_empty=True).select(name).collect(engine="in-memory")
        read = tuple(column for column in given.names() if column in asked.columns)
        if sql is None:
            return read
        from mainspring.data.etl.columns import columns_read

        below = {each for column in read for each in columns_read(sql.text, column, record.source, schema)}
        return tuple(column for column in schema.names() if column in below)

    def _of_demand(self, record: OnDemandRecord) -> dict[str, tuple[Origin, ...]]:
        below: dict[str, tuple[Origin, ...]] = {name: (Origin(REQUEST, (name,)),) for name in record.request}
        types = dict(record.request)
        for part in record.inputs:
            below |= self._of_part(part)
            fields = {field.name: field.dtype for field in self.store.by_id([part.version])[part.version].record.fields}
            types |= {name: fields[feature] for feature, name in zip(part.features, part.names, strict=True)}
        found = {}
        for field in record.fields:
            needed = self._needed(record, field.formula, field.name, types)
            found[field.name] = _united(origin for name in needed for origin in below[name])
        return found

    def _needed(self, record: OnDemandRecord, formula: str, name: str, types: Mapping[str, str]) -> list[str]:
        """Of the columns that an on-demand view is given, those that a feature needs: without them it can't be computed."""
        import polars as pl

        from mainspring.data.tables.type_names import named_type
        from mainspring.features.definitions.expressions import read

        schema = pl.Schema({column: named_type(dtype, column) for column, dtype in types.items()})
        if record.transform is None:
            asked = Asked(schema)
            asked.frame().select(read(formula, name)).collect(engine="in-memory")
            return [column for column in types if column in asked.columns]
        empty = pl.DataFrame(schema=schema)
        return [column for column in types if not _goes(record, empty.drop(column), self.functions)]


class Asked:
    """A source without rows that notes which of its columns are asked for."""

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self.columns: set[str] = set()

    def frame(self) -> pl.LazyFrame:
        """The source."""
        from polars.io.plugins import register_io_source

        return register_io_source(self._give, schema=self._schema)

    def _give(
        self, wanted: list[str] | None, predicate: pl.Expr | None, _rows: int | None, _batch: int | None
    ) -> Iterator[pl.DataFrame]:
        import polars as pl

        names = self._schema.names() if wanted is None else wanted
        self.columns.update(names)
        if predicate is not None:
            self.columns.update(columns_of(predicate))
        yield pl.DataFrame(schema={name: self._schema[name] for name in names})


def _goes(record: OnDemandRecord, frame: pl.DataFrame, functions: Functions) -> bool:
    from mainspring.errors import MainspringError

    try:
        computed(record, frame, functions)
    except MainspringError:
        return False
    return True


def _united(origins: Iterator[Origin] | Any) -> tuple[Origin, ...]:
    """Each source once, with all its columns."""
    columns: dict[str, dict[str, None]] = {}
    for origin in origins:
        columns.setdefault(origin.source, {}).update(dict.fromkeys(origin.columns))
    return tuple(Origin(source, tuple(names)) for source, names in columns.items())
