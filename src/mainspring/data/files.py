"""What versions of trees tell of files: a file, and what a checkout did. These records stand below trees and versions."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

Progress = Callable[[int, int, int], None]
"""Called with the files done, the bytes done, and the bytes of all that is to do."""


class TreeFile(msgspec.Struct, frozen=True):
    """A file of a tree: its path, the BLAKE3 digest of its bytes as `b3sum` prints it, size, media type.

    `link` is the target of a symbolic link, empty for a file.
    """

    path: str
    digest: str
    size_bytes: int
    media_type: str
    executable: bool = False
    link: str = ""


class Checkout(msgspec.Struct, frozen=True):
    """What a checkout did.

    `written` and `removed` are paths, `kept` counts files that were right already, `left` are files that an older version
    placed and this one lacks, left alone because they were changed.
    """

    path: str
    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: int
    left: tuple[str, ...]
    written_bytes: int
