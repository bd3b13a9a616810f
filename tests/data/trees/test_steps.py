"""Trees made and read by steps: lineage leads through them, and a replay finds what was recorded and writes nothing."""

from __future__ import annotations

from mainspring.data._store import DatasetStore
from mainspring.pipelines.replay import replay_run
from mainspring.testing.workspaces import Lab, states
from mainspring.workspace import Workspace

FLOW = """
import tempfile
from pathlib import Path

@ms.step
def collect(count: int):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            (folder / f"{number}.txt").write_text(f"picture {number}")
        (folder / "large").write_bytes(bytes(range(256)) * 70_000)
        return ms.dataset("cards").add(folder, mode="update")

@ms.step
def letters(version):
    return sum(file.size_bytes for file in version.list_files()), version.read_bytes("1.txt").decode()

@ms.pipeline
def main(count: int = 3):
    return letters(collect(count))
"""


def blobs_of(workspace: Workspace) -> set[str]:
    return {info.digest for info in workspace.blobs.list()}


def test_a_step_makes_a_tree_and_another_reads_it(lab: Lab) -> None:
    result = lab.write_and_run(FLOW)
    assert states(result) == {"collect": "succeeded", "letters": "succeeded"}
    (version,) = DatasetStore(lab.workspace.database).versions("cards")
    assert (version.files, version.made_by is not None) == (4, True)
    assert states(lab.run()) == {"collect": "reused", "letters": "reused"}


def test_a_replay_finds_the_version_and_stores_no_file(lab: Lab) -> None:
    result = lab.write_and_run(FLOW)
    lab.run(params={"count": 5})
    (second, first) = DatasetStore(lab.workspace.database).versions("cards")
    before = blobs_of(lab.workspace)
    assert replay_run(result.id, workspace=lab.workspace).verdict == "VERIFIED"
    assert [each.id for each in DatasetStore(lab.workspace.database).versions("cards")] == [second.id, first.id]
    written = [info for info in lab.workspace.blobs.list() if info.digest not in before]
    assert all(info.size_bytes < 1_000_000 for info in written)
