"""What versions of trees tell: files, what a checkout did, a profile. These records stand below trees and versions."""

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


class MediaCount(msgspec.Struct, frozen=True):
    """Files and bytes of one media type."""

    media_type: str
    files: int
    size_bytes: int


class SizeCount(msgspec.Struct, frozen=True):
    """How many files have at least `from_bytes` and fewer than the next entry's."""

    from_bytes: int
    files: int


class BrokenImage(msgspec.Struct, frozen=True):
    """An image whose pixels can't be decoded, and why."""

    path: str
    problem: str


class TreeProfile(msgspec.Struct, frozen=True):
    """A tree at a glance.

    `image_sizes` counts images by `width×height`, the most frequent first. `images_checked` is false where Pillow (the
    extra `images`) is not installed. `contact_sheet` is a PNG of at most 64 thumbnails, chosen evenly by path.
    """

    files: int
    size_bytes: int
    media: tuple[MediaCount, ...]
    sizes: tuple[SizeCount, ...]
    largest: tuple[TreeFile, ...]
    images_checked: bool
    broken_images: tuple[BrokenImage, ...]
    image_sizes: dict[str, int]
    contact_sheet: bytes = b""
