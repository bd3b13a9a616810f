"""Expressions of Polars as records keep them, and what they are made of, told before Polars makes an expression of one again.

Whoever wrote a schema file or a report must not run code by it: a function of Python is kept as a pickle, a plugin as the
path of a library. So only kinds of nodes are taken that are known here.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from io import BytesIO, StringIO
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.errors import InvalidError

if TYPE_CHECKING:
    import polars as pl

_BINARY = "polars:"  # before the base64 of what JSON doesn't hold
_PICKLED = b"PLPYFN"  # what Polars puts before a pickled function
_WHOLE = {int}  # what the bytes of a series are written as: thousands, in which there is nothing to look for
_NAMES = frozenset(("Column", "Columns", "Selector", "Nth", "Field"))
_INNER = {
    "Alias": (0,), "BinaryExpr": ("left", "right"), "Cast": ("expr",), "Ternary": ("predicate", "truthy", "falsy"),
    "Over": ("function", "partition_by", "order_by"), "Sort": ("expr",), "SortBy": ("expr", "by"),
    "Gather": ("expr", "idx"), "Filter": ("input", "by"), "Slice": ("input", "offset", "length"),
    "Eval": ("expr", "evaluation"), "StructEval": ("expr", "evaluation"), "Explode": ("input",),
    "Rolling": ("function", "index_column"),
}  # fmt: skip
_FAMILIES = frozenset(
    """ArrayExpr BinaryExpr Bitwise Boolean Categorical ListExpr Pow Range RollingExpr RollingExprBy Sql StringExpr
    StructExpr TemporalExpr Trigonometry""".split()
)
_FUNCTIONS = _FAMILIES | frozenset(
    """Abs ArgMax ArgMin ArgSort ArgUnique ArgWhere AsStruct Atan2 BottomK Cbrt Ceil Clip Coalesce ConcatExpr Correlation
    CumCount CumMax CumMin CumProd CumSum Cut Diff DropNans DropNulls Entropy EwmMean EwmStd EwmVar Exp ExtendConstant FillNull
    FillNullWithStrategy Floor GatherEvery Hash Hist IndexOf Interpolate InterpolateBy Kurtosis Log Log1p LowerBound
    MaxHorizontal MeanHorizontal MinHorizontal Mode Negate NullCount PctChange PeakMax PeakMin Product QCut Quantile RLE
    RLEID Rank Repeat RepeatBy Replace ReplaceStrict Reshape Reverse Round RoundSF SearchSorted Shift ShiftAndFill Sign
    Skew SumHorizontal TopK TopKBy ToPhysical Truncate Unique UniqueCounts UpperBound ValueCounts""".split()
)
_ROW_WISE = frozenset(
    """Abs AllHorizontal AnyHorizontal AsStruct Atan2 Binary Cbrt Ceil Clip Coalesce CountOnes CountZeros Cut DateRanges
    DatetimeRanges
    EndsWith Exp FillNull Floor Hash IntRanges IsBetween IsClose IsFinite IsIn IsInfinite IsNan IsNotNan IsNotNull IsNull
    LeadingOnes LeadingZeros LenBytes LenChars LinearSpaces Log Log1p MaxHorizontal MeanHorizontal MinHorizontal Negate Not
    RepeatBy Replace ReplaceStrict Round RoundSF Sign Slice StartsWith SumHorizontal TimeRanges ToFloat ToPhysical TrailingOnes
    TrailingZeros Truncate""".split()
)
_OF_BOTH_KINDS = frozenset(
    ("Bitwise", "Boolean", "Categorical", "Range", "Sql")
)  # families of which only some are row-wise
# Beside the row-wise ones, what looks at one list's items alone where it is evaluated inside of lists.
_OF_ITEMS = frozenset(
    """All Any ArgMax ArgMin ArgUnique CumCount CumMax CumMin CumProd CumSum Diff DropNans DropNulls FillNullWithStrategy
    NullCount PctChange Product Rank Reverse Shift ShiftAndFill Unique""".split()
)
_KINDS_OF_ITEMS = frozenset(("Agg", "Filter", "Gather", "Slice", "Sort"))
# The inputs that Polars takes as a set for all rows, or (2.1) reads otherwise in one row than in several.
_SAME_FOR_ALL = {
    "IsIn": (1,), "Replace": (1, 2), "ReplaceStrict": (1, 2), ("StringExpr", "Replace"): (1, 2),
    ("StringExpr", "ContainsAny"): (1,), ("ListExpr", "CountMatches"): (1,), ("ArrayExpr", "CountMatches"): (1,),
}  # fmt: skip
# Polars (2.1) finds a null index out of bounds, but in a row alone.
_STRICT_GET = {"ArrayExpr": {"Get": False}}
# What may show the numbers that categories have in one process: Polars (2.1) also takes the largest by them.
_CODES = frozenset("Hash MaxHorizontal MinHorizontal PeakMax PeakMin ToPhysical".split())
_CODES_IN_FAMILIES = frozenset(
    [("Categorical", "Physical"), *((family, name) for family in ("ArrayExpr", "ListExpr") for name in ("Max", "Min"))]
)
_ROW_WISE_FAMILIES = frozenset(
    "ArrayExpr BinaryExpr ListExpr Pow StringExpr StructExpr TemporalExpr Trigonometry".split()
)


def serialised(expression: pl.Expr) -> str:
    """An expression as text: Polars' JSON, or the base64 of its binary form where JSON lacks a number or reads as SQL.

    >>> import polars as pl
    >>> serialised(pl.col("x")), serialised(pl.col("x").fill_null(float("inf")))[:12]
    ('{"Column":"x"}', 'polars:gahGd')
    """
    text = expression.meta.serialize(format="json")
    is_name = not text.startswith("{")  # as "Len", which is also a quoted column of SQL
    if is_name or "null" in text:
        data = expression.meta.serialize(format="binary")
        if is_name or not all(map(_is_finite, _walked(msgspec.msgpack.decode(data)))):
            return _BINARY + b64encode(data).decode()
    return text


def is_serialised(text: str) -> bool:
    """Whether a text is what `serialised` gives, and not SQL."""
    return text.startswith(("{", _BINARY))


def expression_of(text: str) -> pl.Expr:
    """The expression of which a text was made by `serialised`.

    Raises:
        InvalidError: it is none, or a function of Python or of a plugin is in it.
    """
    import polars as pl

    expect_plain(text)
    try:
        if text.startswith(_BINARY):  # encoded anew: Polars reads what was looked at
            return pl.Expr.deserialize(BytesIO(msgspec.msgpack.encode(_tree(text))), format="binary")
        return pl.Expr.deserialize(StringIO(text), format="json")
    except pl.exceptions.PanicException as error:  # no Exception: it would pass every door
        raise InvalidError("formula", text, "an expression as Polars serialises it") from error


def formula(text: str) -> pl.Expr:
    """The expression that a check was declared with: SQL, or what Polars serialised.

    Raises:
        InvalidError: it is none, or a function of Python or of a plugin is in it: whoever wrote a schema file or a report
            could run code by it.
    """
    import polars as pl

    return expression_of(text) if is_serialised(text) else pl.sql_expr(text)


def columns_of(expression: pl.Expr) -> tuple[str, ...]:
    """The columns that an expression names, each once. What `list.filter` calls "" are the items of a list.

    >>> import polars as pl
    >>> columns_of(pl.col("l").list.filter(pl.element() > 0).list.len() / pl.col("n"))
    ('l', 'n')
    """
    names = dict.fromkeys(expression.meta.root_names())
    if "" in names and not _names_nothing(msgspec.msgpack.decode(expression.meta.serialize(format="binary"))):
        del names[""]
    return tuple(names)


def _names_nothing(node: Any) -> bool:
    """Whether a column that is called "" is named outside of what is evaluated in lists."""
    if isinstance(node, list):
        return any(map(_names_nothing, node))
    if not isinstance(node, dict) or "Literal" in node:
        return False
    if _has(node, "Eval"):
        return _names_nothing(node["Eval"]["expr"])
    return node == {"Column": ""} or any(map(_names_nothing, node.values()))


def _tree(text: str) -> Any:
    if text.startswith(_BINARY):
        return msgspec.msgpack.decode(b64decode(text.removeprefix(_BINARY), validate=True))
    return msgspec.json.decode(text)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or isfinite(value)


def expect_plain(serialised: str) -> None:
    """Go on only if an expression that Polars serialised is made of Polars' own parts alone.

    Raises:
        InvalidError: there is a function of Python, a plugin, or what isn't known here; or this is no such text.
    """
    try:
        pending = [_tree(serialised)]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidError("formula", serialised, "an expression as Polars serialises it") from error
    try:
        while pending:
            pending += _inner(pending.pop())
    except InvalidError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidError("formula", serialised, "an expression as Polars serialises it") from error


def _inner(node: Any) -> list[Any]:
    """The nodes below one that may be taken."""
    if node in ("Len", "Element"):
        return []
    if isinstance(node, dict) and len(node) == 1:
        ((kind, body),) = node.items()
        if kind in _NAMES or (kind == "Literal" and not any(map(_is_of_python, _walked(body)))):
            return []
        if kind == "Agg" and isinstance(body, dict) and len(body) == 1:
            (of,) = body.values()
            return [of["input"] if isinstance(of, dict) and "input" in of else of[0] if isinstance(of, list) else of]
        if kind == "Function" and isinstance(body, dict) and _function(body)[0] in _FUNCTIONS:
            return list(body.get("input") or ())
        if kind in _INNER and isinstance(body, dict | list):
            return _fields(body, _INNER[kind])
    raise InvalidError(
        "formula", "a function of Python, or of a plugin" if _is_foreign(node) else str(node),
        "an expression that can be recorded", "Write it in SQL, or of Polars' own functions.",
    )  # fmt: skip


def _fields(body: Any, names: tuple[str | int, ...]) -> list[Any]:
    found = []
    for name in names:
        value = body[name] if isinstance(name, int) and isinstance(body, list) else dict(body).get(name)
        if name == "order_by" and isinstance(value, list):  # an expression, and how it is sorted
            value = value[0]
        found += value if isinstance(value, list) else [] if value is None else [value]
    return found


def _function(body: dict[str, Any]) -> tuple[str, str]:
    """A function's name; of one of a family, that of the family and its own."""
    function = body.get("function")
    if isinstance(function, dict) and len(function) == 1:
        ((family, which),) = function.items()
        return family, next(iter(which), "") if isinstance(which, dict) else str(which)
    return str(function), ""


