"""Two processes that register and move at once: every version has a number of its own, and every move is in the history."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mainspring.models import alias_history, list_aliases, list_model_versions
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace

COUNT = 6


def test_two_processes_share_numbers_and_aliases(backend: Backend, workspace: Workspace, tmp_path: Path) -> None:
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    program = f"""
import sys
from mainspring.models import Field, Signature, register, set_alias, set_version_tags
from mainspring.workspace import Workspace, using
with Workspace.open({str(tmp_path)!r}, overrides={where}) as workspace, using(workspace):
    for number in range({COUNT}):
        version = register({{"by": sys.argv[1], "number": number}}, "raced", signature=Signature((Field("x", "f64"),)))
        set_alias(version, "champion")
        set_version_tags("raced/1", {{f"{{sys.argv[1]}}-{{number}}": "x"}})
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, name], cwd=tmp_path) for name in ("a", "b")]
    assert [writer.wait() for writer in writers] == [0, 0]
    versions = list_model_versions("raced")
    assert [version.number for version in versions] == list(range(2 * COUNT, 0, -1))
    assert len(versions[-1].tags) == 2 * COUNT
    moves = alias_history("raced", "champion")
    assert sorted(move.to_number or 0 for move in moves) == list(range(1, 2 * COUNT + 1))
    assert [move.from_number for move in moves[:-1]] == [move.to_number for move in moves[1:]]
    assert [alias.number for alias in list_aliases("raced")] == [moves[0].to_number]
