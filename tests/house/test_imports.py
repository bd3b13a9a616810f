"""Importing Mainspring is cheap, and so is asking it for help."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.house.source import SRC, packages

MOST_MODULES = 150
HEAVY = set(
    "asyncio boto3 concurrent.futures duckdb fastapi httpx multiprocessing numpy obstore pandas polars psycopg pyarrow"
    " pydantic requests rich scipy sklearn skops sqlalchemy torch uvicorn".split()
)


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded after the code, beyond what it starts with."""
    told = "print('\\n' + json.dumps(sorted(set(sys.modules) - before)))"
    program = f"import sys, json; before = set(sys.modules)\n{code}\n{told}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_import_is_light() -> None:
    loaded = modules_after("import mainspring")
    assert len(loaded) <= MOST_MODULES
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("package", [name for name in packages() if not name.startswith("mainspring.testing")])
def test_no_room_pulls_in_a_heavy_module(package: str) -> None:
    assert modules_after(f"import {package}") & HEAVY == set()


def test_help_is_light() -> None:
    if (SRC / "__main__.py").exists():
        loaded = modules_after(
            "import runpy\nsys.argv = ['mainspring', '--help']\n"
            "try: runpy.run_module('mainspring', run_name='__main__')\nexcept SystemExit as done: assert not done.code"
        )
        assert loaded & HEAVY == set()
        assert len(loaded) <= 2 * len(modules_after("import click, msgspec, sqlite3"))  # 2 × 83 with Python 3.11
