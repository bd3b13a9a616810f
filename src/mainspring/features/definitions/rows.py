"""The rows of a view: the source's rows through its transform, as columns of keys, times and features of its types.

One function for every use: training sets, materialisation, streams and checks of a definition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidError, MainspringError, WrongTypeError, close_names
from mainspring.features.definitions.expressions import expect_no_codes, read
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Field, Python, Sql, ViewRecord
from mainspring.features.definitions.single import of_one_row
from mainspring.features.definitions.types import of_declared_types
from mainspring.features.history.uuids import uuid_column
from mainspring.streams.columns import OWN

if TYPE_CHECKING:
    import polars as pl

    from mainspring.workspace import Workspace


def source_schema(stream: dict[str, str]) -> dict[str, pl.DataType]:
    """The columns of a stream's events."""
    from mainspring.data.tables.type_names import named_type

    return {name: named_type(dtype, f"fields.{name}") for name, dtype in {**OWN, **stream}.items()}


def source_types(record: ViewRecord, workspace: Workspace) -> dict[str, str]:
    """The columns of a view's source with their types, of a dataset those of its newest version.

    Raises:
        NotFoundError: the dataset is gone.
    """
    from mainspring.data import dataset

    if record.stream is not None:
        return {**OWN, **record.stream}
    version = dataset(record.source, workspace).latest()
    version.expect("table")
    return dict(version.schema)


def transformed(
    record: ViewRecord, source: pl.LazyFrame, functions: Functions, *, is_empty: bool = False
) -> pl.LazyFrame:
    """What a view's transform makes of rows of its source, all columns. One that surely `is_empty` is not asked for rows.

    Raises:
        InvalidError: the query or the function fails; what it said is told.
        WrongTypeError: the function gives no frame.
    """
    if record.transform is None:
        return source
    if isinstance(record.transform, Sql):
        from mainspring.data import query

        try:
            return query(record.transform.text, {record.source: source.collect()}).lazy()
        except MainspringError as error:
            text = record.transform.text
            said = f"{error}{_quoting(text, str(error), source)}"
            raise InvalidError(f"{record.name}.transform", text, "a query", said) from error
    called = _called if is_empty else _called_in_any_parts
    function, where = functions.load(record.transform), f"{record.transform.module}:{record.transform.qualname}"
    return called(f"{record.name}.transform", function, where, source)


def _called_in_any_parts(name: str, function: Callable[..., Any], where: str, source: pl.LazyFrame) -> pl.LazyFrame:
    """What a function gives; of a single row with the bits of a batch."""
    import polars as pl

    if source.limit(2).select(pl.len()).collect(engine="in-memory").item() != 1:  # a file is read for no column
        return _called(name, function, where, source)

    def made(rows: pl.DataFrame) -> pl.DataFrame:
        found = _called(name, function, where, rows.lazy())
        with _failing(name, where):
            return found.collect(engine="in-memory")

    return of_one_row(made, source.collect(engine="in-memory")).lazy()


def _called(name: str, function: Callable[..., Any], where: str, source: pl.LazyFrame) -> pl.LazyFrame:
    import polars as pl

    try:
        found = function(source)
    except (Exception, pl.exceptions.PanicException) as error:
        said = f"{type(error).__name__}: {error}"
        raise InvalidError(name, where, "computable of these rows", said) from error
    if not isinstance(found, pl.DataFrame | pl.LazyFrame):
        raise WrongTypeError(name, found, f"a frame from {where}")
    rows = found.lazy()
    with _failing(name, where):
        rows.collect_schema()  # Polars says only here that a column is missing
    return rows


@contextmanager
def fitted(record: ViewRecord) -> Iterator[None]:
    """The block in which rows of a view are collected: what Polars says of them then is an error of the definition.

    Raises:
        InvalidError: the transform or the expressions don't fit the rows.
    """
    if isinstance(record.transform, Python):
        place = f"{record.transform.module}:{record.transform.qualname}"
    else:
        place = ", ".join(field.shown for field in record.fields if field.shown) or record.name
    with _failing(f"{record.name}.{'features' if record.transform is None else 'transform'}", place):
        yield


@contextmanager
def _failing(field: str, place: str) -> Iterator[None]:
    import polars as pl

    try:
        yield
    except (MainspringError, OSError, MemoryError):
        raise
    # A function of Python may raise anything; what Polars panics at is no Exception, and would pass every door.
    except (Exception, pl.exceptions.PanicException) as error:
        first, *_ = str(error).split("\n\n")  # without Polars' plan
        raise InvalidError(field, place, "computable of these rows", f"{type(error).__name__}: {first}") from error


