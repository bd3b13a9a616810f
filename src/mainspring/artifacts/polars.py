"""The codecs of Polars frames and series. A frame's content digest is the table digest itself, as of a dataset version."""

from __future__ import annotations

import polars as pl

from mainspring.artifacts._frames import compare_frames, get_frame, preview_frame, put_frame
from mainspring.artifacts.codec import BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.table import TABLE_RECIPE, sort_rows, table_digest
from mainspring.errors import CodecError


class FrameCodec:
    """DataFrame."""

    name, recipe, immutable = "polars.frame", TABLE_RECIPE, True
    types = ("polars.dataframe.frame.DataFrame",)

    def digest(self, value: pl.DataFrame) -> str:
        """The table digest."""
        return table_digest(_plain_frame(value)).digest

    def encode(self, value: pl.DataFrame, blobs: BlobAccess) -> Encoded:
        """One Parquet blob."""
        return Encoded(self.name, *put_frame(_plain_frame(value), blobs))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> pl.DataFrame:
        """A DataFrame."""
        return get_frame(encoded.blob, blobs)

    def preview(self, value: pl.DataFrame) -> Preview:
        """Shape, schema, first rows."""
        return preview_frame(_plain_frame(value))

    def compare(self, old: pl.DataFrame, new: pl.DataFrame, tolerance: Tolerance) -> Comparison:
        """By schema, then column by column."""
        return compare_frames(_plain_frame(old), _plain_frame(new), tolerance)

    def in_canonical_order(self, value: pl.DataFrame) -> pl.DataFrame:
        """The rows sorted by every column in turn."""
        return sort_rows(_plain_frame(value))


class SeriesCodec:
    """A series is a table of one column, under a digest family of its own."""

    name, recipe, immutable = "polars.series", TABLE_RECIPE, True
    types = ("polars.series.series.Series",)

    def digest(self, value: pl.Series) -> str:
        """Over its table digest."""
        return meaning_digest(self.name, self.recipe, table_digest(_plain(value).to_frame()).digest)

    def encode(self, value: pl.Series, blobs: BlobAccess) -> Encoded:
        """One Parquet blob."""
        return Encoded(self.name, *put_frame(_plain(value).to_frame(), blobs))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> pl.Series:
        """A Series."""
        return get_frame(encoded.blob, blobs).to_series()

    def preview(self, value: pl.Series) -> Preview:
        """Length, type, first values."""
        return preview_frame(value.to_frame(), "series")

    def compare(self, old: pl.Series, new: pl.Series, tolerance: Tolerance) -> Comparison:
        """As tables."""
        return compare_frames(old.to_frame(), new.to_frame(), tolerance)

    def in_canonical_order(self, value: pl.Series) -> pl.Series:
        """The values sorted."""
        return sort_rows(value.to_frame()).to_series()


def _plain_frame(value: pl.DataFrame) -> pl.DataFrame:
    if type(value) is not pl.DataFrame:
        raise CodecError(subclass_refused(value, "polars.DataFrame"))
    return value


def _plain(value: pl.Series) -> pl.Series:
    if type(value) is not pl.Series:
        raise CodecError(subclass_refused(value, "polars.Series"))
    return value


def subclass_refused(value: object, base: str) -> str:
    """What to say of a subclass, which would come back as its base."""
    cls = type(value)
    return (
        f"A value of `{cls.__module__}.{cls.__qualname__}` would come back as a plain `{base}`. "
        "Convert it yourself, or register a codec for the subclass."
    )
