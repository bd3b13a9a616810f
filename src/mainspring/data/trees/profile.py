"""What a tree holds, for people: media types, sizes, the largest files, broken images, and a sheet of thumbnails.

It is a function of the content digest (and of whether Pillow is there), and kept in this machine's cache under that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from mainspring.data.files import BrokenImage, MediaCount, Progress, SizeCount, TreeFile, TreeProfile
from mainspring.data.trees.media import is_image
from mainspring.data.trees.reading import TreeReader
from mainspring.data.version import DatasetVersion
from mainspring.errors import MissingExtraError
from mainspring.workspace import Workspace, current_workspace

THUMBNAILS = 64
_FORMAT = 2
_LARGEST = 10
_BOUNDS = (0, 1 << 10, 10 << 10, 100 << 10, 1 << 20, 10 << 20, 100 << 20, 1 << 30)


def tree_profile(
    version: DatasetVersion, workspace: Workspace | None = None, *, progress: Progress | None = None
) -> TreeProfile:
    """The profile of a version, made when it is first asked for; every image is decoded then.

    Raises:
        CorruptBlobError: a stored image no longer matches its digest.
    """
    version.expect("tree")
    workspace = workspace or current_workspace()
    kind = "images" if _has_pillow() else "plain"
    file = workspace.cache / "profiles" / f"{version.content_digest}.{kind}.{_FORMAT}"
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.msgpack.decode(file.read_bytes(), type=TreeProfile)
    with TreeReader(workspace.blobs, version.manifest, str(version)) as reader:
        profile = _profiled(reader, progress, with_images=kind == "images")
    _keep(file, profile)
    return profile


def _profiled(reader: TreeReader, progress: Progress | None, *, with_images: bool) -> TreeProfile:
    files = [file for file in reader.files() if not file.link]
    broken: list[BrokenImage] = []
    sizes: dict[str, int] = {}
    sheet = b""
    if with_images:
        images = [file for file in files if is_image(file.path, file.media_type)]
        broken, sizes, sheet = _images(reader, images, progress)
    return TreeProfile(
        files=len(reader.entries), size_bytes=sum(file.size_bytes for file in files), media=_media(files),
        sizes=_histogram(files), largest=tuple(sorted(files, key=lambda file: (-file.size_bytes, file.path))[:_LARGEST]),
        images_checked=with_images, broken_images=tuple(broken),
        image_sizes=dict(sorted(sizes.items(), key=lambda each: (-each[1], each[0]))), contact_sheet=sheet,
    )  # fmt: skip


def _images(
    reader: TreeReader, images: list[TreeFile], progress: Progress | None
) -> tuple[list[BrokenImage], dict[str, int], bytes]:
    from mainspring.data.trees.images import contact_sheet, decoded, quiet, thumbnail

    broken, sizes, tiles = [], {}, []  # type: ignore[var-annotated]  # a Pillow image can't be named without importing it
    shown = {number * len(images) // THUMBNAILS for number in range(THUMBNAILS)}
    total, done = sum(file.size_bytes for file in images), 0
    for number, file in enumerate(images):
        with reader.open(file.path) as opened, quiet():
            found, problem = decoded(opened, thumbnail)
        if found is None:
            broken.append(BrokenImage(file.path, problem))
        else:
            sizes[found[0]] = sizes.get(found[0], 0) + 1
            if number in shown:
                tiles.append(found[1])
        done += file.size_bytes
        if progress is not None:
            progress(number + 1, done, total)
    return broken, sizes, contact_sheet(tiles)


def _media(files: Iterable[TreeFile]) -> tuple[MediaCount, ...]:
    counts: dict[str, list[int]] = {}
    for file in files:
        count = counts.setdefault(file.media_type, [0, 0])
        count[0] += 1
        count[1] += file.size_bytes
    found = [MediaCount(media, count, size) for media, (count, size) in counts.items()]
    return tuple(sorted(found, key=lambda each: (-each.size_bytes, each.media_type)))


def _histogram(files: Iterable[TreeFile]) -> tuple[SizeCount, ...]:
    counts = dict.fromkeys(_BOUNDS, 0)
    for file in files:
        counts[max(bound for bound in _BOUNDS if bound <= file.size_bytes)] += 1
    return tuple(SizeCount(bound, count) for bound, count in counts.items() if count)


def _has_pillow() -> bool:
    try:
        import mainspring.data.trees.images  # noqa: F401  # whether it can be imported is the question
    except MissingExtraError:
        return False
    return True


def _keep(file: Path, profile: TreeProfile) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    with suppress(OSError):  # a cache that can't be written is done without
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.msgpack.encode(profile))
        temporary.replace(file)
