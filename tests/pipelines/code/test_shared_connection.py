"""What a notebook keeps in DuckDB's default connection: no result that may come of it is reused.."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from mainspring.pipelines.code.fingerprint import compare
from mainspring.pipelines.code.shared_connection import shared_connection
from mainspring.pipelines.launch import run_pipeline
from mainspring.testing.workspaces import Lab, states
from tests.pipelines.code.test_fingerprint_live import cell, of
from tests.pipelines.projects import Sources

NUMBERS = pd.DataFrame({"a": [1]})
HELD: dict[str, tuple[str, Callable[[], Any]]] = {
    "a table": ("tables", lambda: duckdb.sql("create table t as select 1 a")),
    "a temporary table": ("tables", lambda: duckdb.sql("create temp table t as select 1 a")),
    "a view": ("views", lambda: duckdb.sql("create view v as select 1 a")),
    "a frame": ("views", lambda: duckdb.register("frame", NUMBERS)),
    "a macro": ("macros and functions", lambda: duckdb.sql("create macro m(x) as x + 1")),
    "a function": ("functions", lambda: duckdb.create_function("f", lambda x: x, ["BIGINT"], "BIGINT")),
    "a type": ("types", lambda: duckdb.sql("create type mood as enum ('good')")),
    "a sequence": ("sequences", lambda: duckdb.sql("create sequence s")),
    "a variable": ("variables", lambda: duckdb.sql("set variable v = 1")),
    "a database": ("databases", lambda: duckdb.sql("attach ':memory:' as other")),
}


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    duckdb.close()
    yield
    duckdb.close()


@pytest.fixture
def project(tmp_path: Path) -> Sources:
    return Sources(tmp_path, other="")


def go(text: str = "duckdb.sql('select 1 a').df()") -> Any:
    return cell(f"import duckdb\ndef go(): return {text}\n")["go"]


def note(kinds: str) -> str:
    return f"not reusable: DuckDB's default connection holds {kinds}, which can't be recorded"


@pytest.mark.parametrize("name", HELD)
def test_a_step_is_not_reusable_while_the_default_connection_holds_something(name: str, project: Sources) -> None:
    kinds, make = HELD[name]
    first = of(project, go())
    assert first.reusable
    make()
    assert note(kinds) in of(project, go()).unresolved
    assert of(project, cell("def go(): return 1\n")["go"]).reusable
    duckdb.close()
    assert of(project, go()) == first


def test_the_default_connection_may_be_a_file(tmp_path: Path, project: Sources) -> None:
    duckdb.set_default_connection(duckdb.connect(tmp_path / "some.db"))
    assert note("files") in of(project, go()).unresolved
    duckdb.execute("select 1").fetchall()  # it is still open


def test_queries_over_frames_and_files_leave_nothing(tmp_path: Path, project: Sources) -> None:
    file = tmp_path / "a.parquet"
    NUMBERS.to_parquet(file)
    first = of(project, go())
    duckdb.execute("select * from NUMBERS").df()
    duckdb.from_df(NUMBERS).filter("a > 0").df()
    duckdb.execute(f"select * from '{file}'").fetchall()
    assert of(project, go()) == first


def test_a_setting_of_the_default_connection_is_in_the_key_and_one_of_the_machine_is_not(project: Sources) -> None:
    first = of(project, go())
    duckdb.sql("set memory_limit = '1GB'")
    assert of(project, go()) == first
    duckdb.sql("set default_null_order = 'nulls_first'")
    second = of(project, go())
    assert second.reusable
    assert "setting duckdb.default_null_order was set" in compare(first, second)
    duckdb.sql("reset default_null_order")
    assert of(project, go()) == first


def test_looking_neither_makes_nor_ends_anything() -> None:
    assert shared_connection({"duckdb"}) == ({}, [])
    mine = duckdb.connect()
    duckdb.set_default_connection(mine)
    assert shared_connection({"duckdb"}) == ({}, [])
    assert mine.sql("select 1").fetchall() == [(1,)]  # chosen, and not used before
    duckdb.execute("select * from range(5000)")
    assert "has a result of `execute`" in str(shared_connection({"duckdb"}))
    assert len(duckdb.fetchall()) == 5000


def test_a_query_that_mainspring_runs_has_a_connection_of_its_own(project: Sources) -> None:
    duckdb.sql("create table t as select 1 a")
    step = cell("import mainspring as ms\nfrom mainspring import sql\ndef go(x): return sql('from x', x=x), ms.sql\n")[
        "go"
    ]
    assert of(project, step).reusable


def test_a_step_of_a_notebook_sees_each_row_that_a_cell_adds(lab: Lab) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    source = (
        "import duckdb, mainspring as ms\n@ms.step\ndef total(): return duckdb.sql('select sum(a) from t').fetchall()[0][0]\n"
        "@ms.pipeline\ndef main(): return total()\n"
    )
    exec(compile(source, "<cell>", "exec"), names)

    def run() -> tuple[Any, str]:
        found = run_pipeline(names["main"], workspace=lab.workspace)
        return found.value, states(found)["total"]

    duckdb.sql("create table t as select 1 a")
    assert run() == (1, "succeeded")
    duckdb.sql("insert into t values (5)")
    assert run() == (6, "succeeded")
