"""Expressions written so that Polars reckons alike with one value and with many, as far as that can be written.

A division of floats by a constant is a product, as Polars has it for columns of several values. In sums of lists nulls are
zeros: else they decide for all rows in which order items are added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import msgspec
import polars as pl

_SUMS = {("ListExpr", "Sum"), ("ListExpr", "Mean"), ("ArrayExpr", "Sum"), ("ArrayExpr", "Mean")}
_BY_HEIGHT = frozenset(("TrueDivide", "FloorDivide", "Divide", "Modulus"))  # with one value another way than with many
_FLOATS = (pl.Float64, pl.Float32, pl.Float16)
_ITEM = "item"
_OF_ANY_NUMBER = {
    "AllHorizontal", "AnyHorizontal", "SumHorizontal", "MeanHorizontal", "MaxHorizontal", "MinHorizontal", "Coalesce",
    "AsStruct", ("Boolean", "AllHorizontal"), ("Boolean", "AnyHorizontal"), ("ListExpr", "Concat"),
}  # fmt: skip


def tree_of(expression: pl.Expr) -> Any:
    """An expression's nodes, as `of_tree` takes them."""
    return msgspec.msgpack.decode(expression.meta.serialize(format="binary"))


def of_tree(tree: Any) -> pl.Expr:
    """The expression of nodes."""
    return pl.Expr.deserialize(BytesIO(msgspec.msgpack.encode(tree)), format="binary")


def spelled_out(tree: Any) -> Any:
    """An expression's nodes with an argument for each column, where several that are named together are arguments.

    >>> str(of_tree(spelled_out(tree_of(pl.sum_horizontal(pl.col("a", "b"))))))
    'col("a").sum_horizontal([col("b")])'
    """
    if isinstance(tree, list):
        return [spelled_out(each) for each in tree]
    if not isinstance(tree, dict) or "Literal" in tree:
        return tree
    tree = {key: spelled_out(value) for key, value in tree.items()}
    if isinstance(body := tree.get("Function"), dict) and _takes_any_number(body):
        body["input"] = [one for each in body["input"] for one in _each_column(each)]
    return tree


def hangs_on_height(tree: Any) -> bool:
    """Whether Polars may give other bits for a row alone than among others, if the nodes are as they are."""
    if isinstance(tree, list):
        return any(map(hangs_on_height, tree))
    if not isinstance(tree, dict) or "Literal" in tree:
        return False
    if isinstance(body := tree.get("BinaryExpr"), dict) and _is_division(body):
        return True
    if isinstance(body := tree.get("Function"), dict) and (_is_by_height(body) or _named(body) in _SUMS):
        return True
    return any(map(hangs_on_height, tree.values()))


def stable(tree: Any, schema: Mapping[str, pl.DataType]) -> tuple[Any, bool]:
    """An expression's nodes written so, over columns of these types; and whether something in it still hangs on the height.

    >>> tree, hangs = stable(tree_of(pl.col("x") / 4), {"x": pl.Float64()})
    >>> str(of_tree(tree)), hangs
    ('[(col("x")) * (0.25)]', False)
    """
    written = _Writer(dict(schema))
    return written.of(tree, None), written.hangs


