"""The types that a version of a view has for ever: what its source gives later is of them, or is refused.

One rule, wherever values come from and go to: a column that the view takes as it is may come in a type of which each value is
exactly one of the declared type; what is computed must be of the declared type itself, but where it is null all over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from typing import TYPE_CHECKING

from mainspring.errors import InvalidError

if TYPE_CHECKING:
    import polars as pl

_NUMBER = re.compile(r"([iuf])(\d+)")
_EXACT_BITS = {"f16": 11, "f32": 24, "f64": 53}  # of the whole numbers that a float holds, their sign aside


def of_declared_types(
    rows: pl.LazyFrame, declared: Mapping[str, str], as_they_are: Container[str], refused: Callable[[str, str], InvalidError]
) -> pl.LazyFrame:  # fmt: skip
    """Rows whose columns have the declared types; only those that are taken `as_they_are` may come in a narrower one.

    `refused` makes the error of a column with the name of the type that it has. Lists and structs that are computed are looked
    at again when they are: of nulls alone they may be of another type than Polars plans.

    Raises:
        InvalidError: a column is of another type. When rows are collected it is Polars' error.
    """
    import polars as pl

    from mainspring.data.tables.type_names import name_of_type, named_type

    schema = rows.collect_schema()
    changed = []
    for name, told in declared.items():
        wanted, given = named_type(told, name), schema[name]
        is_computed = name not in as_they_are
        if not (is_of(wanted, given) if is_computed else holds(wanted, given)):
            raise refused(name, name_of_type(given))
        if is_computed and wanted.is_nested():
            changed.append(_held(pl.col(name), wanted))
        elif given != wanted:
            changed.append(_cast(pl.col(name), given, wanted).alias(name))
    return rows.with_columns(changed) if changed else rows


def is_of(wanted: pl.DataType, given: pl.DataType) -> bool:
    """Whether a type is the wanted one, but for parts of which nothing but nulls is known.

    >>> import polars as pl
    >>> is_of(pl.List(pl.Int8()), pl.List(pl.Null())), is_of(pl.List(pl.Int8()), pl.Null()), is_of(pl.Int64(), pl.Int8())
    (True, True, False)
    """
    import polars as pl

    if given in (wanted, pl.Null()):
        return True
    return _is_alike(wanted, given) and all(is_of(*each) for each in _parts(wanted, given))


def _held(column: pl.Expr, wanted: pl.DataType) -> pl.Expr:
    """The column in the wanted type, whatever Polars (2.1) planned: it plans `list.diff` of nulls to be what it isn't."""
    import polars as pl

    def held(values: pl.Series) -> pl.Series:
        if not is_of(wanted, values.dtype):
            raise pl.exceptions.SchemaError(f"`{values.name}` is {values.dtype}, expected {wanted}")
        return values.cast(wanted)

    return column.map_batches(held, return_dtype=wanted, is_elementwise=True)


def holds(wanted: pl.DataType, given: pl.DataType) -> bool:
    """Whether each value of the given type is, exactly, one of the wanted type.

    >>> import polars as pl
    >>> holds(pl.Int64(), pl.UInt32()), holds(pl.Int64(), pl.UInt64()), holds(pl.Float64(), pl.Int64())
    (True, False, False)
    >>> holds(pl.Datetime("us", "UTC"), pl.Datetime("ms", "UTC")), holds(pl.Datetime("ms"), pl.Datetime("us"))
    (True, False)
    """
    import polars as pl

    if wanted == given or given == pl.Null():
        return True
    if isinstance(wanted, pl.Datetime) and isinstance(given, pl.Datetime):
        is_of_zones = (wanted.time_zone is None) == (given.time_zone is None)
        return is_of_zones and _is_coarser(given.time_unit, wanted.time_unit)
    if isinstance(wanted, pl.Duration) and isinstance(given, pl.Duration):
        return _is_coarser(given.time_unit, wanted.time_unit)
    if isinstance(wanted, pl.String):
        return isinstance(given, pl.Categorical | pl.Enum)
    if isinstance(wanted, pl.Decimal) and isinstance(given, pl.Decimal):
        scales = given.scale <= wanted.scale
        return scales and (given.precision or 38) - given.scale <= (wanted.precision or 38) - wanted.scale
    return _holds_items(wanted, given) if wanted.is_nested() else _holds_numbers(wanted, given)


