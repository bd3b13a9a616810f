"""`mainspring data list`, `log`, `show` as of a time or a version."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import DatasetVersion, dataset
from mainspring.workspace import Workspace, using
from tests.cli import conftest

Versions = list[DatasetVersion]

said = partial(conftest.called, "data")
document = partial(conftest.document, "data")


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    (tmp_path / "mainspring.toml").write_text('name = "delays"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        delays = dataset("delays")
        made = [delays.append(pl.DataFrame({"n": [n]})) for n in range(3)]
        delays.tag(1, "first")
        dataset("later").commit(pl.DataFrame({"n": [1]}))
    return made


def test_versions_are_listed_as_of_a_time_or_a_version(versions: Versions, tmp_path: Path) -> None:
    at = clock.from_us(versions[1].created_at).isoformat()
    named = [
        ("delays", "--as-of", at), ("delays", "--as-of", "2"), (f"delays@{at}",), ("delays/2",),
        ("delays@2", "--as-of", "v3"), ("delays/latest", "--as-of", "delays/2"),
    ]  # fmt: skip
    for words in named:
        found = document("log", *words, cwd=tmp_path)
        assert (found["dataset"], [each["number"] for each in found["versions"]]) == ("delays", [2, 1]), words
        assert [each["number"] for each in document("list", *words, cwd=tmp_path)["datasets"]] == [2, 1], words
        is_of_a_time = at in "".join(words)
        assert found["versions"][1]["tags"] == ([] if is_of_a_time else ["first"])
    assert [each["dataset"] for each in document("list", "--as-of", at, cwd=tmp_path)["datasets"]] == ["delays"]
    for ref in ("2", "t/1"):
        assert f"as_of: `{ref}` is not a time" in said("list", "--as-of", ref, cwd=tmp_path, status=1)
    assert "No version `delays/2020`" in said("log", "delays@2020", cwd=tmp_path, status=1)


@pytest.mark.usefixtures("versions")
def test_a_tag_that_moves_says_from_where(tmp_path: Path) -> None:
    assert document("tag", "delays/2", "best", cwd=tmp_path)["moved_from"] is None
    assert said("tag", "delays/2", "best", cwd=tmp_path).strip() == "delays/best is delays/2"
    assert said("tag", "delays/3", "best", cwd=tmp_path).strip() == "delays/best is delays/3, moved from delays/2"
    assert document("tag", "delays/2", "best", cwd=tmp_path)["moved_from"] == "delays/3"


def test_a_version_is_shown_as_of_another(versions: Versions, tmp_path: Path) -> None:
    before = clock.from_us(versions[0].created_at - 1)
    assert document("show", "delays", "--as-of", "2", cwd=tmp_path)["dataset"]["number"] == 2
    assert document("show", "delays/first", "--as-of", "2", cwd=tmp_path)["dataset"]["tags"] == ["first"]
    assert "As of 2 the newest is delays/2" in said("show", "delays/3", "--as-of", "2", cwd=tmp_path, status=1)
    for at in (before, before - timedelta(days=1)):
        words = ("show", "delays", "--as-of", at.isoformat())
        assert "There was none yet" in said(*words, cwd=tmp_path, status=1)
