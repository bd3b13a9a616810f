"""Folders made from dictionaries, and read back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mainspring.workspace import Workspace


def content(root: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files."""
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def tree_of(root: Path) -> dict[str, bytes]:
    """Every file of a folder by its path in it, links followed."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def rewrite(path: Path, data: bytes) -> None:
    """Write a file as editors do: a new one in its place."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def stored_bytes(workspace: Workspace) -> int:
    """How much the blob store holds."""
    return sum(info.size_bytes for info in workspace.blobs.list())


def spoil(workspace: Workspace, blob: str, at: int) -> None:
    """Flip a byte of a stored blob."""
    path = Path(workspace.blobs.place) / blob[:2] / blob
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