def _holds_items(wanted: pl.DataType, given: pl.DataType) -> bool:
    """The same of lists, arrays and structs, whose items or fields are held one by one."""
    import polars as pl

    is_list = isinstance(wanted, pl.List) and isinstance(given, pl.Array)
    return (is_list or _is_alike(wanted, given)) and all(holds(*each) for each in _parts(wanted, given))


def _is_alike(wanted: pl.DataType, given: pl.DataType) -> bool:
    """Whether both are lists, arrays of one size, or structs of the same fields."""
    import polars as pl

    from mainspring.data.tables.nested import fields_of

    if isinstance(wanted, pl.Array) and isinstance(given, pl.Array):
        return given.size == wanted.size
    if isinstance(wanted, pl.Struct) and isinstance(given, pl.Struct):
        return list(fields_of(wanted)) == list(fields_of(given))
    return isinstance(wanted, pl.List) and isinstance(given, pl.List)


def _parts(*both: pl.DataType) -> Iterator[tuple[pl.DataType, ...]]:
    """The types of the items of two lists or arrays, or of the fields of two structs."""
    import polars as pl

    from mainspring.data.tables.nested import fields_of, instance

    parts = (
        [instance(each.inner)] if isinstance(each, pl.List | pl.Array) else fields_of(each).values() for each in both
    )
    return zip(*parts, strict=True)


def _holds_numbers(wanted: pl.DataType, given: pl.DataType) -> bool:
    from mainspring.data.tables.type_names import name_of_type

    name = name_of_type(wanted)
    ours, theirs = _NUMBER.fullmatch(name), _NUMBER.fullmatch(name_of_type(given))
    if ours is None or theirs is None:
        return False
    (kind, bits), (other, width) = ((found[1], int(found[2])) for found in (ours, theirs))
    if other == kind:
        return width <= bits
    if other == "f" or kind == "u":
        return False
    return width - (other == "i") <= (_EXACT_BITS[name] if kind == "f" else bits - 1)


def _is_coarser(given: str, wanted: str) -> bool:
    # What nanoseconds hold ends in 2262.
    return given == wanted or (given, wanted) == ("ms", "us")


def _cast(column: pl.Expr, given: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    import polars as pl

    from mainspring.data.tables.nested import fields_of, instance

    if given == wanted or not _has_times(given):
        return column.cast(wanted)
    if isinstance(given, pl.Struct):
        kinds = fields_of(wanted)
        fields = [_cast(column.struct.field(name), kind, kinds[name]) for name, kind in fields_of(given).items()]
        return pl.when(column.is_not_null()).then(pl.struct(fields))
    if isinstance(given, pl.List | pl.Array) and isinstance(wanted, pl.List | pl.Array):
        items = column.arr.to_list() if isinstance(given, pl.Array) else column
        cast = items.list.eval(_cast(pl.element(), instance(given.inner), instance(wanted.inner)))
        return cast.list.to_array(wanted.size) if isinstance(wanted, pl.Array) else cast
    column = column.to_physical()
    if _unit(given) != _unit(wanted):
        # A strict cast of units panics where a time overflows (Polars 2.1); one of numbers says so.
        column = (column.cast(pl.Int128) * 1_000).cast(pl.Int64)
    return column.cast(wanted)


def _unit(dtype: pl.DataType) -> str:
    return str(getattr(dtype, "time_unit", ""))


def _has_times(dtype: pl.DataType) -> bool:
    import polars as pl

    from mainspring.data.tables.nested import fields_of, instance

    if isinstance(dtype, pl.List | pl.Array):
        return _has_times(instance(dtype.inner))
    return isinstance(dtype, pl.Datetime | pl.Duration) or any(map(_has_times, fields_of(dtype).values()))
