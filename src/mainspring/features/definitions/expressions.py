"""Expressions of Polars as definitions keep them: text that says the same in the next release's words, or is refused.

Also which of them, and of transforms, surely look at one row at a time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mainspring.data.validation.expressions import expect_plain, formula, is_row_wise, serialised, shows_codes
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.features.definitions.records import Field, Sql, ViewRecord

if TYPE_CHECKING:
    import polars as pl

# What often makes an expression look at other rows unseen, by what of it is shown.
_ALONE = {
    (".is_in(", ".replace", ".contains_any("): (
        "A set that is looked up in is literal (`list.contains` looks into a row's own)."
    ),
    (".strptime(",): "Times in text need their format.",
    ("unique(",): "`list.unique` needs `maintain_order=True`.",
    (".arr.get(",): "`arr.get` by a column needs `null_on_oob=True`.",
}


def written(expression: Any, where: str) -> tuple[str, str]:
    """An expression as it is recorded, and for people.

    Raises:
        InvalidError: a function of Python or a plugin is in it, which can't be recorded in an expression.
        WrongTypeError: it is no expression.
    """
    if not hasattr(expression, "meta"):
        raise WrongTypeError(where, expression, "a column's name or a Polars expression")
    expression = _unnamed(expression)  # the name is kept beside it
    try:
        text = serialised(expression)
        expect_plain(text)
        text = _spelled_out(expression, text)
    except InvalidError as error:
        is_foreign = "a function of Python" in str(error)
        raise InvalidError(
            where, str(expression), "an expression of Polars' own functions that can be recorded",
            "Put a function of Python into `transform`: it is recorded with its code." if is_foreign else
            "Functions that give something else each time, and some rare ones, can't be.",
        ) from error  # fmt: skip
    return text, str(expression)


def _spelled_out(expression: pl.Expr, text: str) -> str:
    """The text of an expression in which columns are arguments one by one, also where they are named together."""
    from mainspring.data.validation.stable import of_tree, spelled_out, tree_of

    if not expression.meta.has_multiple_outputs():  # as Polars tells where columns are named together anywhere
        return text
    return serialised(of_tree(spelled_out(tree_of(expression))))


def _unnamed(expression: pl.Expr) -> pl.Expr:
    """An expression without its own names; those of what is inside, such as the fields of a struct, it keeps."""
    bare = expression.meta.undo_aliases()
    while len(inner := expression.meta.pop()) == 1 and inner[0].meta.undo_aliases().meta.eq(bare):
        (expression,) = inner
    return expression


def read(text: str, name: str) -> pl.Expr:
    """A recorded expression under its name; no text is the column itself."""
    import polars as pl

    return (formula(text) if text else pl.col(name)).alias(name)


def expect_no_codes(name: str, fields: Iterable[Field], schema: Mapping[str, pl.DataType]) -> None:
    """Go on only if no feature of what has this name shows the numbers of categories.

    Raises:
        InvalidError: one may: another process, or this one later, would give other values.
    """
    for field in fields:
        if field.formula and shows_codes(read(field.formula, field.name), schema):
            raise InvalidError(
                f"{name}.{field.name}", field.shown, "the same in each process, as the codes of categories are not",
                "Cast them to `pl.String`, or to a `pl.Enum`, whose codes are its own.",
            )  # fmt: skip


def field_over_others(fields: Iterable[Field]) -> Field | None:
    """The first feature whose expression may look at other rows."""
    formulas = ((field, read(field.formula, field.name)) for field in fields if field.formula)
    return next((field for field, formula in formulas if not is_row_wise(formula)), None)


def expect_of_single_rows(name: str, fields: Iterable[Field], why: str = "Rows come in any batches.") -> None:
    """Go on only if each feature of what has this name is surely made of one row, for the reason that is told.

    Raises:
        InvalidError: an expression may look at other rows.
    """
    if (over := field_over_others(fields)) is not None:
        hints = [hint for words, hint in _ALONE.items() if any(word in over.shown for word in words)]
        raise InvalidError(f"{name}.{over.name}", over.shown, "an expression of single rows", " ".join([why, *hints]))


def over_other_rows(record: ViewRecord, features: Container[str] | None = None) -> str:
    """What of a view may look at several rows of its source, in words; empty if each row surely makes its own alone.

    Asked for some of its `features` the expressions of others don't count.
    """
    if isinstance(record.transform, Sql):
        return "its SQL may look at other rows"
    if record.transform is not None:
        return f"`{record.transform.module}:{record.transform.qualname}` may look at other rows"
    field = field_over_others(each for each in record.fields if features is None or each.name in features)
    return f"`{field.name}` looks at other rows" if field is not None else ""
