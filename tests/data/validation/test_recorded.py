"""What is told of a version, its sources and its report, stays as it was when the version was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data import DatasetVersion, check, dataset, find_report
from mainspring.data.ingestion import ingest, list_cursors
from mainspring.ledger import within_task
from mainspring.workspace import Workspace, using

SMALL = [check.between("v", 0, 99, severity="quarantine")]
ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 500])), max_size=3, unique_by=lambda row: row[0])


def table(rows: list[tuple[int, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"k": pl.Int64, "v": pl.Int64}, orient="row")


def sources(version: DatasetVersion, workspace: Workspace) -> set[str]:
    """The last parts of the addresses that the lineage says a version was read from."""
    found = [edge.dst for edge in workspace.ledger.edges([version.id]) if edge.role == "read_from"]
    return {node.label.rpartition("/")[2] for node in workspace.ledger.nodes(found).values()}


class Model:
    """A dataset as plain lists: of each version its rows, sources and the number of rows that its report is about."""

    def __init__(self) -> None:
        self.versions: list[tuple[list[tuple[int, int]], set[str], int | None]] = []
        self.apart: list[tuple[str, int]] = []

    @property
    def taken(self) -> set[int]:
        return {key for key, _ in self.versions[-1][0]} if self.versions else set()

    def commit(self, mode: str, rows: list[tuple[int, int]], source: str, checked: bool) -> None:
        good = [row for row in rows if row[1] < 100 or not checked]
        before = self.versions[-1][0] if self.versions else None
        after = good
        if before is not None and mode == "append":
            after = before + good
        elif before is not None and mode == "upsert":
            new = [row for row in good if row not in before]
            replaced = {row[0] for row in new}
            after = [row for row in before if row[0] not in replaced] + new
        report = len(rows) if checked else None
        if after != before:
            self.versions.append((after, {source}, report))
        elif mode == "replace":
            told = report if checked else self.versions[-1][2]
            self.versions[-1] = (after, self.versions[-1][1] | {source}, told)
        if len(good) < len(rows):
            self.apart.append((source, len(rows)))


def _reported(version: DatasetVersion) -> int | None:
    report = find_report(version)
    return None if report is None else report.rows


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["append", "replace", "upsert"]), ROWS, st.booleans()), max_size=6))
def test_only_all_of_a_version_committed_again_tells_more_of_it(
    steps: list[tuple[str, list[tuple[int, int]], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = Model()
    with Workspace.open(tmp_path_factory.mktemp("w")) as workspace, using(workspace):
        for at, (mode, rows, checked) in enumerate(steps):
            if mode == "append":  # a later upsert needs each key once
                rows = [row for row in rows if row[0] not in model.taken]
            given: dict[str, Any] = {"source": f"https://example.org/{at}"}
            given |= {"checks": SMALL, "quarantine": "apart"} if checked else {}
            if mode == "upsert":
                dataset("t").upsert(table(rows), key="k", **given)
            else:
                dataset("t").commit(table(rows), mode=mode, **given)  # type: ignore[arg-type]  # drawn from its values
            model.commit(mode, rows, str(at), checked)
            found = [(each.to_polars().rows(), sources(each, workspace), _reported(each)) for each in versions("t")]
            assert found == model.versions
            apart = versions("apart")
            assert [(next(iter(sources(each, workspace))), _reported(each)) for each in apart] == model.apart


def versions(name: str) -> list[DatasetVersion]:
    return dataset(name).versions()[::-1]


@settings(max_examples=15, deadline=None)
@given(files=st.lists(ROWS.filter(bool), min_size=1, max_size=5), twice=st.booleans())
def test_a_file_whose_rows_are_all_set_apart_is_read_once_and_told_of_no_version(
    files: list[list[tuple[int, int]]], twice: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = tmp_path_factory.mktemp("raw")
    expected: list[tuple[set[str], int | None]] = []
    rejected: list[tuple[set[str], int | None]] = []
    with Workspace.open(tmp_path_factory.mktemp("w")) as workspace, using(workspace):
        for at, rows in enumerate(files):
            table(rows).write_csv(raw / f"{at}.csv")
            given: Any = {"to": "t", "checks": SMALL, "quarantine": "apart"}
            done = ingest(str(raw / "*.csv"), **given)
            assert done.rows == len(rows)
            assert not twice or ingest(str(raw / "*.csv"), **given).rows == 0
            bad = sum(v > 99 for _, v in rows)
            if bad < len(rows) or not expected:
                expected.append(({f"{at}.csv"}, len(rows)))
            if bad:
                rejected.append(({f"{at}.csv"}, len(rows)))
            assert [(sources(each, workspace), _reported(each)) for each in versions("t")] == expected
            assert [(sources(each, workspace), _reported(each)) for each in versions("apart")] == rejected
            newest = [each for each in versions("t") if sources(each, workspace) == {f"{at}.csv"}]
            (cursor,) = list_cursors("t")
            assert (cursor.version == dataset("t").latest().id, len(cursor.state["files"])) == (True, at + 1)
            assert bool(newest) == (bad < len(rows) or at == 0)


def test_who_read_a_version_before_has_the_lineage_that_it_had(workspace: Workspace, tmp_path: Path) -> None:
    with within_task("jan"):
        first = dataset("m").append(table([(1, 10)]), source="https://example.org/jan", checks=SMALL, quarantine="mq")
    with within_task("run"):
        dataset("m").latest()
    before, report = workspace.ledger.walk("run"), find_report(first)
    with within_task("feb"):
        same = dataset("m").append(table([(2, 999)]), source="https://example.org/feb", checks=SMALL, quarantine="mq")
        assert same.id == first.id
        dataset("m").upsert(table([(1, 10)]), key="k", source="https://example.org/same", checks=SMALL)
    assert workspace.ledger.walk("run") == before
    assert msgspec.json.encode(find_report(first), enc_hook=str) == msgspec.json.encode(report, enc_hook=str)
    found = find_report(dataset("mq").latest())
    assert found is not None
    assert (found.verdict, found.subject) == ("quarantined", "m")
    assert sources(dataset("mq").latest(), workspace) == {"feb"}
    with within_task("feb"):
        made = dataset("model").commit(table([(7, 7)]))
    up = {edge.dst for edge in workspace.ledger.walk(made.id)}
    down = {edge.src for edge in workspace.ledger.walk("feb", "down")}
    assert (first.id in up, first.id in down, workspace.ledger.path(first.id, "feb")) == (False, False, None)
    assert ("confirmed_by", "feb") in [(edge.role, edge.dst) for edge in workspace.ledger.edges([first.id])]


def test_files_of_a_tree_that_are_there_already_tell_nothing_of_it(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("x")
    first = dataset("t").add(tmp_path / "a")
    assert dataset("t").add(tmp_path / "b", mode="update").id == first.id
    assert sources(first, workspace) == {"a"}
    assert dataset("t").add(tmp_path / "b").id == first.id
    assert sources(first, workspace) == {"a", "b"}
