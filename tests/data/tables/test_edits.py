"""Upserts and deletes: a model in plain Python says what each must give, whatever the layout of the parts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.artifacts import table_digest
from mainspring.data import DatasetVersion, dataset
from mainspring.data.tables.manifest import read_listing
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.ledger import Replay, within_task
from mainspring.workspace import Workspace, using


def people(**ages: int) -> pl.DataFrame:
    return pl.DataFrame({"name": list(ages), "age": list(ages.values())}, schema={"name": pl.String, "age": pl.Int64})


def expect(version: DatasetVersion, frame: pl.DataFrame) -> None:
    """That a version has these rows, however it is read, and their digest."""
    assert version.to_polars().equals(frame)
    assert version.scan().collect().equals(frame)
    assert version.content_digest == table_digest(frame).digest
    assert version.rows == frame.height


def test_an_upsert_replaces_and_adds_and_keeps_the_order_of_the_rest(workspace: Workspace) -> None:
    table = dataset("people")
    first = table.commit(people(ann=30, bob=40, cid=50))
    second = table.upsert(people(bob=41, dan=20), key="name")
    expect(second, people(ann=30, cid=50, bob=41, dan=20))
    expect(first, people(ann=30, bob=40, cid=50))
    assert (second.number, second.parent) == (2, first.id)
    third = table.append(people(eve=1))
    expect(third, people(ann=30, cid=50, bob=41, dan=20, eve=1))


def test_an_upsert_of_equal_rows_changes_nothing(workspace: Workspace) -> None:
    table = dataset("people")
    first = table.commit(people(ann=30, bob=40))
    assert table.upsert(people(bob=40, ann=30), key="name").id == first.id
    assert table.upsert(people(), key="name").id == first.id
    assert len(table.versions()) == 1
    expect(table.upsert(people(ann=30, bob=41), key="name"), people(ann=30, bob=41))


def test_the_first_upsert_makes_the_table(workspace: Workspace) -> None:
    expect(dataset("people").upsert(people(ann=1), key="name"), people(ann=1))
    with pytest.raises(InvalidError, match="once"):
        dataset("others").upsert(pl.concat([people(ann=1), people(ann=2)]), key="name")


def test_deletes_by_key_values_and_condition(workspace: Workspace) -> None:
    table = dataset("people")
    table.commit(people(ann=30, bob=40, cid=50, dan=60))
    expect(table.delete(["bob", "nobody"], key="name"), people(ann=30, cid=50, dan=60))
    expect(table.delete(pl.DataFrame({"name": ["cid"]})), people(ann=30, dan=60))
    expect(table.delete(where=pl.col("age") > 50), people(ann=30))
    assert table.delete(where="age > 50").number == 4
    expect(table.delete(where="name = 'ann'"), people())
    expect(table.append(people(eve=5)), people(eve=5))


def test_a_condition_that_is_null_deletes_nothing(workspace: Workspace) -> None:
    table = dataset("t")
    first = table.commit(pl.DataFrame({"n": [1, None]}))
    assert table.delete(where=pl.col("n") > 1).id == first.id
    expect(table.delete(where="n IS NULL"), pl.DataFrame({"n": [1]}))


@pytest.mark.one_backend("it is refused before anything is stored")
@pytest.mark.parametrize(
    ("frame", "key", "told"),
    [
        (pl.DataFrame({"name": [None, "x"], "age": [1, 2]}), "name", r"people\.name: `None` is not a key: it holds nulls"),
        (pl.DataFrame({"name": ["x", "x"], "age": [1, 2]}), "name", r"people\.name: `'x'` is not in one row"),
        (pl.DataFrame({"name": ["x"], "age": [1]}), "nmae", r"`nmae` is not a column of `people`\. Near: `name`"),
        (pl.DataFrame({"name": ["x"], "age": [1]}), [], r"`\[\]` is not one or more names"),
        (pl.DataFrame({"age": [1]}), "age", "a table with the column `name`"),
        (pl.DataFrame({"name": ["x"], "age": ["1"]}), "name", r"people\.age: `str` is not the column's type, `i64`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(frame: pl.DataFrame, key: Any, told: str, workspace: Workspace) -> None:
    table = dataset("people")
    table.commit(people(ann=1))
    with pytest.raises(InvalidError, match=told):
        table.upsert(frame, key=key)
    assert len(table.versions()) == 1


def test_a_key_that_several_rows_have_cannot_be_replaced_but_deleted(workspace: Workspace) -> None:
    table = dataset("people")
    table.commit(pl.concat([people(ann=1, bob=2), people(ann=3)]))
    with pytest.raises(InvalidError, match=r"people\.name: `'ann'` is not a key of one row"):
        table.upsert(people(ann=4), key="name")
    expect(table.upsert(people(bob=5), key="name"), pl.concat([people(ann=1), people(ann=3), people(bob=5)]))
    expect(table.delete(["ann"], key="name"), people(bob=5))


def test_what_cannot_be_deleted_is_said(workspace: Workspace) -> None:
    table = dataset("people")
    with pytest.raises(NotFoundError, match="Nothing was deleted"):
        table.delete(["ann"], key="name")
    table.commit(people(ann=1))
    with pytest.raises(InvalidError, match="either `keys` or `where`"):
        table.delete()
    with pytest.raises(InvalidError, match="name of the column"):
        table.delete(["ann"])
    with pytest.raises(WrongTypeError, match="list of values"):
        table.delete("ann", key="name")
    with pytest.raises(InvalidError, match="of type `Int64`"):
        table.delete([1.5], key="age")
    with pytest.raises(InvalidError, match="a condition on `people`"):
        table.delete(where="agee > 1")
    with pytest.raises(InvalidError, match="a condition on `people`"):
        table.delete(where="age >")
    assert len(table.versions()) == 1


ROWS: dict[str, Any] = {
    "dates": {"k": [date(2013, 1, 1), date(2013, 1, 2)], "v": [1, 2]},
    "times in a zone": {"k": [datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC)], "v": [1, 2]},
    "decimals": {"k": [Decimal("1.50"), Decimal("2.00")], "v": [Decimal("0.1"), None]},
    "nested values": {"k": [1, 2], "v": [{"a": [1, None]}, None]},
    "floats": {"k": [float("nan"), -0.0], "v": [float("nan"), 0.0]},
    "enums": {"k": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"])), "v": pl.Series(["y", None], dtype=pl.Enum(["x", "y"]))},
    "categories": {"k": pl.Series(["x", "y"], dtype=pl.Categorical), "v": pl.Series([None, "z"], dtype=pl.Categorical)},
    "bytes": {"k": [b"\0", b""], "v": [b"1", b"2"]},
    "nothing but nulls": {"k": [1, 2], "v": [None, None]},
    "names of ours": {"k": ["a", "b"], "row": [1, 2], "stored at": [3, 4]},
}  # fmt: skip


@pytest.mark.one_backend("keys are compared the same wherever their parts lie")
@pytest.mark.parametrize("kind", ROWS)
def test_keys_and_values_of_odd_types(kind: str, workspace: Workspace) -> None:
    table, frame = dataset("t"), pl.DataFrame(ROWS[kind])
    first = table.commit(frame)
    assert table.upsert(frame[::-1], key="k").id == first.id
    expect(table.delete(frame.select("k")[:1]), frame[1:])
    expect(table.upsert(frame[:1], key="k"), frame[::-1])
    expect(
        table.delete([frame["k"][1]], key="k") if kind != "categories" else table.delete(frame[1:], key="k"), frame[:1]
    )


def test_a_key_of_several_columns_and_of_a_nested_type(workspace: Workspace) -> None:
    table = dataset("t")
    frame = pl.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"], "v": [[1], [2], [3]]})
    table.commit(frame)
    version = table.upsert(pl.DataFrame({"a": [1], "b": ["y"], "v": [[9]]}), key=["a", "b"])
    expect(version, pl.DataFrame({"a": [1, 2, 1], "b": ["x", "x", "y"], "v": [[1], [3], [9]]}))
    with pytest.raises(InvalidError, match="a type that can be a key"):
        table.upsert(frame, key="v")


def test_tables_without_columns_or_rows_and_very_wide_ones(workspace: Workspace) -> None:
    bare = dataset("bare")
    first = bare.commit(pl.DataFrame(height=7))
    assert bare.delete(where=pl.lit(True)).id == first.id
    with pytest.raises(InvalidError, match="not a column of `bare`"):
        bare.upsert(people(ann=1), key="name")
    none = dataset("none")
    none.commit(people())
    expect(none.upsert(people(ann=1), key="name"), people(ann=1))
    wide = dataset("wide")
    frame = pl.DataFrame({f"c{n}": [n, n + 1] for n in range(2_000)})
    wide.commit(frame)
    expect(
        wide.upsert(frame[:1].with_columns(c1=pl.lit(-1, pl.Int64)), key="c0"),
        frame[::-1].with_columns(c1=pl.Series([2, -1])),
    )
    expect(wide.delete([0], key="c0"), frame[1:])


@pytest.mark.one_backend("parts and digests are the same on both, and it takes 3 s")
def test_ten_thousand_columns_are_committed_appended_and_read(workspace: Workspace) -> None:
    wide, frame = dataset("wide"), pl.DataFrame({f"c{n}": [n, n + 1] for n in range(10_000)})
    wide.commit(frame)
    expect(wide.append(frame[::-1]), pl.concat([frame, frame[::-1]]))


@settings(max_examples=25)
@given(data=st.data())
def test_any_history_gives_what_a_dict_gives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Appends, upserts, deletes and compactions in any order, over manifests' snapshots, segments and leaf borders."""
    with (
        Workspace.open(tmp_path_factory.mktemp("w")) as workspace,
        using(workspace),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("mainspring.data.tables.layout.FOLD_BYTES", data.draw(st.sampled_from([0, 1 << 18])))
        patch.setattr("mainspring.data.tables.manifest.SEGMENT_PARTS", 3)
        patch.setattr("mainspring.data.tables.manifest.SNAPSHOT_EVERY", 4)
        patch.setattr("mainspring.data.tables.manifest.BLOCK_DIGESTS", data.draw(st.sampled_from([0, 64])))
        patch.setattr("mainspring.data.tables.parts.CHUNK_ROWS", 50)
        for module in ("artifacts.table", "data.tables.edits", "data.tables.rows", "data.tables.compaction"):
            patch.setattr(f"mainspring.{module}.LEAF_ROWS", 16)
        table, model, following = dataset("t"), dict[int, int](), 0
        made = [(table.commit(_frame(model)), _frame(model))]
        for _ in range(data.draw(st.integers(1, 12))):
            action = data.draw(st.sampled_from(["append", "upsert", "delete", "where", "compact", "upsert"]))
            if action == "append":
                count = data.draw(st.integers(0, 40))
                rows = {following + n: n for n in range(count)}
                following += count
                model |= rows
                version = table.append(_frame(rows))
            elif action == "upsert":
                keys = data.draw(st.lists(st.integers(0, following + 3), unique=True, max_size=20))
                rows = {key: data.draw(st.integers(0, 2)) for key in keys}
                following = max([following, *(key + 1 for key in keys)])
                for key, value in rows.items():
                    if model.get(key) != value:
                        model.pop(key, None)
                        model[key] = value
                version = table.upsert(_frame(rows), key="k")
            elif action == "delete":
                keys = data.draw(st.lists(st.integers(0, following + 3), max_size=20))
                model = {key: value for key, value in model.items() if key not in keys}
                version = table.delete(keys, key="k")
            elif action == "where":
                value = data.draw(st.integers(0, 2))
                model = {key: other for key, other in model.items() if other != value}
                version = table.delete(where=pl.col("v") == value)
            else:
                version = table.compact()
                assert version.parts == 1
            made.append((version, _frame(model)))
        for version, frame in made:
            expect(table.version(version.number), frame)


def _frame(rows: dict[int, int]) -> pl.DataFrame:
    return pl.DataFrame({"k": list(rows), "v": list(rows.values())}, schema={"k": pl.Int64, "v": pl.Int64})


def test_an_edit_writes_vectors_and_new_rows_only(workspace: Workspace) -> None:
    table = dataset("t")
    frame = pl.DataFrame({"k": range(200_000), "v": [1] * 200_000})
    first = table.commit(frame)
    second = table.upsert(frame[150_000:150_002].with_columns(v=pl.lit(2, pl.Int64)), key="k")
    before, after = (read_listing(workspace.blobs, each.manifest) for each in (first, second))
    assert after.parts[0].blob == before.parts[0].blob
    assert [(part.rows, part.dropped_rows) for part in after.parts] == [(199_998, 2), (2, 0)]
    assert after.leaves[:2] == before.leaves[:2]
    third = table.delete(where=pl.col("k") % 2 == 0)
    assert [part.rows for part in read_listing(workspace.blobs, third.manifest).parts] == [99_999, 1]
    assert third.to_polars().equals(second.to_polars().filter(pl.col("k") % 2 == 1))
    assert table.delete(where="k < 200000").rows == 0


def test_conditions_reach_past_what_was_dropped(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(pl.DataFrame({"k": range(1000)}))
    table.delete(list(range(0, 1000, 3)), key="k")
    version = table.append(pl.DataFrame({"k": [7000]}))
    expected = [k for k in range(990, 1000) if k % 3] + [7000]
    assert version.scan().filter(pl.col("k") >= 990).collect()["k"].to_list() == expected
    assert version.scan().select(pl.len()).collect().item() == version.rows
    assert version.scan().tail(3).collect()["k"].to_list() == expected[-3:]


def test_a_replay_edits_nothing(workspace: Workspace) -> None:
    table = dataset("people")
    table.commit(people(ann=1, bob=2))
    second = table.upsert(people(ann=3), key="name")
    third = table.delete(["bob"], key="name")
    with within_task("again", replay=Replay("then")):
        assert table.upsert(people(ann=3), key="name").id == second.id
        assert table.delete(["bob"], key="name").id == third.id
        with pytest.raises(NotAllowedError):
            table.upsert(people(ann=9), key="name")
    assert len(table.versions()) == 3


def test_a_condition_on_a_column_that_is_not_there_names_those_that_are(workspace: Workspace) -> None:
    dataset("numbers").commit(pl.DataFrame({"n": [1]}))
    with pytest.raises(InvalidError, match="nope") as told:
        dataset("numbers").delete(where="nope > 1")
    assert "stored at" not in str(told.value)
