"""The tables of MLflow in SQLite: which versions of them are known, and making them."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from mainspring.errors import InvalidError

REVISIONS = {"3.16": "b7e2c1a4d9f3", "3.17": "dc11669786a5"}
"""The Alembic revision of each version of MLflow whose tables are known, the oldest first."""
NEWEST = list(REVISIONS)[-1]
_NAME = re.compile(r"CREATE (?:UNIQUE )?(?:TABLE|INDEX|TRIGGER) \"?(\w+)")
_HOME = Path(__file__).parent


def expect_known(version: str) -> None:
    """Refuse a version of MLflow whose tables aren't known; raises `InvalidError`."""
    if version not in REVISIONS:
        raise InvalidError("version of MLflow", version, f"one of {', '.join(REVISIONS)}")


def make(connection: sqlite3.Connection, version: str) -> None:
    """Make the tables of a version, with the rows that MLflow itself puts there."""
    for statement in statements(version):
        connection.execute(statement)
    connection.execute("INSERT INTO alembic_version VALUES (?)", (REVISIONS[version],))
    connection.execute(
        "INSERT INTO workspaces (name, description) VALUES ('default', 'Default workspace for legacy resources')"
    )


def statements(version: str) -> list[str]:
    """What makes a version's tables, indexes and triggers: those of the first, and what later ones have otherwise."""
    found: dict[str, str] = {}
    for each in list(REVISIONS)[: list(REVISIONS).index(version) + 1]:
        text = (_HOME / f"schema-{each}.sql").read_text()
        for part in text.split(";\n\n"):
            named = _NAME.search(part)
            if named:
                found[named[1]] = part[named.start() :].rstrip().removesuffix(";")
    return sorted(found.values(), key=lambda statement: not statement.startswith("CREATE TABLE"))
