"""`mainspring data export`, `import` and `copy`, as they are typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
from deltalake import write_deltalake

from tests.cli.conftest import call


def test_parquet_goes_in_and_out(tmp_path: Path) -> None:
    pl.DataFrame({"day": [1, 1, 2], "delay": [5.0, None, 1.0], "id": [1, 2, 3]}).write_parquet(tmp_path / "raw.parquet")
    done = call("data", "import", "raw.parquet", "--to", "flights", "--note", "raw", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("flights/1 holds 3 rows\n", "")
    done = call("data", "export", "flights@1", "out.parquet", cwd=tmp_path)
    assert done.stdout.startswith(f"flights/1 is {tmp_path.resolve()}/out.parquet (parquet): 3 rows in 1 file, ")
    again = call("data", "export", "flights", "out.parquet", cwd=tmp_path)
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
    assert "--force" in again.stderr
    for place in ("", "flights.csv", "flights.TSV"):
        refused = call("data", "export", "flights", place, cwd=tmp_path)
        assert (refused.exit_code, "folder for a Delta table" in refused.stderr) == (1, True)
    assert "(parquet)" in call("data", "export", "flights", "out.PQ", cwd=tmp_path).stdout
    words = ["data", "export", "flights", "days", "--partition-by", "day", "--force", "--json"]
    assert json.loads(call(*words, cwd=tmp_path).stdout)["exported"]["files"] == 2
    words[5] = "day,delay"
    assert json.loads(call(*words, cwd=tmp_path).stdout)["exported"]["files"] == 3


def test_a_delta_table_is_imported_pinned_and_exported(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "lake"), pl.DataFrame({"n": [1]}))
    write_deltalake(str(tmp_path / "lake"), pl.DataFrame({"n": [2]}), mode="append")
    pinned = call("data", "import", "lake", "--to", "outside", "--pin", "--delta-version", "0", cwd=tmp_path)
    assert pinned.stdout == f"outside/1 holds 1 row, pinned to {(tmp_path / 'lake').resolve().as_uri()}@v0\n"
    assert call("data", "import", "lake", "--to", "n", cwd=tmp_path).stdout == "n/1 holds 2 rows\n"
    assert "(delta): 2 rows in 1 file" in call("data", "export", "n", "made", cwd=tmp_path).stdout
    added = call("data", "export", "n", "made", "--append", cwd=tmp_path).stdout
    assert re.fullmatch(
        r"n/1 was added to \S+made \(delta\): 2 rows in 1 file, \d+ B; the table has 4 rows now\n", added
    )
    assert call("data", "import", "made", "--to", "n", cwd=tmp_path).stdout == "n/2 holds 4 rows\n"


def test_a_version_is_copied_to_another_project_or_profile(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (there / "mainspring.toml").touch()
    (here / "mainspring.toml").write_text(
        f'[profiles.production]\ndatabase = "sqlite://{tmp_path}/p/state.db"\nblobs = "file://{tmp_path}/p/blobs"\n'
    )
    (here / "cards").mkdir()
    (here / "cards" / "a.txt").write_text("ace")
    assert call("data", "add", "cards", "--no-pointer", cwd=here).exit_code == 0
    for target in ("../there", "production", "production"):
        done = call("data", "copy", "cards", "--to", target, "--name", "dealt", cwd=here)
        assert done.stdout == f"cards/1 is dealt/1 in {target}, 1 file\n", done.stderr
    assert call("data", "open", "dealt", "a.txt", cwd=there).stdout == "ace"
    wrong = call("data", "copy", "cards", "--to", "producton", cwd=here)
    assert (wrong.exit_code, "Nearest: production" in wrong.stderr) == (1, True)


def test_options_of_another_format_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "raw.parquet")
    for words in (["--pin"], ["--out", "x"], ["--format", "dvc", "--append"]):
        done = call("data", "import", "raw.parquet", "--to", "n", *words, cwd=tmp_path)
        assert (done.exit_code, "`--" in done.stderr) == (2, True)
