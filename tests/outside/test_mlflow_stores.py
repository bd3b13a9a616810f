"""A store of MLflow's unmodified client comes back from a workspace with nothing different, for two of its minor versions."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mainspring.server.migration import export_mlflow, import_mlflow
from mainspring.server.migration.schema import REVISIONS, statements
from mainspring.testing.workspaces import lab_in
from tests.outside.environments import Environment, environment

SCRIPT = Path(__file__).parent / "mlflow_store_script.py"
STEPS = 10_000


@pytest.fixture(scope="module", params=["3.17", "3.16"])
def version(request: pytest.FixtureRequest) -> str:
    """A minor version of MLflow."""
    return str(request.param)


@pytest.fixture(scope="module")
def client(version: str) -> Environment:
    """The environment of that version."""
    return environment(f"mlflow-{version}")


@pytest.fixture(scope="module")
def store(client: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the client made."""
    folder = tmp_path_factory.mktemp("theirs")
    client.run("python", "-W", "ignore", str(SCRIPT), "make", cwd=folder)
    return folder


def read(client: Environment, folder: Path) -> dict[str, Any]:
    """Everything that the client reads from a store."""
    printed = client.run("python", "-W", "ignore", str(SCRIPT), "read", str(folder), cwd=folder.parent)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


@pytest.mark.timeout(1_200)
def test_a_store_comes_back_with_an_empty_diff(client: Environment, store: Path, version: str, tmp_path: Path) -> None:
    with lab_in(tmp_path / "ours", f"sqlite:///{tmp_path}/db.sqlite", f"file://{tmp_path}/blobs") as lab:
        done = import_mlflow(f"sqlite:///{store}/mlflow.db", workspace=lab.workspace)
        assert (done.notes, done.left_out, done.renumbered) == ([], {}, {})
        assert done.points > STEPS
        seq = lab.workspace.ledger.last_seq()
        assert import_mlflow(str(store), workspace=lab.workspace).runs.same == done.runs.new
        assert lab.workspace.ledger.last_seq() == seq
        export_mlflow(tmp_path / "back", version=version, workspace=lab.workspace)
    wanted, found = read(client, store), read(client, tmp_path / "back")
    assert found.keys() == wanted.keys()
    assert {name: (told, found[name]) for name, told in wanted.items() if found[name] != told} == {}


def test_the_tables_are_those_of_the_client(store: Path, version: str) -> None:
    connection = sqlite3.connect(store / "mlflow.db")
    theirs = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    [(revision,)] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    connection.close()
    assert revision == REVISIONS[version]
    assert sorted(map(_clauses, statements(version))) == sorted(map(_clauses, theirs))


def _clauses(sql: str) -> list[str]:
    """The words of a statement without their order: that of a table's constraints is another each time MLflow makes one."""
    return sorted(sql.replace(",", " ").split())
