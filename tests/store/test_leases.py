"""Leases hold on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.testing.leases import LeaseContract
from mainspring.testing.services import Postgres


class TestSqlite(LeaseContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite://{tmp_path}/state.db"


class TestPostgres(LeaseContract):
    @pytest.fixture
    def url(self, postgres: Postgres) -> str:
        return postgres.url()
