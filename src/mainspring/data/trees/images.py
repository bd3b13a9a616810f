"""Images by Pillow: which can't be decoded, what is measured of those that can, and many small ones on one sheet."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

from mainspring.errors import MissingExtraError, shorten

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise MissingExtraError("pillow", "images", "Looking into images") from error

Found = TypeVar("Found")
TILE = 96
_COLUMNS = 8
_MOST_PIXELS = 1 << 28  # larger ones are told as broken rather than unpacked into a gigabyte
_BROKEN = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of damaged metadata, and of sizes below our own limit; the filters are those of the whole process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decoded(file: BinaryIO, measure: Callable[[Image.Image], Found]) -> tuple[Found | None, str]:
    """What `measure` makes of an image, all its pixels decoded and upright; or None, and what is wrong with it."""
    try:
        with Image.open(file) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None, f"it has {image.width}×{image.height} pixels"
            image.load()
            return measure(ImageOps.exif_transpose(image)), ""
    except _BROKEN as error:
        return None, shorten(str(error).replace(f" {file!r}", "")) or type(error).__name__


def thumbnail(image: Image.Image) -> tuple[str, Image.Image]:
    """An image's size (`640×480`), and a small one of it."""
    small = image.convert("RGB")
    small.thumbnail((TILE, TILE))
    return f"{image.width}×{image.height}", small


def contact_sheet(thumbnails: Iterable[Image.Image]) -> bytes:
    """Thumbnails in rows of eight on one PNG; empty without any."""
    tiles = list(thumbnails)
    if not tiles:
        return b""
    step = TILE + 4
    columns, rows = min(len(tiles), _COLUMNS), -(-len(tiles) // _COLUMNS)
    sheet = Image.new("RGB", (columns * step, rows * step), "white")
    for number, tile in enumerate(tiles):
        left, top = number % _COLUMNS * step, number // _COLUMNS * step
        sheet.paste(tile, (left + (step - tile.width) // 2, top + (step - tile.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
