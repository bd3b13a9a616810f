"""From conditions and orders to portable SQL: the ids of the records that match, a page at a time.

An order always ends in what tells any two records apart, so that a cursor names one place. NULL comes last both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mainspring.runs.filters import Condition, Kind, Order
from mainspring.runs.page import Page, checked_limit, from_cursor, to_cursor
from mainspring.store import Database


class Term(msgspec.Struct, frozen=True):
    """An SQL expression with the values of its placeholders; `around` is where a condition on it stands."""

    sql: str
    values: tuple[Any, ...] = ()
    around: str = "{}"


class Listing(msgspec.Struct, frozen=True):
    """Records that can be searched: where they come from, how an identifier reads, and what orders them in the end.

    The first of `ties` that is not equal decides; the last one is the id.
    """

    source: str
    term: Callable[[Kind, str], Term]
    ties: tuple[tuple[str, bool], ...]

    def find(
        self, database: Database, conditions: Sequence[Condition], orders: Sequence[Order], *, limit: int,
        cursor: str | None = None, where: Sequence[Term] = (),
    ) -> Page[str]:  # fmt: skip
        """The ids that match, in order, and the cursor of what follows."""
        keys = self.keys(orders)
        inner, values = self.select(keys, [*where, *(self.condition(each) for each in conditions)])
        names = [f"key_{number}" for number in range(len(keys))]
        sql = f"SELECT {', '.join(names)} FROM ({inner}) AS found"
        if cursor is not None:
            after = _behind(list(zip(names, keys, from_cursor(cursor, len(keys)), strict=True)))
            sql, values = f"{sql} WHERE {after.sql}", [*values, *after.values]
        order = ", ".join(
            f"{name} {'DESC' if down else 'ASC'} NULLS LAST" for name, (_, down) in zip(names, keys, strict=True)
        )
        rows = database.query(f"{sql} ORDER BY {order} LIMIT ?", [*values, checked_limit(limit) + 1])
        return Page([row[-1] for row in rows[:limit]], to_cursor(rows[limit - 1]) if len(rows) > limit else None)

    def keys(self, orders: Sequence[Order]) -> list[tuple[Term, bool]]:
        """What orders records, and whether downwards."""
        asked = [(self.term(order.kind, order.key), order.is_descending) for order in orders]
        return asked + [(Term(sql), down) for sql, down in self.ties]

    def select(self, keys: Sequence[tuple[Term, bool]], where: Sequence[Term]) -> tuple[str, list[Any]]:
        """The statement that gives these keys of every record that matches."""
        columns = ", ".join(f"{term.sql} AS key_{number}" for number, (term, _) in enumerate(keys))
        values = [value for term, _ in keys for value in term.values]
        matching = " AND ".join(f"({term.sql})" for term in where) or "1 = 1"
        return (
            f"SELECT {columns} FROM {self.source} WHERE {matching}",
            values + [value for term in where for value in term.values],
        )

    def condition(self, condition: Condition) -> Term:
        """A condition as SQL."""
        term = self.term(condition.kind, condition.key)
        sql, values = comparison(term.sql, condition)
        return Term(term.around.format(sql), (*term.values, *values))


def comparison(expression: str, condition: Condition) -> tuple[str, tuple[Any, ...]]:
    """A comparison as SQL. What is NULL fulfils none but IS NULL.

    >>> comparison("name", Condition("attribute", "name", "IN", ("a", "b")))
    ('name IN (?, ?)', ('a', 'b'))
    """
    operator, value = condition.operator, condition.value
    if operator in ("IS NULL", "IS NOT NULL"):
        return f"{expression} {operator}", ()
    if isinstance(value, tuple):
        return f"{expression} {operator} ({', '.join('?' * len(value))})", value
    if operator in ("LIKE", "ILIKE"):
        pattern = str(value).replace("\\", "\\\\")  # MLflow's patterns know no escape
        if operator == "LIKE":
            return f"{expression} LIKE ? ESCAPE '\\'", (pattern,)
        return f"LOWER({expression}) LIKE LOWER(?) ESCAPE '\\'", (pattern,)
    return f"{expression} {operator} ?", (value,)


def _behind(keys: list[tuple[str, tuple[Term, bool], Any]]) -> Term:
    """The condition that a record stands behind a place in the order."""
    either: list[str] = []
    equal, values, equal_values = "", list[Any](), list[Any]()
    for name, (_, down), value in keys:
        if value is not None:
            either.append(f"{equal}({name} {'<' if down else '>'} ? OR {name} IS NULL)")
            values += [*equal_values, value]
        equal += f"{name} IS NULL AND " if value is None else f"{name} = ? AND "
        equal_values += [] if value is None else [value]
    return Term(" OR ".join(either), tuple(values))
