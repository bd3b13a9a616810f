"""Options that several commands of `mainspring data` have in common."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
REPEATED = "several by commas, or the option again"

as_of_option = click.option(
    "--as-of", metavar="WHEN", help="As it was at a time, e.g. 2026-11-21T10:00Z, or at a version's number, tag or id."
)


def columns_option(*names: str, help: str, required: bool = False) -> Callable[[Decorated], Decorated]:  # noqa: A002  # click's own word
    """An option that names columns, and may be repeated. A comma parts names unless they are in double quotes."""
    return click.option(
        *names, multiple=True, required=required, metavar="COLUMN[,…]", callback=_columns, help=f"{help}; {REPEATED}."
    )


def _columns(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    if any(not each.strip() for each in given):
        raise click.BadParameter("it names no column.")
    return tuple(name.strip() for each in given for row in csv.reader([each], skipinitialspace=True) for name in row)
