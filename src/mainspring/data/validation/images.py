"""Checks of images: each is a row with its size, mode, brightness and nearest look-alike, and the checks are those of rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl

from mainspring.data.trees.images import decoded, quiet
from mainspring.data.trees.media import is_image, media_type, sniffed
from mainspring.data.trees.scan import unreadable
from mainspring.data.validation.checks import Check, check
from mainspring.data.validation.report import Report
from mainspring.data.validation.validation import validate
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.errors import InvalidError, MissingExtraError, NotFoundError

try:
    from PIL import Image
except ImportError as error:
    raise MissingExtraError("pillow", "images", "Checking images") from error

_IN_FLIGHT = 64
_HEAD_BYTES = 16  # what tells a media type
_SCHEMA = {
    "file": pl.String, "problem": pl.String, "width": pl.Int64, "height": pl.Int64, "mode": pl.String,
    "brightness": pl.Float64, "hash": pl.UInt64,
}  # fmt: skip
_PAIRS_AT_ONCE = 1 << 22


def image_table(source: DatasetVersion | Path | str, *, distance: int | None = 4) -> pl.DataFrame:
    """One row for each image of a tree or folder, sorted by file.

    `problem` says why an image can't be read, and is null otherwise; `brightness` is the mean from 0 to 1; `hash` is its
    dHash (64 bits: of 9 × 8 grey pixels, which are brighter than their left neighbour); `like` is the first earlier file
    whose hash differs in at most `distance` bits (None leaves it null). Images are known by their first bytes or their
    suffix, as in a tree's profile; links to files of the same folder are left out.

    Raises:
        MissingExtraError: Pillow is not installed.
        NotFoundError: there is no such folder.
        StorageError: a file of it can't be read.
    """
    if distance is not None and not 0 <= distance <= 64:
        raise InvalidError("distance", distance, "a number of bits from 0 to 64")
    with quiet(), ThreadPoolExecutor(2) as pool:
        rows = list(_mapped(pool, _looked_at, _files(source)))
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("file")
    like = None if distance is None else pl.Series(_look_alikes(frame, distance), dtype=pl.String)
    return frame.with_columns(pl.lit(like, pl.String).alias("like"))


def check_images(
    source: DatasetVersion | Path | str, checks: Iterable[Check] = (), *, distance: int | None = 4, subject: str = ""
) -> Report:
    """Hold the images of a tree or folder to checks of the columns that `image_table` gives; examples name the file.

    Besides `checks`, every image must be readable, and none may look like another by at most `distance` bits of its hash
    (a warning; None leaves it out).

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp(), "cards")
    >>> folder.mkdir()
    >>> Image.new("L", (64, 40)).save(folder / "front.png")
    >>> print(check_images(folder, [check.between("width", 32, 4096), check.is_in("mode", ["RGB"])], subject="cards"))
    cards: 3 of 4 checks passed on 1 row
      ok    images can be read
      ok    no look-alikes
      ok    width between 32 and 4096
      STOP  mode in [RGB]: 1 row fails (100 %)
    """
    frame = image_table(source, distance=distance)
    own = [check.expression("images can be read", "problem is null")]
    if distance is not None:
        own.append(check.expression("no look-alikes", '"like" is null', severity="warn"))
    return validate(frame, [*own, *checks], subject=subject or str(source), key="file")


def _files(source: DatasetVersion | Path | str) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    """The images of a source, with what opens each."""
    if isinstance(source, DatasetVersion):
        for file in source.list_files():
            if not file.link and is_image(file.path, file.media_type):
                yield file.path, lambda path=file.path: source.open(path)  # type: ignore[misc]  # bound at once
        return
    if not isinstance(source, str | os.PathLike):
        expect_version(source, "source")
    folder = Path(source)
    if not folder.is_dir():
        raise NotFoundError("folder", str(source))
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _is_link_within(path, folder) and is_image(path.name, _media(path)):
            yield path.relative_to(folder).as_posix(), lambda path=path: path.open("rb")  # type: ignore[misc]  # bound at once


def _is_link_within(path: Path, folder: Path) -> bool:
    return path.is_symlink() and path.resolve().is_relative_to(folder.resolve())


def _media(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return sniffed(path.name, file.read(_HEAD_BYTES)) or media_type(path.name)
    except OSError as error:
        raise unreadable(str(path), error) from error


def _mapped(pool: ThreadPoolExecutor, call: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
    """The results in order, some items ahead, so that few images are in memory at once.

    Each call runs in a copy of this context: the workspace in use is found by it.
    """
    waiting = [pool.submit(copy_context().run, call, item) for item in islice(items, _IN_FLIGHT)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(copy_context().run, call, item) for item in islice(items, 1)]


def _looked_at(item: tuple[str, Callable[[], BinaryIO]]) -> tuple[Any, ...]:
    name, opened = item
    with opened() as file:
        found, problem = decoded(file, _measured)
    return (name, None, *found) if found is not None else (name, problem, *[None] * 5)


def _measured(image: Image.Image) -> tuple[int, int, str, float, int]:
    grey = image.convert("L")
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX))
    bits = np.packbits(small[:, 1:] > small[:, :-1]).tobytes()
    return image.width, image.height, image.mode, float(np.asarray(grey).mean()) / 255, int.from_bytes(bits, "big")


def _look_alikes(frame: pl.DataFrame, distance: int) -> list[str | None]:
    """For each image the first earlier one that looks like it: every pair is compared, 64 bits at a time."""
    readable = frame.with_row_index("at").filter(pl.col("hash").is_not_null())
    hashes = readable["hash"].to_numpy()
    at, names = readable["at"].to_list(), readable["file"].to_list()
    found: list[str | None] = [None] * frame.height
    step = max(1, _PAIRS_AT_ONCE // max(len(hashes), 1))
    for start in range(0, len(hashes), step):
        block = hashes[start : start + step]
        alike = np.bitwise_count(block[:, None] ^ hashes[None, : start + len(block)]) <= distance
        for row in np.flatnonzero(alike.sum(axis=1) > 0):
            first = int(alike[row].argmax())
            if first < start + row:
                found[at[start + row]] = names[first]
    return found
