"""Removing versions: what stays can be read in full, what goes can't, and neither depends on who wrote which blob."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mainspring as ms
from mainspring.artifacts import table_digest
from mainspring.data import (
    DatasetVersion,
    check,
    dataset,
    export_delta,
    export_dvc,
    export_parquet,
    find_report,
    get_dataset_version,
    list_datasets,
)  # fmt: skip
from mainspring.data.retention import Kept, expire_versions, remove_dataset, remove_version
from mainspring.data.tables.manifest import read_listing
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, RemovedError, WrongTypeError
from mainspring.ledger import Replay, within_task
from mainspring.models import register
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace, collect, using

pytestmark = pytest.mark.usefixtures("unfolded")


def frame_of(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"n": list(numbers)}, schema={"n": pl.Int64})


def swept(workspace: Workspace) -> int:
    """Collect what nothing names; gives how many blobs are left."""
    for _ in range(2):
        collect(workspace, grace_s=-1)
    return len(list(workspace.blobs.list()))


def test_a_removed_version_is_a_record_without_data(workspace: Workspace) -> None:
    table = dataset("t")
    first, second = table.commit(frame_of(1)), table.commit(frame_of(2))
    first.profile()
    done = remove_version("t/1")
    assert (done.removed, done.blobs) == (("t/1",), 2)
    assert swept(workspace) == 2
    record = table.version(1)
    assert (record.id, record.rows, record.content_digest) == (first.id, 1, first.content_digest)
    assert record.removed_at is not None
    for held in (record, first):  # read anew, or held since before
        with pytest.raises(RemovedError, match=r"data of version `t/1`.*its record is kept"):
            held.to_polars()
    assert second.to_polars().equals(frame_of(2))
    event = workspace.ledger.events()[-1]
    assert (event.kind, event.subject, event.payload["forced"]) == ("dataset.removed", first.id, False)
    assert workspace.database.query("SELECT content_digest FROM dataset_profile") == []
    with pytest.raises(RemovedError):
        remove_version("t/1")


@pytest.mark.one_backend("what is named is Python's")
def test_a_version_is_its_own_name_and_a_handle_is_none(workspace: Workspace, tmp_path: Path) -> None:
    first = dataset("t").commit(frame_of(1))
    dataset("t").commit(frame_of(2))
    assert remove_version(first).removed == ("t/1",)
    with pytest.raises(RemovedError):
        remove_version(first)
    handle: Any = dataset("t")
    wrong: list[Callable[[], object]] = [
        lambda: remove_version(handle), lambda: remove_dataset(handle), lambda: export_parquet(handle, tmp_path / "x"),
        lambda: export_delta(handle, tmp_path / "x"), lambda: export_dvc(handle, tmp_path / "x"),
    ]  # fmt: skip
    for call in wrong:
        with pytest.raises(WrongTypeError, match=r"`Dataset\('t', version 2, 1 row\)` is a Dataset"):
            call()


def test_what_later_versions_reach_is_kept_whoever_wrote_it(workspace: Workspace) -> None:
    table = dataset("t")
    for n in range(40):
        table.append(frame_of(n))
    for number in range(1, 40):
        if number not in (7, 20):
            remove_version(f"t/{number}")
    swept(workspace)
    for number in (7, 20, 40):
        assert table.version(number).to_polars().equals(frame_of(*range(number)))
    assert table.append(frame_of(40)).to_polars().equals(frame_of(*range(41)))


def test_deletion_vectors_and_replaced_parts(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(frame_of(*range(10)))
    table.delete([1], key="n")
    table.upsert(frame_of(1, 20), key="n")
    table.delete([20], key="n")
    for number in (1, 2, 3):
        remove_version(f"t/{number}")
    swept(workspace)
    expected = [0, 2, 3, 4, 5, 6, 7, 8, 9, 1]
    assert table.latest().to_polars()["n"].to_list() == expected
    assert table.delete([9], key="n").to_polars()["n"].to_list() == [n for n in expected if n != 9]


def test_the_layout_before_a_compaction_goes_with_the_versions_that_had_it(workspace: Workspace) -> None:
    table = dataset("t")
    for n in range(10):
        held = table.append(frame_of(n))
    table.compact()
    expire_versions("t", keep_last=1)
    assert swept(workspace) == 2  # a part and a manifest
    assert table.latest().to_polars().equals(frame_of(*range(10)))
    assert held.to_polars().equals(frame_of(*range(10)))  # a record from before the compaction


def test_the_newest_and_tagged_ones_stay(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(frame_of(1))
    table.commit(frame_of(2))
    table.tag(1, "training")
    with pytest.raises(NotAllowedError, match="t/2 is the newest version"):
        remove_version("t/2", force=True)
    for force in (False, True):
        with pytest.raises(NotAllowedError, match="`t` is tagged `training`"):
            remove_version("t/1", force=force)
        with pytest.raises(NotAllowedError, match="`t` is tagged `training`"):
            remove_dataset("t", force=force)
    with pytest.raises(NotFoundError):
        remove_version("t/9")
    with pytest.raises(NotFoundError, match="Nearest: t"):
        remove_dataset("tt")
    table.untag("training")
    remove_version("t/1")


def test_a_replay_removes_nothing(workspace: Workspace) -> None:
    dataset("t").commit(frame_of(1))
    with within_task("again", replay=Replay("then")), pytest.raises(NotAllowedError, match="A replay removes nothing"):
        remove_dataset("t")
    assert dataset("t").latest().rows == 1


def test_a_whole_dataset_goes_and_its_name_is_free(workspace: Workspace) -> None:
    table = dataset("t")
    first = table.append(frame_of(1))
    table.append(frame_of(2))
    dataset("other").commit(frame_of(1))  # the same bytes, named by another dataset
    assert remove_dataset("t").removed == ("t/1", "t/2")
    swept(workspace)
    assert [version.dataset for version in list_datasets()] == ["other"]
    assert dataset("other").latest().to_polars().equals(frame_of(1))
    with pytest.raises(NotFoundError, match="No dataset `t`"):
        table.latest()
    with pytest.raises(RemovedError):
        get_dataset_version(first.id).scan()
    again = table.append(frame_of(1))
    assert (again.number, again.parent) == (3, None)
    assert again.to_polars().equals(frame_of(1))


def test_versions_that_models_came_from_stay_unless_forced(workspace: Workspace) -> None:
    from sklearn.linear_model import LinearRegression

    raw, clean = dataset("raw"), dataset("clean")
    raw.commit(pl.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]}))
    clean.commit(raw.latest().to_polars(), source=raw.latest())
    with ms.start_run():
        table = clean.latest().to_polars()
        model = LinearRegression().fit(table.select("x").to_numpy(), table["y"].to_numpy())
        register(model, "line", input_example=table.select("x"))
    for handle in (raw, clean):
        handle.append(pl.DataFrame({"x": [3.0], "y": [3.0]}))
        handle.append(pl.DataFrame({"x": [4.0], "y": [4.0]}))
    with pytest.raises(NotAllowedError, match=r"Registered models came from it: `model line"):
        remove_version("clean/1")
    with pytest.raises(NotAllowedError, match="Registered models"):
        remove_version("raw/1")
    assert expire_versions("raw", keep_last=1).removed == ("raw/2",)
    with pytest.raises(NotAllowedError, match="Registered models"):
        remove_dataset("clean")
    assert remove_version("clean/1", force=True).removed == ("clean/1",)
    assert workspace.ledger.events()[-1].payload["forced"] is True


def test_a_policy_keeps_the_newest_the_young_and_the_used(workspace: Workspace) -> None:
    table = dataset("t")
    for n in range(1, 9):
        table.append(frame_of(n))
    table.tag(2, "training")
    with within_task("task-1"), workspace.database.transaction() as tx:
        workspace.ledger.node(tx, "task", "task-1", "train")
        workspace.ledger.edge(tx, "task-1", "reads", table.versions()[5].id, "task-1")
    dry = expire_versions("t", keep_last=3, keep_used=True, dry_run=True)
    assert dry.removed == ("t/5", "t/4", "t/1")
    assert dry.kept == (Kept("t/3", "used by task train"), Kept("t/2", "tagged `training`"))
    assert len([version for version in table.versions() if version.removed_at]) == 0
    assert expire_versions("t", keep_last=3, older_than=timedelta(days=1)).removed == ()
    assert expire_versions("t", keep_last=3, keep_used=True).removed == dry.removed
    done = expire_versions("t", older_than=timedelta(microseconds=1))
    assert done.removed == ("t/7", "t/6", "t/3")
    assert {kept.why for kept in done.kept} == {"the newest", "tagged `training`"}
    swept(workspace)
    assert [version.number for version in table.versions() if not version.removed_at] == [8, 2]
    assert table.version("training").to_polars().equals(frame_of(1, 2))
    with pytest.raises(InvalidError, match="`keep_last`, `older_than`"):
        expire_versions("t")
    with pytest.raises(InvalidError, match="at least 1"):
        expire_versions("t", keep_last=0)


def test_trees_keep_what_remaining_versions_hold(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for n in range(5):
        (folder / f"{n}.txt").write_text(f"text {n}")
        dataset("tree").add(folder)
    (folder / "0.txt").unlink()
    dataset("tree").add(folder)
    expire_versions("tree", keep_last=2)
    swept(workspace)
    kept = [version for version in dataset("tree").versions() if not version.removed_at]
    assert [len(version.list_files()) for version in kept] == [4, 5]
    for version in kept:
        for file in version.list_files():
            assert version.read_bytes(file.path).startswith(b"text")
    with pytest.raises(RemovedError):
        dataset("tree").version(1).list_files()


def test_writers_and_a_remover_at_the_same_time(workspace: Workspace) -> None:
    table = dataset("t")
    for n in range(6):
        table.commit(frame_of(1_000 + n))
    table.commit(frame_of())
    expire_versions("t", keep_last=1)
    folder = Path(workspace.blobs.place)  # there is none of a bucket, whose times nobody can set
    old = [file for file in folder.rglob("*") if file.is_file()]
    for _ in range(2):  # so old that the first collection condemns what is no longer named, the next one destroys it
        for file in folder.rglob("*"):
            if file.is_file():
                os.utime(file, (1, 1))
        destroyed = [collect(workspace, grace_s=600).destroyed]
    assert any(destroyed) == bool(old)

    def write(worker: int) -> None:
        with using(workspace):
            handle = dataset("t")
            for n in range(8):
                handle.append(frame_of(worker * 100 + n))

    def expire() -> None:
        with using(workspace):
            for _ in range(6):
                expire_versions("t", keep_last=2)
                collect(workspace, grace_s=600)

    at_once(*(partial(write, worker) for worker in range(3)), expire)
    swept(workspace)
    version = table.latest()
    assert sorted(version.to_polars()["n"].to_list()) == sorted(
        worker * 100 + n for worker in range(3) for n in range(8)
    )
    assert version.content_digest == table_digest(version.to_polars()).digest


@pytest.mark.one_backend("a bucket's objects are read by name, not opened as files")
def test_a_file_condemned_between_its_naming_and_its_opening_is_read_from_where_it_is(workspace: Workspace) -> None:
    version = dataset("t").commit(frame_of(1))
    (part,) = read_listing(workspace.blobs, version.manifest).parts
    condemned: list[str] = []

    def read(_present: DatasetVersion) -> int:
        path = workspace.blobs.path(part.blob)
        if not condemned:
            condemned.append(part.blob)
            workspace.blobs.condemn(part.blob)
        return len(path.read_bytes())

    with using(workspace):
        assert version.as_stored(read) == part.size_bytes


def test_a_report_goes_with_its_version(workspace: Workspace) -> None:
    numbers = dataset("numbers", workspace)
    checks = [check.between("n", 0, 1, severity="warn")]
    first = numbers.commit(pl.DataFrame({"n": [1, 99]}), checks=checks)
    numbers.commit(pl.DataFrame({"n": [2]}))
    assert find_report(first, workspace) is not None
    remove_version("numbers/1", workspace=workspace)
    assert find_report(first, workspace) is None
