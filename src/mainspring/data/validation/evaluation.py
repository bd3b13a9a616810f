"""Expressions of single rows, evaluated so that a row gives the same bits alone, in any batch and in a whole table.

Polars (2.1) reckons otherwise with a column of one value: there alone `a / 3` is not `a * (1 / 3)`, and `a ** b` goes another
way. It also takes for one a chunk of one row, a thread's part of few rows, and the only item of all lists. And it adds up the
items of lists in another order where one of them, in whatever row, is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any, NamedTuple

import msgspec
import polars as pl

from mainspring.data.validation.conditions import formula
from mainspring.data.validation.expressions import is_row_wise

_OF_ITEMS = ("List", "Array", "Eval", "RepeatBy", "Range", "Spaces")  # in the names of what makes, or looks into, lists
_SUMS = {(f"{kind}Expr", name): f"{kind}Agg" for kind in ("List", "Array") for name in ("Sum", "Mean")}


class Formula(NamedTuple):
    """A recorded expression as it is evaluated, and whether it is of single rows; `columns` are those that it needs then."""

    expression: pl.Expr
    is_row_wise: bool
    columns: tuple[str, ...]
    is_of_items: bool

    @property
    def is_computed(self) -> bool:
        """Whether it is of single rows, and more than a column or a constant."""
        return self.is_row_wise and bool(self.columns) and not self.expression.meta.undo_aliases().meta.is_column()


@lru_cache(maxsize=4096)
def parsed(text: str) -> Formula:
    """A recorded expression; raises as `formula`.

    >>> from mainspring.data.validation.expressions import serialised
    >>> parsed(serialised(pl.col("x") / pl.col("n"))).columns
    ('x', 'n')
    """
    expression = formula(text)
    tree = msgspec.msgpack.decode(expression.meta.serialize(format="binary"))
    if not is_row_wise(expression):
        return Formula(expression, is_row_wise=False, columns=(), is_of_items=False)
    is_of_items = any(word in expression.meta.serialize(format="json") for word in _OF_ITEMS)
    if is_of_items:
        data = msgspec.msgpack.encode(_in_order(tree))
        expression = pl.Expr.deserialize(BytesIO(data), format="binary")
    columns = tuple(dict.fromkeys(expression.meta.root_names()))
    return Formula(expression, is_row_wise=True, columns=columns, is_of_items=is_of_items)


def evaluated(frame: pl.DataFrame, formulas: Mapping[str, str]) -> pl.DataFrame:
    """A column for each recorded expression, under its name; no text is the column of the name.

    Raises as Polars does.

    >>> from mainspring.data.validation.expressions import serialised
    >>> third = serialised(pl.col("a") / 3)
    >>> alone, among = (evaluated(pl.DataFrame({"a": values}), {"x": third}) for values in ([0.7], [0.7, 5.5]))
    >>> alone["x"].item() == among["x"][0]
    True
    """
    kinds: dict[tuple[bool, bool], dict[str, Formula]] = {}
    for name, text in formulas.items():
        known = parsed(text) if text else Formula(pl.col(name), is_row_wise=True, columns=(name,), is_of_items=False)
        kinds.setdefault((known.is_row_wise, known.is_of_items), {})[name] = known
    made = [_of_kind(frame, kind, *is_so) for is_so, kind in kinds.items()]
    return made[0] if len(made) == 1 else pl.concat(made, how="horizontal").select(list(formulas))


def twice(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows, and then once more, in columns with which Polars reckons as with those of a table."""
    return pl.DataFrame([each.append(each).rechunk() for each in frame.get_columns()])


def _of_kind(frame: pl.DataFrame, kind: Mapping[str, Formula], is_row_wise: bool, is_of_items: bool) -> pl.DataFrame:
    expressions = [known.expression.alias(name) for name, known in kind.items()]
    needed = {name: None for known in kind.values() for name in known.columns}
    if not is_row_wise or not needed:
        return frame.with_columns(expressions).select(list(kind))
    # Made anew of series: a column that is one value, repeated, Polars keeps as that value and reckons with it so.
    given, height = pl.DataFrame([frame.get_column(name).rechunk() for name in needed]), frame.height
    if height == 1 or is_of_items or any(dtype.is_nested() for dtype in given.dtypes):
        given = twice(given)  # in lists the items are then an even number
    found = given.select(expressions)
    return found if found.height == height else found.head(height)


def _in_order(node: Any) -> Any:
    """An expression's tree in which items are added up list by list, whatever other rows hold."""
    if isinstance(node, list):
        return [_in_order(each) for each in node]
    if not isinstance(node, dict) or "Literal" in node:
        return node
    if isinstance(body := node.get("Function"), dict) and isinstance(function := body.get("function"), dict):
        ((family, name),) = function.items()
        if isinstance(name, str) and (variant := _SUMS.get((family, name))):
            added = {"Agg": {name: "Element"}}
            return {"Eval": {"expr": _in_order(body["input"][0]), "evaluation": added, "variant": variant}}
    return {key: _in_order(value) for key, value in node.items()}
