"""Both databases obey the one contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.testing.databases import DatabaseContract
from mainspring.testing.services import Postgres


class TestSqlite(DatabaseContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite://{tmp_path}/not/there/yet/state.db"


class TestPostgres(DatabaseContract):
    writers = 40  # each needs a connection of its own

    @pytest.fixture
    def url(self, postgres: Postgres) -> str:
        return postgres.url()
