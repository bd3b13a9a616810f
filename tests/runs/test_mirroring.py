"""Runs that end are mirrored by themselves, each once, and never wait for it or fail by it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.runs import Mirrored, NotMirrored, RunState, RunStore, mirror_ended, start_run
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace


class Client:
    """Stands for W&B's client behind the adapter: what it was given, and what it raises. The client itself is in
    `tests/outside`.
    """

    def __init__(self) -> None:
        self.mirrored: list[str] = []
        self.started = 0
        self.error: BaseException | None = None
        self.left_out: list[str] = []

    def mirror(self, run: str, folder: Path, *, workspace: Workspace) -> Mirrored:
        if self.error is not None:
            raise self.error
        assert folder.is_relative_to(workspace.project.root)
        self.mirrored.append(run)
        return Mirrored(run, str(folder), 0, 0, self.left_out)

    def start(self, _: Workspace) -> None:
        self.started += 1


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()
    (tmp_path / "installed" / "wandb").mkdir(parents=True)
    (tmp_path / "installed" / "wandb" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    monkeypatch.setattr("mainspring.runs.wandb.mirror_to_wandb", made.mirror)
    monkeypatch.setattr("mainspring.runs.mirroring._start", made.start)
    return made


@pytest.fixture
def workspace(backend: Backend, tmp_path: Path) -> Iterator[Workspace]:
    where = {"database": backend.database_url, "blobs": backend.blob_url, "mirror": "wandb"}
    with Workspace.open(tmp_path, overrides=where) as opened:
        yield opened


def ended(workspace: Workspace, name: str = "run") -> str:
    with start_run(name, workspace=workspace) as run:
        pass
    return run.id


def test_each_run_that_ends_is_mirrored_once_from_the_first_on(
    backend: Backend, workspace: Workspace, client: Client
) -> None:
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    with Workspace.open(workspace.project.root, overrides=where) as without:
        ended(without, "before it was switched on")
        assert client.started == 0
    first, second = ended(workspace), ended(workspace)
    with (
        start_run("open", workspace=workspace),
        pytest.raises(ZeroDivisionError),
        start_run("bad", workspace=workspace) as bad,
    ):
        raise ZeroDivisionError
    assert mirror_ended(workspace) == 4
    assert client.mirrored[:3] == [first, second, bad.id]
    assert mirror_ended(workspace) == 0
    with start_run(resume=first, workspace=workspace):
        assert mirror_ended(workspace) == 0
    assert mirror_ended(workspace) == 1
    assert client.mirrored[-1] == first


def test_a_mirror_that_was_killed_or_is_made_elsewhere_leaves_none_out(workspace: Workspace, client: Client) -> None:
    runs = [ended(workspace) for _ in range(3)]
    client.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        mirror_ended(workspace)
    client.error = None
    lease = workspace.leases.claim("mirror:wandb", "another process", 60.0)
    assert mirror_ended(workspace) == 0
    workspace.leases.release(lease)
    assert mirror_ended(workspace) == 3
    assert client.mirrored == runs


def test_a_mirror_that_fails_is_told_of_when_the_next_run_ends_and_no_run_fails_by_it(
    workspace: Workspace, client: Client
) -> None:
    failed = ended(workspace)
    client.error = OSError("no space left")
    assert mirror_ended(workspace) == 0
    client.error = None
    with pytest.warns(NotMirrored, match=rf"no space left.*mainspring export wandb {failed} ") as told:
        following = ended(workspace)
    assert len(told) == 1
    ended(workspace)
    assert mirror_ended(workspace) == 2
    assert RunStore(workspace.database).get(following).state is RunState.SUCCEEDED


def test_what_has_no_place_in_a_mirror_is_told_of_when_the_next_run_ends_and_once(
    workspace: Workspace, client: Client
) -> None:
    first, second = ended(workspace), ended(workspace)
    client.left_out = ["2 points before step 0", "the file config.yaml: W&B's own has this name"]
    assert mirror_ended(workspace) == 2
    client.left_out = []
    told = r"2 runs mirrored without.*Of (\w+): 2 points before step 0; the file config\.yaml.*export wandb (\w+ \w+) "
    with pytest.warns(NotMirrored, match=told) as warned:
        ended(workspace)
    found = re.search(told, str(warned[0].message))
    assert found is not None
    assert found[1] in (first, second)
    assert found[2].split() == sorted([first, second])
    assert len(warned) == 1
    assert mirror_ended(workspace) == 1
    ended(workspace)


def test_without_the_client_the_run_ends_as_it_did_and_the_extra_is_named(
    workspace: Workspace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [each for each in sys.path if not each.endswith("installed")])
    with pytest.warns(NotMirrored, match=r"pip install 'mainspring\[wandb\]'"):
        run = ended(workspace)
    assert (client.started, RunStore(workspace.database).get(run).state) == (0, RunState.SUCCEEDED)


def test_a_tool_that_is_unknown_is_told_of(backend: Backend, tmp_path: Path) -> None:
    where = {"database": backend.database_url, "blobs": backend.blob_url, "mirror": "wnadb"}
    with (
        Workspace.open(tmp_path, overrides=where) as workspace,
        pytest.warns(NotMirrored, match="`wnadb` is not one of"),
    ):
        ended(workspace)
