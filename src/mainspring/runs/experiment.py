"""The record of an experiment."""

from __future__ import annotations

from typing import Literal

import msgspec

View = Literal["active", "deleted", "all"]
"""Which records a search shows by whether they are deleted."""
_VIEWS = {"active": "{table}.deleted_at IS NULL", "deleted": "{table}.deleted_at IS NOT NULL", "all": "1 = 1"}


class Experiment(msgspec.Struct, frozen=True):
    """A named set of runs. `number` is its id for MLflow clients, 0 that of Default; times are microseconds since 1970."""

    id: str
    number: int
    name: str
    tags: dict[str, str]
    created_at: int
    updated_at: int
    deleted_at: int | None


def seen(table: str, view: View) -> str:
    """The SQL condition of a view.

    >>> seen("run", "deleted")
    'run.deleted_at IS NOT NULL'
    """
    from mainspring.errors import InvalidError

    if view not in _VIEWS:
        raise InvalidError("view", view, "one of active, deleted, all")
    return _VIEWS[view].format(table=table)
