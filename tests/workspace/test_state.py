"""A workspace's own files are no data, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.workspace import State, Workspace

_ELSEWHERE = {"database": "sqlite://{root}/state.db", "blobs": "file://{root}/b", "online": "lmdb://{root}/o%20n"}


@pytest.mark.parametrize("elsewhere", [{}, _ELSEWHERE])
def test_state_is_told_from_what_lies_beside_it(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    root = tmp_path.resolve()
    settings = {name: url.format(root=root) for name, url in elsewhere.items()}
    with Workspace.open(root, overrides=settings) as own:
        own.metrics.query("SELECT 1")
        own.blobs.put(b"something")
        own.online.write([(b"key", b"value")])
        own.cache.mkdir(parents=True)
        (root / "statements.db").touch()
        (root / "sub" / ".mainspring").mkdir(parents=True)  # holds no state
        state = State(own)
        kept = [path.name for path in sorted(root.iterdir()) if not state.holds(str(root), path.name)]
        assert kept == ["statements.db", "sub"]
        assert not state.holds(str(root / "sub"), ".mainspring")
        assert state.around(own.blobs.place) is not None
        assert state.around(own.database.place) is not None
        assert state.around(f"{own.online.place}/data.mdb") is not None
        assert state.around(str(own.segments / "vectors")) is not None
        for open_to_steps in (root, root / "sub" / ".mainspring", own.scratch / "run", own.cache / "code"):
            assert state.around(str(open_to_steps)) is None


def test_the_state_of_a_workspace_that_nobody_opened_is_known_by_its_looks(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    with Workspace.open(root):
        pass
    assert State().holds(str(root), ".mainspring")
    assert State().around(str(root / ".mainspring")) == str(root / ".mainspring")
