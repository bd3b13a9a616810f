"""`mainspring data ingest` and `sources`, as they are typed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import cli
from mainspring.data.ingestion import Progress, ingest
from mainspring.workspace import Workspace
from tests.cli.conftest import call, mainspring


def test_files_are_ingested_once_and_listed(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "jan.csv").write_text("day,delay\n2013-01-01,5\n")
    first = mainspring("data", "ingest", "raw/*.csv", "--to", "flights", "--type", "day=date", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("flights/1  1 row read, 23 B; holds 1 row")
    again = call("data", "ingest", "raw/*.csv", "--to", "flights", "--type", "day=date", "--json", cwd=tmp_path)
    assert (json.loads(again.stdout)["rows"], json.loads(again.stdout)["dataset"]["number"]) == (0, 1)
    assert "files raw  " in call("data", "sources", "flights", cwd=tmp_path).stdout
    anew = call("data", "ingest", "raw", "--to", "flights", "--from-the-beginning", cwd=tmp_path)
    assert anew.stdout.startswith("flights/2  1 row read")


def test_what_should_be_looked_at_is_said(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        with chdir(tmp_path):
            return CliRunner().invoke(cli, ["data", *words], prog_name="mainspring", catch_exceptions=False).stdout

    (tmp_path / "jan.csv").write_text("day,delay\n")
    assert run("ingest", "*.csv", "--to", "flights").startswith("flights/1  no rows read, 10 B; holds 0 rows")
    assert run("ingest", "*.csv", "--to", "flights").startswith("flights/1  nothing new")
    for name in ("feb", "mar"):
        (tmp_path / f"{name}.csv").write_text("day,delay\n2013-02-01,5\n")
    said = run("ingest", "*.csv", "--to", "flights").splitlines()
    assert said[1].startswith("day: null became str")
    assert said[-1].startswith("warning: ")
    assert "holds the same bytes as `feb.csv`" in said[-1]
    run("ingest", "feb.csv", "--to", "other")
    listed = [line.split()[0] for line in run("sources").splitlines()]
    assert listed == ["dataset", "flights", "other"]


def test_what_an_interrupted_ingest_has_read_is_listed(tmp_path: Path) -> None:
    def stop(told: Progress) -> None:
        if told.rows > 1:
            raise KeyboardInterrupt

    def run(*words: str) -> str:
        with chdir(tmp_path):
            return CliRunner().invoke(cli, ["data", *words], prog_name="mainspring", catch_exceptions=False).stdout

    (tmp_path / "raw").mkdir()
    for number in range(3):
        (tmp_path / "raw" / f"{number}.csv").write_text(f"delay\n{number}\n")
    with chdir(tmp_path), Workspace.open(tmp_path) as workspace, pytest.raises(KeyboardInterrupt):
        ingest("raw/*.csv", to="flights", workspace=workspace, progress=stop)
    assert run("sources", "flights").splitlines()[1].endswith("2 rows, not committed")
    (told,) = json.loads(run("sources", "--json"))["uncommitted"]
    assert (told["dataset"], told["source"], told["rows"]) == ("flights", "files raw", 2)
    assert "2 rows of them stood ready" in run("ingest", "raw/*.csv", "--to", "flights")
    assert run("sources", "flights").splitlines()[1].endswith("3 files")


def test_a_table_is_upserted_by_its_key(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "app.db") as app:
        app.execute("CREATE TABLE flight (id INTEGER, delay REAL)")
        app.execute("INSERT INTO flight VALUES (1, 5.5)")
    app.close()
    words = ["data", "ingest", "app.db", "--to", "flights", "--table", "flight", "--key", "id"]
    assert call(*words, cwd=tmp_path).stdout.startswith("flights/1")
    assert "flights/1  1 row read" in call(*words, cwd=tmp_path).stdout


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "jan.csv").write_text("day,delay\n2013-01-01\n")
    ragged = call("data", "ingest", "jan.csv", "--to", "flights", cwd=tmp_path)
    assert (ragged.exit_code, ragged.stderr.count("\n")) == (1, 1)
    assert "jan.csv, line 2: `2013-01-01` is not a line of 2 fields" in ragged.stderr
    assert call("data", "ingest", "jan.csv", "--to", "flights", "--pad", cwd=tmp_path).exit_code == 0
    wrong = call("data", "ingest", "jan.csv", "--to", "flights", "--type", "delay", cwd=tmp_path)
    assert (wrong.exit_code, "is not COLUMN=TYPE" in wrong.stderr) == (2, True)


def test_errors_name_options_where_python_takes_arguments(tmp_path: Path) -> None:
    def ingest(*words: str) -> Result:
        with chdir(tmp_path):
            return CliRunner().invoke(cli, ["data", "ingest", "raw.csv", "--to", "t", *words], prog_name="mainspring")

    raw = tmp_path / "raw.csv"
    raw.write_text("a,b\n1,2\n3\n")
    assert " `--pad` fills short lines" in ingest().stderr
    raw.write_text("a;b\n1;2,5\n")
    assert "more fields with `--separator ';'`" in ingest().stderr
    raw.write_bytes("a,b\n1,é\n".encode("cp1252"))
    assert "e.g. `--encoding cp1252` (Western" in ingest().stderr
    raw.write_text('a,b\n1,"NA\n')
    assert "`--quote ''` takes quotes for plain text" in ingest().stderr
    assert "`--null '…'` names texts that mean null" in ingest("--quote", "", "--type", "b=i64").stderr
    assert ingest("--quote", "", "--type", "b=i64", "--null", '"NA').exit_code == 0
    raw.rename(tmp_path / "raw.dat")
    with chdir(tmp_path):
        said = CliRunner().invoke(cli, ["data", "ingest", "raw.dat", "--to", "t"]).stderr
    assert "Say `--format '…'`" in said
    (tmp_path / "raw.dat").unlink()
    raw.write_text("a,b\n1,2\n")
    assert ingest("--changed", "again").exit_code == 0
    raw.write_text("a,b\n3,x\n")
    said = ingest().stderr
    assert "`--mode upsert` with a key takes what changed, `--changed again` appends all of it once more" in said
    raw.write_text("a,b\n3,4\n")
    assert "t/3" in ingest("--changed", "again").stdout


def test_a_schema_stops_a_month_or_sets_its_rows_apart(tmp_path: Path) -> None:
    (tmp_path / "jan.csv").write_text("day,delay\n2013-01-01,5\n2013-01-02,99999\n")
    schema = tmp_path / "flights.schema.toml"
    schema.write_text('[columns.delay]\nbetween = { low = -120, high = 1440, severity = "quarantine" }\n')
    words = ["data", "ingest", "jan.csv", "--to", "flights", "--schema", schema.name]
    stopped = call(*words, cwd=tmp_path)
    assert (stopped.exit_code, "Name a dataset for them" in stopped.stderr) == (1, True)
    done = call(*words, "--quarantine", "apart", cwd=tmp_path)
    assert done.stdout.startswith("flights/1  2 rows read"), done.stderr
    assert "quar  delay between -120 and 1440: 1 row fails (50 %)" in done.stdout
    assert "apart/1" in call("data", "show", "apart", cwd=tmp_path).stdout


def test_hints_are_options(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "app.db") as app:
        app.execute("CREATE TABLE flight (id INTEGER, day INTEGER)")
        app.execute("INSERT INTO flight VALUES (1, 1)")
    app.close()

    def run(*words: str) -> Result:
        with chdir(tmp_path):
            return CliRunner().invoke(
                cli, ["data", "ingest", "app.db", "--to", "flights", *words], prog_name="mainspring"
            )

    assert "Give a table, `--table '…'`, or else a query, `--query '…'`." in run().stderr
    assert run("--table", "flight", "--cursor", "id").exit_code == 0
    other = run("--table", "flight", "--cursor", "day").stderr
    assert ["`--mode replace`" in other, "`--from-the-beginning`" in other, "forget_cursor" in other] == [
        True,
        True,
        False,
    ]
    apart = run("--table", "flight", "--quarantine", "apart")
    assert (apart.exit_code, "--quarantine needs --schema" in apart.stderr) == (2, True)


def test_a_column_that_came_is_declared_by_an_option_that_is_named_once(tmp_path: Path) -> None:
    for name, lines in (("jan.csv", "a\n1\n"), ("feb.csv", "a,gate\n2,A7\n")):
        (tmp_path / name).write_text(lines)
    call("data", "ingest", "jan.csv", "--to", "t", cwd=tmp_path)
    refused = call("data", "ingest", "feb.csv", "--to", "t", cwd=tmp_path)
    assert refused.stderr.rstrip().endswith("declare it, and it is null before: `--type gate=str`.")
