"""Expressions of Polars as definitions keep them: text that says the same in the next release's words, or is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mainspring.data.validation.conditions import formula
from mainspring.data.validation.expressions import expect_plain, serialised
from mainspring.errors import InvalidError, WrongTypeError

if TYPE_CHECKING:
    import polars as pl


def written(expression: Any, where: str) -> tuple[str, str]:
    """An expression as it is recorded, and for people.

    Raises:
        InvalidError: a function of Python or a plugin is in it, which can't be recorded in an expression.
        WrongTypeError: it is no expression.
    """
    if not hasattr(expression, "meta"):
        raise WrongTypeError(where, expression, "a column's name or a Polars expression")
    expression = expression.meta.undo_aliases()  # the name is kept beside it
    try:
        text = serialised(expression)
        expect_plain(text)
    except InvalidError as error:
        raise InvalidError(
            where, str(expression), "an expression of Polars' own functions",
            "Put a function of Python into `transform`: it is recorded with its code.",
        ) from error  # fmt: skip
    return text, str(expression)


def read(text: str, name: str) -> pl.Expr:
    """A recorded expression under its name; no text is the column itself."""
    import polars as pl

    return (formula(text) if text else pl.col(name)).alias(name)
