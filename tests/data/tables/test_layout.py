"""Appends fold small parts, and the background merges them: few parts, rows rewritten a logarithmic number of times."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from mainspring.artifacts import table_digest
from mainspring.data import dataset
from mainspring.data.ingestion import ingest
from mainspring.data.tables.layout import COMPACT_ABOVE, first_folded, is_scattered, runs
from mainspring.data.tables.manifest import Part, read_listing
from mainspring.workspace import Workspace


def numbers(start: int, end: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(start, end), "text": [f"row {n}" for n in range(start, end)]})


@pytest.mark.parametrize("handles", ["one", "many"])
def test_small_appends_leave_few_parts_and_every_version(handles: str, workspace: Workspace) -> None:
    table = dataset("t")
    versions = [(table if handles == "one" else dataset("t")).append(numbers(n, n + 1), note=str(n)) for n in range(30)]
    assert max(version.parts for version in versions) <= 3
    for number in (0, 1, 8, 9, 29):
        frame = numbers(0, number + 1)
        assert versions[number].to_polars().equals(frame)
        assert versions[number].content_digest == table_digest(frame).digest


def test_upserts_and_lazy_rows_fold_too(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(numbers(0, 100))
    for n in range(12):
        table.upsert(pl.DataFrame({"n": [n], "text": ["changed"]}), key="n")
    assert table.latest().parts <= 3
    version = table.append(numbers(100, 120).lazy())
    assert version.parts <= 3
    expected = pl.concat([numbers(12, 100), numbers(0, 12).with_columns(text=pl.lit("changed")), numbers(100, 120)])
    assert version.to_polars().equals(expected)
    assert version.content_digest == table_digest(expected).digest


def test_a_folded_part_has_no_deletion_vector(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(numbers(0, 10))
    table.delete([1], key="n")
    table.upsert(pl.DataFrame({"n": [2, 30], "text": ["changed", "new"]}), key="n")
    parts = read_listing(workspace.blobs, table.latest().manifest).parts
    assert [(part.rows, part.dropped) for part in parts] == [(10, "")]
    assert table.to_polars()["n"].to_list() == [0, *range(3, 10), 2, 30]


def test_small_ingests_leave_few_parts(workspace: Workspace, tmp_path: Path) -> None:
    for n in range(12):
        (tmp_path / f"{n:02}.csv").write_text(f"n\n{n}\n")
        ingest(str(tmp_path / "*.csv"), to="t", workspace=workspace)
    version = dataset("t").latest()
    assert version.parts <= 2
    assert version.to_polars()["n"].to_list() == list(range(12))


def test_large_rows_are_not_rewritten_with_each_append() -> None:
    assert first_folded((Part("a", 1, 200_000),), 1, 100_000) == 1
    assert first_folded((Part("a", 1, 100_000),), 1, 100_000) == 0
    assert first_folded((Part("a", 40_000, 1_000),), 30_000, 1_000) == 1


@pytest.mark.parametrize("rows", [1, 37, 5_000, 300_000])
def test_however_many_appends_come_parts_are_few_and_rewriting_is_logarithmic(rows: int) -> None:
    """Parts of 20 bytes a row behind a footer of a kilobyte, as the commits and the background lay them out."""
    parts: tuple[Part, ...] = ()
    rewritten, appends = 0, 4_000
    for _ in range(appends):
        start = first_folded(parts, rows, rows * 20)
        parts = (*parts[:start], part_of(sum(part.rows for part in parts[start:]) + rows))
        rewritten += parts[-1].rows - rows
        if is_scattered(parts):
            for at, end in reversed(list(runs(parts, background=True))):
                merged = sum(part.rows for part in parts[at:end])
                rewritten += merged
                full = 1 << 22
                new = [part_of(min(full, merged - done)) for done in range(0, merged, full)]
                parts = (*parts[:at], *new, *parts[end:])
            assert not is_scattered(parts)
        small = [part for part in parts if part.size_bytes < 1 << 25]
        assert len(small) <= COMPACT_ABOVE
    assert sum(part.rows for part in parts) == rows * appends
    assert rewritten <= 8 * rows * appends * math.log(appends)


def part_of(rows: int) -> Part:
    return Part("blob", rows, 1_000 + rows * 20)