def _quoting(text: str, said: str, source: pl.LazyFrame) -> str:
    """What to do where a query that can't be read names a column that is also a word of SQL."""
    from mainspring.data import query

    if "syntax error" not in said:
        return ""
    words = set(re.findall(r'(?<![".\w])\w+(?!")', text.lower()))
    known = query("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'", {})
    reserved = set(known.to_series()) & words
    names = [f'"{name}"' for name in source.collect_schema().names() if name.lower() in reserved]
    return f" Columns that are words of SQL, too, need double quotes: {', '.join(names)}." if names else ""


def view_rows(
    record: ViewRecord, source: pl.LazyFrame, functions: Functions, *, is_empty: bool = False
) -> pl.LazyFrame:
    """The rows of a view: its keys, times and features; of a view of aggregates the columns that they are of.

    Raises as `transformed`, and:

    Raises:
        InvalidError: a column is missing, the nearest is named; or it is of another type than in this version of the view;
            or an expression shows the codes of categories.
    """
    rows = transformed(record, source, functions, is_empty=is_empty)
    known = rows.collect_schema()
    own = [key.name for key in record.keys]
    uuids = {key.name for key in record.keys if key.type == "uuid"}
    own += [each for each in (record.event_time, record.created_time, record.event_id) if each]
    columns = [each.column for each in record.aggregates if each.column]
    needed = list(dict.fromkeys([*own, *columns]))
    for name in [*needed, *(field.name for field in record.fields if not field.formula and not record.aggregates)]:
        if name not in known:
            near = close_names(name, known.names())
            hint = f"Nearest: {near[0]}." if near else f"There are {', '.join(known.names())}."
            raise InvalidError(f"{record.name}.{name}", name, f"a column of {_origin(record)}", hint)
    _expect_own(record, known)
    # So that one entity has one key, whoever compares it.
    told = [uuid_column(name) if name in uuids else name for name in dict.fromkeys(own)]
    if record.aggregates:
        return _typed(record, rows.select(*told, *(name for name in needed if name not in own)))
    expect_no_codes(record.name, record.fields, known)
    return _typed(record, rows.select(*told, *map(_computed, record.fields)))


def _computed(field: Field) -> pl.Expr:
    """A feature; one of single rows is the same whatever parts the rows come in, and whatever other columns are read."""
    from mainspring.data.validation.evaluation import in_any_parts

    return (in_any_parts(field.formula) if field.formula else read("", field.name)).alias(field.name)


def _typed(record: ViewRecord, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with the types of this version, as far as they are known: while it is resolved they are not."""
    declared = dict(record.columns)
    if not record.aggregates:
        declared = {field.name: field.dtype for field in record.fields if field.dtype}
    taken = (each.name for each in record.fields if read(each.formula, each.name).meta.undo_aliases().meta.is_column())
    plain = () if record.transform else {*record.columns, *taken}

    def refused(name: str, given: str) -> InvalidError:
        return InvalidError(
            f"{record.name}.{name}", given, f"{declared[name]}, its type in this version of the view",
            "Apply the view again: its new version has the type that there is now.",
        )  # fmt: skip

    return of_declared_types(rows, declared, plain, refused)


def _expect_own(record: ViewRecord, schema: pl.Schema) -> None:
    """Go on only if the keys can be keys, and the times are times."""
    import polars as pl

    for key in record.keys:
        dtype = schema[key.name]
        texts = isinstance(dtype, pl.String | pl.Categorical | pl.Enum)
        fits = {
            "int": dtype.is_integer(), "str": texts, "bytes": dtype == pl.Binary(), "uuid": texts or dtype == pl.Binary(),
        }  # fmt: skip
        if not fits[key.type]:
            raise InvalidError(
                f"{record.name}.{key.name}", f"{dtype}", f"a column that holds keys of type {key.type}",
                "Say the type with the entity: Entity(name, {column: type}).",
            )  # fmt: skip
    for name in filter(None, (record.event_time, record.created_time)):
        if not isinstance(schema[name], pl.Datetime | pl.Date):
            raise InvalidError(f"{record.name}.{name}", f"{schema[name]}", "a column of dates or times")


def _origin(record: ViewRecord) -> str:
    return f"`{record.source}`" if record.transform is None else "what the transform gives"
