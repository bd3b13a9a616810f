"""Structs and lists put together from their parts, which were brought to their types one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl


def instance(dtype: object) -> pl.DataType:
    """A type as an object; Polars also takes and gives classes.

    >>> instance(pl.Int8) == instance(pl.Int8())
    True
    """
    return dtype() if isinstance(dtype, type) and issubclass(dtype, pl.DataType) else dtype  # type: ignore[return-value]  # either form of a type


def leaf_of(dtype: pl.DataType) -> pl.DataType:
    """The type of what lists hold at last; of anything else itself.

    >>> leaf_of(pl.List(pl.List(pl.Int8())))
    Int8
    """
    while isinstance(dtype, pl.List):
        dtype = instance(dtype.inner)
    return dtype


def structs(name: str, fields: Sequence[pl.Series], is_there: pl.Series) -> pl.Series:
    """Structs of these fields, null where none is there.

    >>> structs("at", [pl.Series("x", [1, None])], pl.Series([True, False])).to_list()
    [{'x': 1}, None]
    """
    whole = pl.DataFrame(fields, height=len(is_there)).to_struct(name)
    return whole.zip_with(is_there, nulls(name, whole.dtype, len(whole)))


def lists(name: str, items: pl.Series, lengths: pl.Series, dtype: pl.List | pl.Array) -> pl.Series:
    """Lists of so many of these items each, one behind the other; null where the length is.

    For arrays all must be of their width.

    >>> lists("seen", pl.Series([1, 2, 3]), pl.Series([2, 0, None, 1]), pl.List(pl.Int64())).to_list()
    [[1, 2], [], None, [3]]
    """
    rows = pl.DataFrame({"row": pl.int_range(len(lengths), eager=True), "length": lengths.cast(pl.UInt32)})
    owners = rows.filter(pl.col("length") > 0).select(pl.col("row").repeat_by("length").explode())["row"]
    found = pl.DataFrame({"row": owners, "items": items}).group_by("row", maintain_order=True).agg("items")
    empty = pl.lit(pl.Series([[]], dtype=pl.List(items.dtype))).first()
    joined = rows.join(found, on="row", how="left", maintain_order="left")
    whole = joined.select(pl.when(pl.col("length") == 0).then(empty).otherwise("items").alias(name)).to_series()
    return whole.list.to_array(dtype.size) if isinstance(dtype, pl.Array) else whole


def fields_of(dtype: pl.DataType) -> dict[str, pl.DataType]:
    """The fields of a struct's type, none of others.

    >>> fields_of(pl.Struct({"x": pl.Int8})), fields_of(pl.Int8())
    ({'x': Int8}, {})
    """
    return {each.name: instance(each.dtype) for each in dtype.fields} if isinstance(dtype, pl.Struct) else {}


def by_items(
    column: pl.Series, dtype: pl.List | pl.Array, act: Callable[[pl.Series, pl.DataType], pl.Series]
) -> pl.Series:
    """Lists or arrays brought to a type by what brings their items to its.

    >>> by_items(pl.Series("n", [[1], [], None]), pl.List(pl.Int8()), lambda items, dtype: items.cast(dtype)).to_list()
    [[1], [], None]
    """
    given = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
    lengths = given.list.len()
    return lists(column.name, act(given.filter(lengths > 0).explode(), instance(dtype.inner)), lengths, dtype)


def by_fields(column: pl.Series, dtype: pl.Struct, act: Callable[[pl.Series, pl.DataType], pl.Series]) -> pl.Series:
    """Structs brought to a type by what brings their fields to its, in any order; a field that they lack is null.

    >>> point = pl.Struct({"x": pl.Int8, "y": pl.Int8})
    >>> by_fields(pl.Series("at", [{"y": 1}, None]), point, lambda field, dtype: field.cast(dtype)).to_list()
    [{'x': None, 'y': 1}, None]
    """
    given = fields_of(column.dtype)
    fields = [
        act(column.struct.field(name), kind).alias(name) if name in given else nulls(name, kind, len(column))
        for name, kind in fields_of(dtype).items()
    ]
    return structs(column.name, fields, column.is_not_null())


def nulls(name: str, dtype: pl.DataType, count: int) -> pl.Series:
    """Nulls of a type.

    >>> nulls("n", pl.Int8(), 2).to_list()
    [None, None]
    """
    return pl.Series(name, [None], dtype=dtype).new_from_index(0, count)
