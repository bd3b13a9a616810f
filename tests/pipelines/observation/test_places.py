"""A workspace's own servers are known by the settings that name them, passwords by reference included."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.pipelines.observation.places import own_addresses, own_paths
from mainspring.workspace import Workspace, find_project


@pytest.mark.parametrize(
    ("online", "port"), [("redis://u:secret:env/PW@cache:7000/1", 7000), ("secret:env/ONLINE_URL", 6379)]
)
def test_servers_are_known_whatever_their_passwords_look_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: str, port: int
) -> None:
    monkeypatch.setenv("ONLINE_URL", "rediss://u:pw@cache/1?prefix=a")
    urls = {"database": "postgresql://me:secret:env/PW@db:5433/work", "blobs": "s3://b/p?endpoint=http://127.0.0.1:9"}
    with Workspace.open(tmp_path) as workspace:
        workspace.project = find_project(tmp_path, overrides={**urls, "online": online})
        assert workspace.online_folder is None
        assert own_addresses(workspace) == ["db:5433", "127.0.0.1:9", f"cache:{port}"]


def test_the_folder_of_the_online_store_is_the_workspaces_own(tmp_path: Path) -> None:
    with Workspace.open(tmp_path, overrides={"online": f"lmdb://{tmp_path}/elsewhere"}) as workspace:
        assert tmp_path / "elsewhere" in own_paths(workspace)
        assert own_addresses(workspace) == []
        workspace.online.write([(b"a", b"1")])
    assert (tmp_path / "elsewhere" / "data.mdb").exists()
    with Workspace.open(tmp_path, overrides={"online": f"lmdb://{tmp_path}/elsewhere"}) as again:
        assert again.online.get(b"a") == b"1"
