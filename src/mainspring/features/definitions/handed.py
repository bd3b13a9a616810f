"""The frames that functions of Python are handed: what these compute of single rows has the same bits in any parts.

A request, a batch of a stream and a whole table come to the same function in other heights, and a filter in it leaves parts of
any. So what is given to `select`, `with_columns` and `filter` is evaluated as features are. What looks at other rows, is a
function itself, or reckons with a series outside of a frame is as Polars has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast, overload

import polars as pl

from mainspring.data.validation.evaluation import in_any_parts, parsed
from mainspring.data.validation.expressions import serialised
from mainspring.data.validation.stable import of_tree, tree_of
from mainspring.errors import InvalidError


class HandedLazyFrame(pl.LazyFrame):
    """A lazy frame of which, and of what is made of it, expressions of single rows have the same bits in any parts."""

    @classmethod
    def of(cls, frame: pl.LazyFrame) -> HandedLazyFrame:
        """The same rows."""
        return cast(HandedLazyFrame, cls._from_pyldf(frame._ldf))  # which is of the class that it is called on

    def plain(self) -> pl.LazyFrame:
        """The same rows, as Polars has them."""
        return pl.LazyFrame._from_pyldf(self._ldf)

    def select(self, *exprs: Any, **named_exprs: Any) -> pl.LazyFrame:
        return super().select(*self._told(exprs), **self._named(named_exprs))

    def select_seq(self, *exprs: Any, **named_exprs: Any) -> pl.LazyFrame:
        return super().select_seq(*self._told(exprs), **self._named(named_exprs))

    def with_columns(self, *exprs: Any, **named_exprs: Any) -> pl.LazyFrame:
        return super().with_columns(*self._told(exprs), **self._named(named_exprs))

    def with_columns_seq(self, *exprs: Any, **named_exprs: Any) -> pl.LazyFrame:
        return super().with_columns_seq(*self._told(exprs), **self._named(named_exprs))

    def filter(self, *predicates: Any, **constraints: Any) -> pl.LazyFrame:
        return super().filter(*self._told(predicates), **constraints)

    def collect(self, *args: Any, **options: Any) -> Any:
        found = super().collect(*args, **options)
        return HandedFrame.of(found) if isinstance(found, pl.DataFrame) else found

    def _collect_eager(self, **options: Any) -> pl.DataFrame:  # by which methods of data frames end
        return HandedFrame.of(super()._collect_eager(**options))

    def _told(self, given: tuple[Any, ...]) -> list[Any]:
        if (
            len(given) == 1
            and isinstance(given[0], Iterable)
            and not isinstance(given[0], str | bytes | pl.Series | pl.Expr)
        ):
            listed = given[0] if isinstance(given[0], list) else list(given[0])
            given = tuple(listed) if any(isinstance(each, pl.Expr) for each in listed) else (listed,)
        return [each for one in given for each in self._each(one)]

    def _named(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: next(iter(self._each(each))) if isinstance(each, pl.Expr) else each for name, each in given.items()
        }

    def _each(self, given: Any) -> Iterator[Any]:
        yield from _steadied(given, self) if isinstance(given, pl.Expr) else [given]


class HandedFrame(pl.DataFrame):
    """A data frame of which, and of what is made of it, expressions of single rows have the same bits in any parts."""

    @classmethod
    def of(cls, frame: pl.DataFrame) -> HandedFrame:
        """The same rows."""
        return cast(HandedFrame, cls._from_pydf(frame._df))  # which is of the class that it is called on

    def plain(self) -> pl.DataFrame:
        """The same rows, as Polars has them."""
        return pl.DataFrame._from_pydf(self._df)

    def lazy(self) -> pl.LazyFrame:
        return HandedLazyFrame.of(super().lazy())


@overload
def plain(found: pl.DataFrame) -> pl.DataFrame: ...
@overload
def plain(found: pl.LazyFrame) -> pl.LazyFrame: ...
def plain(found: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame | pl.LazyFrame:
    """What a function gave, as Polars has it."""
    return found.plain() if isinstance(found, HandedLazyFrame | HandedFrame) else found


def _steadied(expression: pl.Expr, frame: pl.LazyFrame) -> list[pl.Expr]:
    """An expression as its columns, of which those of single rows have the same bits in any parts."""
    try:
        if expression.meta.has_multiple_outputs():
            return [_one(each) for each in _expanded(expression, frame)]
        return [_one(expression)]
    except (InvalidError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return [expression]  # of functions, or wrong: Polars says what it says


def _one(expression: pl.Expr) -> pl.Expr:
    text = serialised(expression.meta.undo_aliases())
    return in_any_parts(text).alias(expression.meta.output_name()) if parsed(text).hangs_on_height else expression


def _expanded(expression: pl.Expr, frame: pl.LazyFrame) -> list[pl.Expr]:
    """An expression of several columns as one for each."""
    tree = tree_of(expression)
    selectors: list[Any] = []
    _look(tree, selectors)
    schema = pl.LazyFrame(schema=frame.collect_schema())
    columns = [schema.select(of_tree(each)).collect_schema().names() for each in selectors]
    names = schema.select(expression).collect_schema().names()
    if any(len(each) != len(names) for each in columns):
        return [expression]
    return [of_tree(_with(tree, [each[at] for each in columns])).alias(name) for at, name in enumerate(names)]


def _look(node: Any, found: list[Any]) -> None:
    if isinstance(node, dict) and "Selector" in node:
        found.append(node)
    elif isinstance(node, dict | list) and not (isinstance(node, dict) and "Literal" in node):
        for each in node.values() if isinstance(node, dict) else node:
            _look(each, found)


def _with(node: Any, names: list[str]) -> Any:
    """The nodes with a column in place of each selector, in order, and without what names what they give."""
    if isinstance(node, list):
        return [_with(each, names) for each in node]
    if not isinstance(node, dict) or "Literal" in node:
        return node
    if "Selector" in node:
        return {"Column": names.pop(0)}
    for kind in ("RenameAlias", "KeepName"):
        if kind in node:
            inner = node[kind]
            return _with(inner["expr"] if isinstance(inner, dict) and "expr" in inner else inner, names)
    return {key: _with(value, names) for key, value in node.items()}
