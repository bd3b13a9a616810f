"""Profiles say what a table holds, once for each content."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.tables import profile
from mainspring.data.tables.profile import profile_version
from mainspring.errors import InvalidError
from mainspring.workspace import Workspace

pytestmark = pytest.mark.usefixtures("unfolded")


def test_columns_are_described_by_their_kind(workspace: Workspace) -> None:
    frame = pl.DataFrame(
        {
            "n": [1, 2, 3, None],
            "x": [1.0, float("nan"), -3.0, None],
            "s": ["b", "a", "b", None],
            "t": [True, False, True, None],
            "d": [date(2013, 1, 1), date(2013, 1, 3), None, None],
            "l": [[1], [], None, None],
            "c": pl.Series(["u", "u", None, "v"], dtype=pl.Categorical),
            "m": pl.Series(["1.50", "2.50", None, None]).cast(pl.Decimal(10, 2)),
            "none": [None] * 4,
        }
    )
    found = profile_version(dataset("t").commit(frame))
    n, x, s, t, d, nested, c, m, none = found.columns
    assert (found.rows, found.sampled_rows) == (4, 4)
    assert (n.type, n.nulls, n.distinct, n.min, n.max, n.mean, n.std) == ("i64", 1, 3, 1, 3, 2.0, 1.0)
    assert n.quantiles == (1.0, 2.0, 2.0, 3.0, 3.0)
    assert (x.nulls, x.nan, x.min, x.max, x.mean) == (1, 1, -3.0, 1.0, -1.0)
    assert (s.distinct, s.min, s.max, s.top) == (2, "a", "b", (("b", 2),))
    assert t.mean == pytest.approx(2 / 3)
    assert (t.min, t.max, t.top) == (False, True, ((True, 2),))
    assert (d.min, d.max, d.distinct, d.quantiles) == ("2013-01-01", "2013-01-03", 2, ())
    assert (nested.nulls, nested.distinct, nested.top) == (2, None, ())
    assert c.top == (("u", 2),)
    assert (m.min, m.max, m.mean) == ("1.50", "2.50", 2.0)
    assert (none.type, none.nulls) == ("null", 4)


@pytest.mark.one_backend("a profile is of the rows, wherever their parts lie")
@pytest.mark.parametrize(
    "frame",
    [pl.DataFrame(), pl.DataFrame(height=3), pl.DataFrame(schema={"a": pl.Int64, "b": pl.String, "c": pl.Float64})],
)
def test_without_rows_or_columns(frame: pl.DataFrame, workspace: Workspace) -> None:
    found = profile_version(dataset("t").commit(frame))
    assert found.rows == frame.height
    assert [(column.name, column.nulls, column.distinct or 0) for column in found.columns] == [
        (name, 0, 0) for name in frame.columns
    ]


def test_infinities_and_long_texts_can_be_kept(workspace: Workspace) -> None:
    version = dataset("t").commit(pl.DataFrame({"x": [float("inf"), -float("inf")], "s": ["é" * 500, "a\0"]}))
    first = profile_version(version)
    assert (first.columns[0].min, first.columns[0].max, first.columns[0].mean) == ("-inf", "inf", None)
    assert len(str(first.columns[1].max)) == 60
    assert profile_version(version) == first


def test_it_is_computed_once_for_a_content(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    compute = profile.compute_profile

    def counted(blobs: Any, version: Any) -> Any:
        calls.append(str(version))
        return compute(blobs, version)

    monkeypatch.setattr(profile, "compute_profile", counted)
    frame = pl.DataFrame({"a": range(10)})
    first = profile_version(dataset("t").commit(frame))
    assert profile_version(dataset("u").commit(frame)) == first
    assert profile_version(dataset("t").append(frame)).rows == 20
    assert calls == ["t/1", "t/2"]


def test_samples_are_taken_over_the_whole_table(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_SAMPLE_ROWS", 100)
    monkeypatch.setattr("mainspring.data.tables.parts.CHUNK_ROWS", 70)
    table = dataset("t")
    table.commit(pl.DataFrame({"a": range(600)}))
    version = table.append(pl.DataFrame({"a": range(600, 1000)}))
    found = profile_version(version)
    assert found.sampled_rows == 100
    assert found.columns[0].quantiles == (50.0, 250.0, 500.0, 740.0, 940.0)


def test_very_wide_tables_and_trees(workspace: Workspace, tmp_path: Any) -> None:
    found = profile_version(dataset("t").commit(pl.DataFrame({f"c{n}": [n] for n in range(1_100)})))
    assert [column.max for column in found.columns] == list(range(1_100))  # columns are described 500 at a time
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InvalidError, match="It is a tree"):
        profile_version(dataset("tree").add(tmp_path / "a.txt"))
