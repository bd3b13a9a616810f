"""What a mirror for W&B refuses; what it holds is read by W&B's own client in `tests/outside`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.errors import ConflictError, MissingExtraError, NotFoundError
from mainspring.runs import RunStore, mirror_to_wandb, start_run
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("nothing is written")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "mainspring.toml").write_text("")
    with Workspace.open(tmp_path) as opened, using(opened):
        yield opened


def test_a_run_that_goes_on_or_is_not_there_is_refused(tmp_path: Path) -> None:
    with start_run("open") as run, pytest.raises(ConflictError, match="goes on"):
        mirror_to_wandb(run.id, tmp_path / "out")
    with pytest.raises(NotFoundError):
        mirror_to_wandb("f" * 32, tmp_path / "out")


def test_a_run_that_nobody_works_on_any_more_is_not_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = RunStore(workspace.database)
    with workspace.database.transaction() as tx:
        cut = runs.create(tx, kind="script", name="cut")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError):
        mirror_to_wandb(cut.id, tmp_path / "out")


@pytest.mark.parametrize("left", [False, True])
def test_without_the_client_the_extra_is_named_and_nothing_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bool
) -> None:
    with start_run("ended") as run:
        pass
    if left:  # a folder of runs that the client left here: Python imports it as a package
        (tmp_path / "wandb").mkdir()
        monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'mainspring\[wandb\]'"):
        mirror_to_wandb(run.id, tmp_path / "out")
    sys.modules.pop("wandb", None)
    assert not (tmp_path / "out").exists()