class _Writer:
    def __init__(self, schema: dict[str, pl.DataType]) -> None:
        self.schema, self.hangs = schema, False

    def of(self, node: Any, item: pl.DataType | None) -> Any:
        """A node written so; inside of lists `item` is the type of their items."""
        if isinstance(node, list):
            return [self.of(each, item) for each in node]
        if not isinstance(node, dict) or "Literal" in node:
            return node
        if isinstance(body := node.get("BinaryExpr"), dict) and "op" in body:
            return self._of_operator(body, item)
        if isinstance(body := node.get("Function"), dict):
            return self._of_function(body, item)
        if isinstance(body := node.get("Eval"), dict):
            inner = _inner(self._type(body["expr"], item))
            return {
                "Eval": {
                    **body,
                    "expr": self.of(body["expr"], item),
                    "evaluation": self.of(body["evaluation"], inner or pl.Null()),
                }
            }
        return {key: self.of(value, item) for key, value in node.items()}

    def _of_operator(self, body: dict[str, Any], item: pl.DataType | None) -> Any:
        left, right, op = body["left"], body["right"], body["op"]
        if op == "TrueDivide" and (factor := self._factor(left, right, item)) is not None:
            return {"BinaryExpr": {"left": self.of(left, item), "op": "Multiply", "right": factor}}
        self.hangs |= _is_division(body)
        return {"BinaryExpr": {"left": self.of(left, item), "op": op, "right": self.of(right, item)}}

    def _of_function(self, body: dict[str, Any], item: pl.DataType | None) -> Any:
        function, given = body["function"], self.of(body["input"], item)
        family, name = _named(body)
        self.hangs |= _is_by_height(body)
        if (family, name) in _SUMS:
            inner = _inner(self._type(body["input"][0], item))
            if inner in _FLOATS:
                lists = of_tree(given[0]).arr.to_list() if family == "ArrayExpr" else of_tree(given[0])
                return tree_of(_sum(lists, inner) if name == "Sum" else _mean(lists, inner))
        return {"Function": {**body, "input": given, "function": function}}

    def _factor(self, left: Any, right: Any, item: pl.DataType | None) -> Any:
        """The node of a constant by which floats are divided, as that by which they are multiplied; None of anything else."""
        if not (isinstance(right, dict) and isinstance(known := right.get("Literal"), dict) and "Series" not in known):
            return None
        value = pl.select(of_tree(right)).to_series()
        dtype = _leaf(self._type(left, item))
        is_number = value.len() == 1 and value.dtype.is_numeric() and not value.dtype.is_decimal()
        if dtype not in _FLOATS or not is_number or not value[0]:
            return None
        if "Dyn" not in known and value.dtype != dtype:
            return None  # whose type decides that of the quotient
        return tree_of(pl.lit((1 / pl.Series([1.0, value[0]], dtype=dtype))[1], dtype))

    def _type(self, node: Any, item: pl.DataType | None) -> pl.DataType | None:
        schema = self.schema
        if item is not None:
            node, schema = _of_column(node), {_ITEM: item}
        try:
            found = [*pl.LazyFrame(schema=schema).select(of_tree(node)).collect_schema().values()]
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return None
        return found[0] if len(found) == 1 else None


def _named(body: dict[str, Any]) -> tuple[str, str]:
    """The family of a function, and its name in it where it has no arguments."""
    function = body["function"]
    family, name = next(iter(function.items())) if isinstance(function, dict) else (function, "")
    return str(family), name if isinstance(name, str) else ""


def _takes_any_number(body: dict[str, Any]) -> bool:
    family, name = _named(body)
    return family in _OF_ANY_NUMBER or (family, name) in _OF_ANY_NUMBER


def _each_column(node: Any) -> list[Any]:
    """A node for each of the columns that it names together in one place; itself if that isn't so."""
    found: list[Any] = []
    _look(node, found)
    if len(found) != 1 or not (isinstance(found[0], dict) and "ByName" in found[0]):
        return [node]
    return [_replaced(node, {"Column": name}) for name in found[0]["ByName"]["names"]]


def _look(node: Any, selectors: list[Any]) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key == "Selector":
            selectors.append(value)
        elif key != "Literal":
            _look(value, selectors)


def _replaced(node: Any, column: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_replaced(each, column) for each in node]
    if not isinstance(node, dict) or "Literal" in node:
        return node
    return column if "Selector" in node else {key: _replaced(value, column) for key, value in node.items()}


def _is_division(body: dict[str, Any]) -> bool:
    """Whether an operator is a division, but not of a constant by columns, which is one whatever the height."""
    return body.get("op") in _BY_HEIGHT and not (isinstance(body["left"], dict) and "Literal" in body["left"])


def _is_by_height(body: dict[str, Any]) -> bool:
    """Whether a function is a power, or a division of SQL."""
    family, name = _named(body)
    of_sql = any(body["function"] == {"Sql": {"Binary": each}} for each in ("Div", "IntDiv", "Rem"))
    return of_sql or (family == "Pow" and name not in ("Sqrt", "Cbrt"))


def _sum(lists: pl.Expr, inner: pl.DataType) -> pl.Expr:
    return lists.list.eval(pl.element().fill_null(pl.lit(0.0, inner))).list.sum()


def _mean(lists: pl.Expr, inner: pl.DataType) -> pl.Expr:
    count = lists.list.eval(pl.element().is_not_null()).list.sum()
    total = _sum(lists.cast(pl.List(pl.Float64)), pl.Float64())
    return pl.when(count > 0).then(total / count).cast(inner)


def _of_column(node: Any) -> Any:
    """What is evaluated inside of lists, of a column of items."""
    if node in ("Element", {"Column": ""}):  # as which `list.filter` names the items
        return {"Column": _ITEM}
    if isinstance(node, list):
        return [_of_column(each) for each in node]
    return {key: _of_column(value) for key, value in node.items()} if isinstance(node, dict) else node


def _inner(dtype: pl.DataType | None) -> pl.DataType | None:
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else None
    return inner if isinstance(inner, pl.DataType) or inner is None else inner()


def _leaf(dtype: pl.DataType | None) -> pl.DataType | None:
    while (inner := _inner(dtype)) is not None:
        dtype = inner
    return dtype
