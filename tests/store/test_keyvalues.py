"""Both online stores obey the one contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.testing.keyvalues import KeyValueContract
from mainspring.testing.services import Redis


class TestLmdb(KeyValueContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"lmdb://{tmp_path}/not/there/yet"


class TestRedis(KeyValueContract):
    @pytest.fixture
    def url(self, redis: Redis) -> str:
        return redis.url()
