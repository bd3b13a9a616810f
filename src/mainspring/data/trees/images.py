"""Images by Pillow: which can't be read, how large they are, and many small ones on one sheet."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import BinaryIO

from mainspring.errors import MissingExtraError, shorten

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise MissingExtraError("pillow", "images", "Looking into images") from error

TILE = 96
_COLUMNS = 8
_MOST_PIXELS = 1 << 28  # larger ones are told as broken rather than unpacked into a gigabyte
_BROKEN = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError)


def looked_at(file: BinaryIO) -> tuple[str, str, Image.Image | None]:
    """An image's size (`640×480`), what is wrong with it, and a thumbnail; all its pixels are decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, and of sizes below our own limit
            with Image.open(file) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    return "", f"it has {width}×{height} pixels", None
                image.load()
                thumbnail = ImageOps.exif_transpose(image).convert("RGB")
                thumbnail.thumbnail((TILE, TILE))
                return f"{width}×{height}", "", thumbnail
    except _BROKEN as error:
        return "", shorten(str(error).replace(repr(file), "the file")) or type(error).__name__, None


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