def _walked(value: Any) -> Iterator[Any]:
    pending = [value]
    while pending:
        value = pending.pop()
        yield value
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list) and not {*map(type, value)} <= _WHOLE:
            pending += [each for each in value if isinstance(each, dict | list | float | bytes)]


def _is_of_python(value: Any) -> bool:
    if isinstance(value, dict):
        return any("Python" in key or key == "Object" for key in value)
    pickled: Any = _PICKLED if isinstance(value, bytes) else list(_PICKLED)
    return isinstance(value, list | bytes) and value[: len(_PICKLED)] == pickled


def _is_foreign(node: Any) -> bool:
    return any(word in str(node) for word in ("Anonymous", "FfiPlugin", "callback")) or any(
        map(_is_of_python, _walked(node))
    )


def is_row_wise(expression: pl.Expr) -> bool:
    """Whether an expression surely looks at one row at a time, so that batches of rows give what the whole gives.

    Polars' `meta.is_row_separable` looks at the outermost call alone. A form that isn't known here counts as not, and so
    does `is_in` with a column, which may be one of lists: `list.contains` surely looks into a row's own.
    """
    return _is_row_wise(msgspec.json.decode(expression.meta.serialize(format="json")))


def _is_row_wise(node: Any, *, in_lists: bool = False) -> bool:
    """Of what is evaluated `in_lists`: whether it looks at one list at a time, and at nothing beside it."""
    if node == "Element":
        return in_lists
    if not isinstance(node, dict) or len(node) != 1:
        return False
    ((kind, body),) = node.items()
    if kind == "Literal":
        return not _is_series(node) or _literal(node).len() == 1
    if kind in ("Column", "Field"):
        return not in_lists or body == ""  # as which `list.filter` names the items
    if kind == "Function":
        return _is_row_wise_function(body, in_lists=in_lists)
    if kind in ("Eval", "StructEval"):
        return _is_row_wise_evaluation(kind, body, in_lists=in_lists)
    is_known = kind in ("Alias", "BinaryExpr", "Cast", "Ternary") or (in_lists and kind in _KINDS_OF_ITEMS)
    return is_known and all(_is_row_wise(each, in_lists=in_lists) for each in _inner(node))


