"""Expressions of single rows, evaluated so that a row gives the same bits alone, in any batch and in a whole table.

Polars (2.1) reckons otherwise with a column of one value: there alone `a / 3` is not `a * (1 / 3)`, and `a ** b` goes another
way. It also takes for one a chunk of one row, a thread's part of few rows, and the only item of all lists. And it adds up the
items of lists in another order where one of them, in whatever row, is null. So `stable` writes an expression otherwise, and
what still hangs on the height is evaluated of the rows twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from mainspring.data.validation.expressions import columns_of, formula, is_row_wise
from mainspring.data.validation.stable import hangs_on_height, of_tree, stable, tree_of

_OF_ITEMS = ("List", "Array", "Eval", "RepeatBy", "Range", "Spaces")  # in the names of what makes, or looks into, lists


class Formula(NamedTuple):
    """A recorded expression, and whether it is of single rows; `columns` are those that it needs then.

    One that `hangs_on_height` is of single rows, and Polars alone may give other bits for a row than for several.
    """

    expression: pl.Expr
    is_row_wise: bool
    columns: tuple[str, ...]
    is_of_items: bool
    hangs_on_height: bool


class Prepared(NamedTuple):
    """An expression as it is evaluated over columns of certain types, and of which heights it needs the rows twice."""

    expression: pl.Expr
    alone_twice: bool
    always_twice: bool


@lru_cache(maxsize=4096)
def parsed(text: str) -> Formula:
    """A recorded expression; raises as `formula`.

    >>> from mainspring.data.validation.expressions import serialised
    >>> parsed(serialised(pl.col("x") / pl.col("n"))).columns
    ('x', 'n')
    """
    expression = formula(text)
    if not is_row_wise(expression):
        return Formula(expression, is_row_wise=False, columns=(), is_of_items=False, hangs_on_height=False)
    is_of_items = any(word in expression.meta.serialize(format="json") for word in _OF_ITEMS)
    columns = columns_of(expression)
    hangs = bool(columns) and hangs_on_height(tree_of(expression))
    return Formula(expression, is_row_wise=True, columns=columns, is_of_items=is_of_items, hangs_on_height=hangs)


@lru_cache(maxsize=4096)
def prepared(text: str, types: tuple[pl.DataType, ...]) -> Prepared:
    """A recorded expression of single rows as it is evaluated over its columns of these types; raises as `formula`."""
    known = parsed(text)
    schema = dict(zip(known.columns, types, strict=True))
    tree, hangs = stable(tree_of(known.expression), schema)
    is_of_items = known.is_of_items or any(dtype.is_nested() for dtype in types)
    return Prepared(of_tree(tree), hangs, hangs and is_of_items)


def evaluated(frame: pl.DataFrame, formulas: Mapping[str, str]) -> pl.DataFrame:
    """A column for each recorded expression, under its name; no text is the column of the name.

    Raises as Polars does.

    >>> from mainspring.data.validation.expressions import serialised
    >>> third = serialised(pl.col("n") / 3)
    >>> alone, among = (evaluated(pl.DataFrame({"n": values}), {"x": third}) for values in ([5], [5, 7]))
    >>> alone["x"].item() == among["x"][0]
    True
    """
    kinds: dict[bool | None, dict[str, pl.Expr]] = {}
    needed: dict[bool | None, dict[str, None]] = {}
    for name, text in formulas.items():
        is_twice, expression, columns = _to_evaluate(frame, name, text)
        kinds.setdefault(is_twice, {})[name] = expression.alias(name)
        needed.setdefault(is_twice, {}).update(dict.fromkeys(columns))
    if frame.height == 1 and {True, False} <= kinds.keys():  # one row costs what its plans cost, not what they compute
        kinds[True] |= kinds.pop(False)
        needed[True] |= needed.pop(False)
    made = [_of_kind(frame, kinds[each], [*needed[each]], each) for each in kinds]
    found = made[0] if len(made) == 1 else pl.concat(made, how="horizontal")
    return found if found.columns == [*formulas] else found.select(list(formulas))


def twice(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows, and then once more, in columns with which Polars reckons as with those of a table."""
    return pl.DataFrame({each.name: each.append(each).rechunk() for each in frame.get_columns()})


def in_any_parts(text: str) -> pl.Expr:
    """A recorded expression for Polars' own plans; one of single rows has the same bits whatever parts rows come in there.

    Raises as `formula`.
    """
    known = parsed(text)
    if not known.hangs_on_height:
        return known.expression

    def of_batch(given: Sequence[pl.Series]) -> pl.Series:
        columns = dict(zip(known.columns, given, strict=True))
        return evaluated(pl.DataFrame(columns), {"": text}).to_series()

    dtype = pl.dtype_of(known.expression)
    return pl.map_batches(list(known.columns), of_batch, return_dtype=dtype, is_elementwise=True)


def _to_evaluate(frame: pl.DataFrame, name: str, text: str) -> tuple[bool | None, pl.Expr, tuple[str, ...]]:
    """Whether an expression needs the rows twice, or None if it is evaluated as it is; and of which columns."""
    if not text:
        return False, pl.col(name), (name,)
    known = parsed(text)
    if not known.is_row_wise or not known.columns:
        return None, known.expression, ()
    how = prepared(text, tuple(frame.get_column(column).dtype for column in known.columns))
    return (how.alone_twice if frame.height == 1 else how.always_twice), how.expression, known.columns


def _of_kind(
    frame: pl.DataFrame, kind: Mapping[str, pl.Expr], needed: list[str], is_twice: bool | None
) -> pl.DataFrame:
    if is_twice is None:
        return frame.with_columns(kind.values()).select(list(kind))
    # Made anew of series: a column that is one value, repeated, Polars keeps as that value and reckons with it so.
    given, height = pl.DataFrame({name: frame.get_column(name).rechunk() for name in needed}), frame.height
    found = (twice(given) if is_twice else given).select(kind.values())
    return found if found.height == height else found.head(height)
