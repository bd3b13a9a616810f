"""Differences of tables: what a comparison in plain Python counts, from as few rows as need be read."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data import DatasetVersion, dataset
from mainspring.data.differences import SchemaChange, TableDiff
from mainspring.data.tables import diff
from mainspring.errors import InvalidError
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.usefixtures("unfolded")


def committed(frame: pl.DataFrame, name: str = "t") -> DatasetVersion:
    return dataset(name).commit(frame)


def table_diff(old: DatasetVersion, new: DatasetVersion, key: Any = None) -> TableDiff:
    found = old.diff(new, key)
    assert isinstance(found, TableDiff)
    return found


def test_rows_by_key(workspace: Workspace) -> None:
    old = committed(
        pl.DataFrame({"id": [1, 2, 3, 4], "v": ["a", "b", None, "d"], "w": [1.0, float("nan"), -0.0, None]})
    )
    new = committed(pl.DataFrame({"id": [5, 4, 3, 2], "v": ["e", "D", "c", "b"], "w": [5.0, None, 0.0, float("nan")]}))
    found = table_diff(old, new, "id")
    assert (found.added, found.removed, found.changed, found.unchanged) == (1, 1, 2, 1)
    assert [(column.name, column.rows, column.examples) for column in found.columns] == [
        ("v", 2, (("3", "null", "c"), ("4", "d", "D")))
    ]
    assert found.added_examples == ({"id": "5", "v": "e", "w": "5.0"},)
    assert found.removed_examples == ({"id": "1", "v": "a", "w": "1.0"},)
    assert not found.is_empty
    assert table_diff(old, old, "id").is_empty


def test_a_key_that_comes_twice_in_what_both_have_is_refused(workspace: Workspace) -> None:
    table = dataset("t")
    old = table.commit(pl.DataFrame({"k": [1, 1], "v": [1, 2]}))
    new = table.append(pl.DataFrame({"k": [2], "v": [3]}))
    with pytest.raises(InvalidError, match="`1` is not a key of one row in the old version"):
        old.diff(new, "k")
    first = dataset("u").commit(pl.DataFrame({"k": [1], "v": [1]}))
    second = dataset("u").append(pl.DataFrame({"k": [1], "v": [2]}))
    with pytest.raises(InvalidError, match="in the new version"):
        first.diff(second, "k")


def test_whole_rows_as_often_as_they_are_there(workspace: Workspace) -> None:
    old = committed(pl.DataFrame({"v": ["a", "a", "b", None]}))
    new = committed(pl.DataFrame({"v": ["a", "c", "c", None]}))
    found = table_diff(old, new)
    assert (found.added, found.removed, found.changed, found.unchanged) == (2, 2, 0, 2)
    assert {row["v"] for row in found.removed_examples} == {"a", "b"}
    moved = table_diff(new, committed(pl.DataFrame({"v": ["c", "a", None, "c"]})))
    assert (moved.reordered, moved.added, moved.removed, moved.is_empty) == (True, 0, 0, False)


def test_columns_that_differ_are_told_and_left_out(workspace: Workspace) -> None:
    old = committed(pl.DataFrame({"id": [1, 2], "a": [1, 2], "b": [1, 2]}))
    new = committed(pl.DataFrame({"id": [1, 2], "b": [1.0, 2.0], "c": ["x", "y"]}))
    found = table_diff(old, new, "id")
    assert found.schema == (
        SchemaChange("a", "i64", None),
        SchemaChange("b", "i64", "f64"),
        SchemaChange("c", None, "str"),
    )
    assert (found.added, found.changed, found.reordered, found.is_empty) == (0, 0, False, False)
    nothing = table_diff(old, committed(pl.DataFrame({"z": [1]})))
    assert (nothing.added, nothing.removed) == (1, 2)


@pytest.mark.one_backend("it is refused before a part is read")
@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("idd", r"`idd` is not a column of t/1\. Near: `id`"),
        ("n", r"`n` is not of one type in both: `i64` in t/1, `f64` in t/2"),
        ("l", "a column of plain values"),
        ("d", r"d: `1` is not a key of one row in the old version"),
    ],
)
def test_a_key_that_is_none_is_named(key: str, told: str, workspace: Workspace) -> None:
    old = committed(pl.DataFrame({"id": [1, 2], "n": [1, 2], "l": [[1], [2]], "d": [1, 1]}))
    new = committed(pl.DataFrame({"id": [1, 2], "n": [1.0, 2.0], "l": [[1], [2]], "d": [1, 2]}))
    with pytest.raises(InvalidError, match=told):
        old.diff(new, key)


ODD: dict[str, Any] = {
    "decimals": pl.Series(["1.50", None, "2.00"]).cast(pl.Decimal(10, 2)),
    "zones": [datetime(2013, 1, n, tzinfo=UTC) for n in (1, 2, 3)],
    "nested": [{"a": [1, None]}, None, {"a": []}],
    "enums": pl.Series(["a", None, "b"], dtype=pl.Enum(["b", "a"])),
    "categories": pl.Series(["a", None, "b"], dtype=pl.Categorical),
    "bytes": [b"\0", None, b""],
    "nulls": [None, None, None],
}


@pytest.mark.one_backend("rows are compared the same wherever their parts lie")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("key", [None, "k"])
def test_odd_types(kind: str, key: str | None, workspace: Workspace) -> None:
    frame = pl.DataFrame({"k": ["x", "y", "z"], "v": ODD[kind]})
    old, new = committed(frame), committed(frame[1:])
    assert (table_diff(old, new, key).removed, table_diff(new, old, key).added) == (1, 1)
    again = committed(frame.with_columns(pl.col("v").shift(1)))
    differing = 0 if kind == "nulls" else 3
    assert table_diff(old, again, key).changed == (differing if key else 0)
    assert table_diff(old, again, key).added == (0 if key else differing)


def test_tables_without_rows_or_columns_and_very_wide_ones(workspace: Workspace) -> None:
    empty = committed(pl.DataFrame(schema={"a": pl.Int64}))
    assert table_diff(empty, committed(pl.DataFrame({"a": [1]})), "a").added == 1
    bare, more = committed(pl.DataFrame(height=3)), committed(pl.DataFrame(height=5))
    assert (table_diff(bare, more).added, table_diff(bare, more).removed) == (5, 3)
    frame = pl.DataFrame({f"c{n}": [n, n + 1] for n in range(2_000)})
    wide = table_diff(committed(frame), committed(frame.with_columns(c7=pl.lit(0, pl.Int64))), "c0")
    assert [(column.name, column.rows) for column in wide.columns] == [("c7", 2)]


@settings(max_examples=30)
@given(data=st.data())
def test_any_two_tables(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Over shared parts, deletion vectors, leaves and shares of the work, by key and by rows, with and without compaction."""
    rows = st.dictionaries(st.integers(0, 60), st.integers(0, 3), max_size=60)
    with (
        Workspace.open(tmp_path_factory.mktemp("w")) as workspace,
        using(workspace),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("mainspring.data.tables.layout.FOLD_BYTES", data.draw(st.sampled_from([0, 1 << 18])))
        for module in ("artifacts.table", "data.tables.edits", "data.tables.diff", "data.tables.compaction"):
            patch.setattr(f"mainspring.{module}.LEAF_ROWS", 8)
        patch.setattr("mainspring.data.tables.diff._AT_ONCE", data.draw(st.sampled_from([10, 1000])))
        table = dataset("t")
        versions = [table.commit(_frame(data.draw(rows)))]
        for _ in range(data.draw(st.integers(1, 4))):
            kind = data.draw(st.sampled_from(["upsert", "delete", "commit", "compact"]))
            if kind == "upsert":
                table.upsert(_frame(data.draw(rows)), key="k")
            elif kind == "delete":
                table.delete(list(data.draw(rows)), key="k")
            elif kind == "commit":
                table.commit(_frame(data.draw(rows)))
            else:
                table.compact()
            versions.append(table.latest())
        old, new = versions[0], versions[-1]
        before, after = (dict(version.to_polars().rows()) for version in (old, new))
        found = table_diff(old, new, "k")
        changed = [key for key in before if key in after and before[key] != after[key]]
        assert (found.added, found.removed) == (len(after.keys() - before.keys()), len(before.keys() - after.keys()))
        assert found.changed == len(changed)
        assert found.is_empty == (old == new)
        whole = table_diff(old, new)
        was, now = Counter(before.items()), Counter(after.items())
        assert (whole.added, whole.removed) == ((now - was).total(), (was - now).total())
        assert whole.is_empty == (old == new)


def _frame(rows: dict[int, int]) -> pl.DataFrame:
    return pl.DataFrame({"k": list(rows), "v": list(rows.values())}, schema={"k": pl.Int64, "v": pl.Int64})


def test_only_what_may_differ_is_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    shares = diff._shares

    def counted(before: pl.LazyFrame, after: pl.LazyFrame, names: list[str]) -> Any:
        read.append(sum(frame.select(pl.len()).collect().item() for frame in (before, after)))
        return shares(before, after, names)

    monkeypatch.setattr(diff, "_shares", counted)
    table = dataset("t")
    frame = pl.DataFrame({"k": range(200_000), "v": [1] * 200_000})
    first = table.commit(frame)
    second = table.upsert(frame[:3].with_columns(v=pl.lit(2, pl.Int64)), key="k")
    assert table_diff(first, second, "k").changed == 3
    third = table.commit(frame.with_columns(v=pl.when(pl.col("k") == 199_999).then(5).otherwise(1).cast(pl.Int64)))
    assert table_diff(first, third, "k").changed == 1
    assert read == [6, 2 * (200_000 - 3 * 65_536)]


def test_versions_of_two_kinds_are_not_compared(workspace: Workspace, tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("a")
    tree, table = dataset("tree").add(tmp_path / "a.txt"), committed(pl.DataFrame({"a": [1]}))
    with pytest.raises(InvalidError, match="It is a t"):
        table.diff(tree)
    with pytest.raises(InvalidError, match="It is a t"):
        tree.diff(table)