def _is_row_wise_evaluation(kind: str, body: dict[str, Any], *, in_lists: bool) -> bool:
    """Whether what is evaluated inside of lists, arrays or structs, and these themselves, are of single rows."""
    if "Cumulative" in body.get("variant", ()):
        return False
    subject, *inside = _inner({kind: body})
    is_inside = in_lists or kind == "Eval"
    return _is_row_wise(subject, in_lists=in_lists) and all(_is_row_wise(each, in_lists=is_inside) for each in inside)


def _is_row_wise_function(body: dict[str, Any], *, in_lists: bool) -> bool:
    family, name = _function(body)
    own = name if family in _OF_BOTH_KINDS else family
    is_of_values = family in _ROW_WISE_FAMILIES and "Vertical" not in name and name not in ("Explode", "Sample")
    is_of_items = in_lists and own in _OF_ITEMS and not _is_of_any_order(body)
    if not (own in _ROW_WISE or is_of_values or is_of_items) or _infers_a_format(body):
        return False
    inputs = body.get("input", [None])
    if _may_show_codes(body) and any(map(_makes_categories, _walked(inputs))):
        return False
    same = _SAME_FOR_ALL.get((family, name)) or _SAME_FOR_ALL.get(own, ())
    if body["function"] == _STRICT_GET:
        same = (1,)
    return all(
        _is_same_for_all(each) if place in same else _is_row_wise(each, in_lists=in_lists)
        for place, each in enumerate(inputs)
    )


