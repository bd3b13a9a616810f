"""Folders as versions: 10,000 files of 10 KB, and one of 2 GB changed in place and by an insertion.

Budgets: status of 10,000 unchanged files in 0.1 s; the large file again in 1 s and 1.5 times the changed bytes stored. Floors
of the same run: `scandir` with `stat`, reading and BLAKE3 of the bytes, `cp -r`. DVC gets a column if it is on the PATH.
`--small` runs it once, briefly.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from mainspring.data import dataset
from mainspring.data.trees.status import tree_status
from mainspring.workspace import Workspace, using

FILE_BYTES = 10_000


def seconds(call: Callable[[], object], rounds: int = 1) -> float:
    """The time of the fastest of some calls."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def look(root: Path) -> None:
    """The floor of status: the state of every file."""
    with os.scandir(root) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)


def digest(root: Path) -> None:
    """The floor of adding: read and digest every file."""
    for path in root.iterdir():
        hasher = blake3(max_threads=blake3.AUTO)
        with path.open("rb", buffering=0) as file:
            while part := file.read(4 << 20):
                hasher.update(part)
        hasher.digest()


def made(root: Path, count: int) -> Path:
    """A folder of random files."""
    root.mkdir()
    for number in range(count):
        (root / f"{number:05}.bin").write_bytes(os.urandom(FILE_BYTES))
    return root


def stored(workspace: Workspace) -> int:
    """Bytes in the blob store."""
    return sum(info.size_bytes for info in workspace.blobs.list())


def dvc(folder: Path, *words: str) -> float | None:
    """The time of a command of DVC, None without one."""
    if shutil.which("dvc") is None:
        return None
    return seconds(lambda: subprocess.run(["dvc", "-q", *words], cwd=folder, check=True))


def settled(root: Path) -> None:
    """Wait for the disk, and have the files in memory: what is measured next is neither's."""
    os.sync()
    digest(root)


def line(what: str, ours: float, floor: float, floor_name: str, budget: str = "", other: float | None = None) -> None:
    """One line of the table."""
    beside = f", DVC {other:.2f} s" if other is not None else ""
    print(f"{what}: {ours:.3f} s, {ours / floor:.1f} x {floor_name} ({floor:.3f} s){budget}{beside}")


def many(folder: Path, count: int, rounds: int) -> None:
    """Add, status, add again, check out: many small files."""
    root, cards, size = made(folder / "many", count), dataset("cards"), f"{count:,} files"
    if shutil.which("dvc"):
        subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    hashing = seconds(lambda: digest(root), 2)
    line(
        f"add {size}", seconds(lambda: cards.add(root)), hashing, "reading and BLAKE3", other=dvc(folder, "add", "many")
    )
    version = cards.latest()
    time.sleep(0.05)  # the index trusts no stamp of this very instant
    tree_status(root, version)
    floor = seconds(lambda: look(root), rounds)
    status = seconds(lambda: tree_status(root, version), rounds)
    line(
        f"status of {size}, nothing changed",
        status,
        floor,
        "scandir and stat",
        " (budget 0.1 s)",
        dvc(folder, "status"),
    )
    for number in random.Random(1).sample(range(count), max(count // 100, 1)):
        (root / f"{number:05}.bin").write_bytes(os.urandom(FILE_BYTES))
    line(
        "add again after 1 % changed",
        seconds(lambda: cards.add(root)),
        floor,
        "scandir and stat",
        other=dvc(folder, "add", "many"),
    )
    copying = seconds(lambda: subprocess.run(["cp", "-r", root, folder / "copied"], check=True))
    newest = cards.latest()
    writing = seconds(lambda: newest.checkout(folder / "out"))
    shutil.rmtree(root)
    line(f"check out {size}", writing, copying, "cp -r", other=dvc(folder, "checkout"))
    line("check out again", seconds(lambda: newest.checkout(folder / "out")), floor, "scandir and stat")


def changed_in_place(file: Path, at: int, count: int) -> None:
    """Other bytes from an offset on."""
    with file.open("r+b") as out:
        out.seek(at)
        out.write(os.urandom(count))


def inserted(file: Path, at: int, count: int) -> None:
    """More bytes at an offset: all after it moves."""
    longer = file.parent.parent / "longer"
    with file.open("rb") as old, longer.open("wb") as out:
        for start in range(0, at, 1 << 20):
            out.write(old.read(min(1 << 20, at - start)))
        out.write(os.urandom(count))
        shutil.copyfileobj(old, out, 1 << 20)
    longer.replace(file)


def large(folder: Path, workspace: Workspace, size_bytes: int) -> None:
    """One large file, changed by one percent in place, and by an insertion: the median of three of each, as the disk's
    own work after the changes before (it frees what was deleted) comes and goes by seconds.
    """
    root, big, changed = folder / "large", dataset("big"), size_bytes // 100
    root.mkdir()
    file = root / "file.bin"
    with file.open("wb") as out:
        for _ in range(size_bytes // 1_000_000):
            out.write(os.urandom(1_000_000))
    name = f"{size_bytes / 1e9:g} GB"
    os.sync()
    copying = seconds(lambda: subprocess.run(["cp", file, folder / "copied-file"], check=True))
    (folder / "copied-file").unlink()
    settled(root)
    line(f"add one file of {name}", seconds(lambda: big.add(root)), copying, "cp", other=dvc(folder, "add", "large"))
    settled(root)
    floor = seconds(lambda: digest(root), 3)
    for what, change in (("changed in place", changed_in_place), ("inserted", inserted)):
        times, grown = [], []
        for number in range(3):
            before = stored(workspace)
            change(file, size_bytes // 3 + 1234 + number * size_bytes // 7, changed)
            settled(root)
            times.append(seconds(lambda: big.add(root)))
            grown.append((stored(workspace) - before) / changed)
        budget = (
            f", {max(grown):.2f} x the changed bytes stored (budget 1 s, 1.5); the slowest of three {max(times):.3f} s"
        )
        line(
            f"{name} again, 1 % {what}",
            statistics.median(times),
            floor,
            "reading and BLAKE3",
            budget,
            dvc(folder, "add", "large"),
        )


def main() -> None:
    """Print the ratios."""
    count, rounds, size_bytes = (300, 2, 40_000_000) if "--small" in sys.argv else (10_000, 5, 2_000_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Workspace.open(folder / "project") as workspace, using(workspace):
            many(folder, count, rounds)
            large(folder, workspace, size_bytes)


if __name__ == "__main__":
    main()
