"""Outside clients are spoken to by `make test-outside` alone: it may use the network, to install them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.outside.environments import Environment, environment

collect_ignore_glob = ["*_script.py"] + ([] if "MAINSPRING_TEST_OUTSIDE" in os.environ else ["test_*.py"])


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest) -> Environment:
    """The environment of the client that a suite is named after: `test_dvc.py` speaks to what `dvc.txt` pins."""
    return environment(Path(str(request.path)).stem.removeprefix("test_"))
