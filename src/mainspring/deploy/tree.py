"""Files that go into a layer: their paths in the image, what they hold, and whether they are programs.

Invariant: of a file nothing counts but these, so that owners, times and the umask of this machine are in no image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class File(msgspec.Struct, frozen=True):
    """A file: its bytes, or where they lie."""

    content: bytes | Path
    is_program: bool = False

    def read(self) -> bytes:
        """Its bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    @property
    def size_bytes(self) -> int:
        """How many these are."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


Tree = Mapping[str, File]
"""Files by their relative POSIX paths."""


def below(folder: str, tree: Tree) -> dict[str, File]:
    """The same files in a folder."""
    return {f"{folder}/{path}": file for path, file in tree.items()}
