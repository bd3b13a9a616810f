"""Lazy frames and batches: the same rows and digests as in memory, computed in order."""

from __future__ import annotations

import polars as pl
import pytest

from mainspring.artifacts import content_digest, load, save, table_digest
from mainspring.artifacts.spool import Spool, streams_in_order
from mainspring.data import dataset
from mainspring.errors import InvalidError
from mainspring.workspace import Workspace

ROWS = 120_000

pytestmark = pytest.mark.usefixtures("unfolded")


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    numbers = pl.DataFrame({"id": range(ROWS)})
    return numbers.with_columns(
        share=(pl.col("id").hash(3) % 1_000_003) / 7, name=(pl.col("id") % 97).cast(pl.String), key=pl.col("id") % 1_009
    )


def test_a_lazy_commit_is_the_version_that_a_frame_makes(workspace: Workspace, frame: pl.DataFrame) -> None:
    version = dataset("lazy", workspace).commit(frame.lazy().filter(pl.col("id") % 3 != 0))
    assert version.content_digest == table_digest(frame.filter(pl.col("id") % 3 != 0)).digest
    assert version.to_polars().equals(frame.filter(pl.col("id") % 3 != 0))


def test_lazy_rows_are_appended_in_the_types_of_the_table(workspace: Workspace, frame: pl.DataFrame) -> None:
    table = dataset("lazy", workspace)
    table.commit(frame[:100_001])
    more = frame[100_001:].select("name", "key", "share", "id")
    version = table.append(more.lazy())
    assert version.content_digest == table_digest(frame).digest
    nulls = table.append(more[:3].lazy().with_columns(name=None))
    assert nulls.to_polars().tail(3)["name"].to_list() == [None] * 3
    with pytest.raises(InvalidError, match="share"):
        table.append(more.lazy().drop("share"))
    assert table.latest() == nulls


def test_a_lazy_commit_of_nothing_new_makes_no_version(workspace: Workspace, frame: pl.DataFrame) -> None:
    table = dataset("lazy", workspace)
    assert table.commit(frame[:10]).id == table.commit(frame[:10].lazy()).id
    empty = table.commit(frame[:0].lazy())
    assert (empty.rows, empty.to_polars().schema) == (0, frame.schema)
    assert table.append(frame[:5].lazy()).rows == 5


def test_a_version_of_several_parts_holds_them_in_order(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.data.tables.lazy.PART_ROWS", 1_000)
    frame = pl.DataFrame({"n": range(3_500)})
    version = dataset("lazy", workspace).commit(frame.lazy())
    assert (version.parts, version.content_digest) == (4, table_digest(frame).digest)
    assert version.to_polars().equals(frame)


@pytest.mark.parametrize("rows", [1, 7, 400, 10_000, None])
def test_batches_are_the_rows_in_order(rows: int | None, workspace: Workspace) -> None:
    table = dataset("t", workspace)
    table.commit(pl.DataFrame({"n": range(400)}))
    for at in range(400, 460, 20):
        table.append(pl.DataFrame({"n": range(at, at + 20)}))
    version = table.delete([0, 5, 399, 400, 459], key="n")
    batches = list(version.batches(rows))
    assert pl.concat(batches).equals(version.to_polars())
    assert {batch.height for batch in batches[:-1]} <= {rows}


def test_an_empty_version_has_one_empty_batch(workspace: Workspace) -> None:
    version = dataset("t", workspace).commit(pl.DataFrame({"n": [], "at": []}, schema={"n": pl.Int64, "at": pl.Date}))
    assert [batch.schema for batch in version.batches()] == [{"n": pl.Int64, "at": pl.Date}]
    with pytest.raises(InvalidError, match="rows"):
        list(version.batches(0))


def test_a_lazy_artifact_comes_back_lazy_with_its_rows(workspace: Workspace, frame: pl.DataFrame) -> None:
    lazy = frame.lazy().with_columns(twice=pl.col("share") * 2)
    digest, encoded, preview = save(lazy, workspace.blobs)
    back = load(encoded, workspace.blobs)
    assert isinstance(back, pl.LazyFrame)
    assert back.collect().equals(lazy.collect())
    assert content_digest(back) == content_digest(lazy) == digest != content_digest(lazy.collect())
    assert preview.summary == "120,000 rows × 5 columns"


def test_what_parquet_lacks_is_kept_all_the_same(workspace: Workspace) -> None:
    for lazy in (pl.LazyFrame(), pl.LazyFrame({"n": [2**100]}, schema={"n": pl.Int128})):
        digest, encoded, _ = save(lazy, workspace.blobs)
        assert content_digest(load(encoded, workspace.blobs)) == digest
        assert load(encoded, workspace.blobs).collect().equals(lazy.collect())


@pytest.mark.one_backend("plans run over local files, whatever they were fetched from")
@pytest.mark.parametrize(
    ("plan", "streams"),
    [
        (lambda t: t.filter(pl.col("share") > 10).with_columns(a=pl.col("share") * 2), True),
        (lambda t: t.select("id", "name").slice(10, 1000), True),
        (lambda t: pl.concat([t, t]), True),
        (lambda t: t.group_by("key", maintain_order=True).agg(pl.col("share").sum()), False),
        (lambda t: t.group_by("key").agg(pl.col("share").mean()).sort("key"), False),
        (lambda t: t.select(pl.col("share").sum(), std=pl.col("share").std()), False),
        (lambda t: t.with_columns(mean=pl.col("share").mean().over("key")), False),
        (lambda t: t.join(t.filter(pl.col("id") % 2 == 0), on="id", maintain_order="left"), False),
        (lambda t: t.with_columns(total=pl.col("share").cum_sum()), False),
    ],
)
def test_ten_repetitions_give_one_digest(
    plan: object, streams: bool, workspace: Workspace, frame: pl.DataFrame
) -> None:
    assert callable(plan)
    table = dataset("t", workspace)
    for at in range(0, ROWS, 30_000):
        version = table.append(frame[at : at + 30_000])
    lazy = plan(version.scan())
    assert streams_in_order(lazy) is streams
    digests = set()
    for _ in range(10):
        with Spool(lazy) as spool:
            digests.add(spool.digest().digest)
    assert digests == {table_digest(lazy.collect(engine="in-memory")).digest}


def test_a_failing_plan_leaves_nothing_behind(workspace: Workspace, frame: pl.DataFrame) -> None:
    lazy = frame.lazy().with_columns(pl.col("name").cast(pl.Date))
    with pytest.raises(pl.exceptions.PolarsError):
        dataset("t", workspace).commit(lazy)
    assert not dataset("t", workspace).versions()
