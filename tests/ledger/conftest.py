"""A ledger on each pair of backends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mainspring.ledger import Ledger
from mainspring.store import open_database


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    database = open_database(database_url)
    yield Ledger(database)
    database.close()
