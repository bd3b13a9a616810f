"""`mainspring data check` and `propose`, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from mainspring.data import check, dataset
from mainspring.workspace import Workspace, using
from tests.cli.conftest import call, called

FLIGHTS = pl.DataFrame({"id": range(40), "carrier": ["UA", "AA"] * 20})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mainspring.toml").write_text("")
    with Workspace.open(tmp_path) as workspace, using(workspace):
        flights = dataset("flights")
        flights.commit(FLIGHTS)
        checks = [check.is_in("carrier", ["UA", "AA"], severity="warn"), check.not_null("id")]
        flights.commit(FLIGHTS.with_columns(carrier=pl.lit("??")), checks=checks)
        Image.new("L", (8, 8)).save(tmp_path / "a.png")
        dataset("cards").add(tmp_path / "a.png")
    return tmp_path


def test_what_is_proposed_is_what_is_checked(folder: Path) -> None:
    proposed = call("data", "propose", "flights/1", cwd=folder)
    (folder / "flights.schema.toml").write_text(proposed.stdout)
    first = call("data", "check", "flights/1", cwd=folder)
    assert (first.exit_code, first.stdout.splitlines()[0]) == (0, "flights/1: 7 of 7 checks passed on 40 rows")
    second = call("data", "check", "flights", "--html", "out.html", cwd=folder)
    assert second.exit_code == 1
    assert "  STOP  carrier in [AA, UA]: 40 rows fail (100 %)" in second.stdout.splitlines()
    assert second.stderr == ""
    page = (folder / "out.html").read_text()
    assert "carrier in [AA, UA]" in page
    assert "http" not in page


def test_json_is_one_document(folder: Path) -> None:
    schema = json.loads(call("data", "propose", "flights", "--json", cwd=folder).stdout)["schema"]
    assert [column["name"] for column in schema["columns"]] == ["id", "carrier"]
    (folder / "s.toml").write_text("[columns.nothing]\n")
    done = call("data", "check", "flights", "--schema", "s.toml", "--json", cwd=folder)
    assert done.exit_code == 1
    report = json.loads(done.stdout)["report"]
    assert (report["verdict"], report["results"][0]["message"]) == ("stopped", "there is no column `nothing`")


def test_errors_are_one_line(folder: Path) -> None:
    missing = call("data", "check", "flights", cwd=folder)
    assert missing.exit_code == 1
    assert "flights.schema.toml" in missing.stderr
    assert "mainspring data propose" in missing.stderr
    (folder / "flights.schema.toml").write_text("[columns.id]\nbetwen = [1, 2]\n")
    wrong = call("data", "check", "flights", cwd=folder)
    assert (
        "flights.schema.toml [columns.id]: `betwen` is not a key that is known here. Nearest: between" in wrong.stderr
    )


def test_a_tree_is_looked_at_for_images(folder: Path) -> None:
    done = call("data", "check", "cards", cwd=folder)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "cards/1: 2 of 2 checks passed on 1 row")


def test_a_version_shows_what_its_checks_found(folder: Path) -> None:
    shown = call("data", "show", "flights", cwd=folder).stdout
    assert "warned: 1 of 2 checks passed" in shown
    assert "carrier in [UA, AA]: 40 rows fail (100 %)" in shown
    assert "checks" not in call("data", "show", "flights/1", cwd=folder).stdout


def test_a_page_or_sheet_that_can_not_be_written_is_told(folder: Path) -> None:
    schema = called("data", "propose", "flights/1", cwd=folder)
    (folder / "flights.schema.toml").write_text(schema)
    for words in (("check", "flights/1", "--html", "no/out"), ("show", "cards", "--sheet", "no/out")):
        assert "no/out: it can't be written" in called("data", *words, cwd=folder, status=1)
    called("data", "show", "cards", "--sheet", "sheet.png", cwd=folder)
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")