def _is_of_any_order(body: dict[str, Any]) -> bool:
    """Whether a function may give another order, or another choice, each time."""
    return body["function"] == {"Unique": False} or "Random" in str(body["function"])


def _infers_a_format(body: dict[str, Any]) -> bool:
    """Whether text is read as times by a format that Polars takes from the first value of a batch."""
    found = next((each["Strptime"] for each in _walked(body["function"]) if _has(each, "Strptime")), None)
    return found is not None and found[1].get("format") is None


def _is_same_for_all(node: Any) -> bool:
    """Whether a node is one value, or one set of values, for each row."""
    if not _has(node, "Literal"):
        return False
    return not _is_series(node) or (values := _literal(node)).len() == 1 or not values.dtype.is_nested()


def _is_series(node: dict[str, Any]) -> bool:
    return _has(node["Literal"], "Series")


def _literal(node: dict[str, Any]) -> pl.Series:
    import polars as pl

    return pl.select(pl.Expr.deserialize(BytesIO(msgspec.json.encode(node)), format="json")).to_series()


def shows_codes(expression: pl.Expr, schema: Mapping[str, pl.DataType]) -> bool:
    """Whether an expression may give the numbers of categories, or their order: another process has others.

    Those of an enum are everywhere the same.
    """
    pending = [msgspec.msgpack.decode(expression.meta.serialize(format="binary"))]
    while pending:
        node = pending.pop()
        shown = node["Function"].get("input") if _has(node, "Function") and _may_show_codes(node["Function"]) else ()
        if any(_has_categories(each, schema) for each in shown or ()):
            return True
        pending += _inner(node)
    return False


def _may_show_codes(body: dict[str, Any]) -> bool:
    function = _function(body)
    return function[0] in _CODES or function in _CODES_IN_FAMILIES


def _has_categories(node: Any, schema: Mapping[str, pl.DataType]) -> bool:
    """Whether an expression gives categories, in lists and structs, too; of what is inside of one, whether they are near."""
    import polars as pl

    try:
        given = pl.Expr.deserialize(BytesIO(msgspec.msgpack.encode(node)), format="binary")
        types = [*pl.LazyFrame(schema=dict(schema)).select(given).collect_schema().values()]
    except pl.exceptions.PolarsError:
        if any(map(_makes_categories, _walked(node))):
            return True
        types = [*schema.values()]
    return any("Categorical" in repr(each) for each in types)


def _makes_categories(node: Any) -> bool:
    return _has(node, "Cast") and any(_has(each, "Categorical") for each in _walked(node["Cast"]["dtype"]))


def _has(node: Any, name: str) -> bool:
    return isinstance(node, dict) and name in node
