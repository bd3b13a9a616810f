"""UUIDs as keys: one form of each, whether it comes as an object, as its 16 bytes, or as text in any of its spellings."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import polars as pl

_BYTES = 16
_CUTS = (0, 8, 12, 16, 20, 32)  # of the 32 digits, for the form with hyphens
_FORM = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def uuid_bytes(value: Any) -> bytes:
    """The 16 bytes of a UUID: an object, bytes, or text of 32 digits, in either case, with hyphens, braces or `urn:uuid:`.

    Raises:
        ValueError, AttributeError: it is none.

    >>> uuid_bytes("{0000000A-0000-0000-0000-00000000000B}").hex()
    '0000000a00000000000000000000000b'
    """
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
    else:
        digits = value.lower().removeprefix("urn:").removeprefix("uuid:").strip("{}").replace("-", "")
        data = bytes.fromhex(digits) if len(digits) == 2 * _BYTES else b""
    if len(data) != _BYTES:
        raise ValueError(value)
    return data


def uuid_text(value: Any) -> str:
    """The same as text in lower case with hyphens; raises as `uuid_bytes`."""
    digits = uuid_bytes(value).hex()
    return "-".join(digits[start:end] for start, end in pairwise(_CUTS))


def uuid_texts(column: pl.Series) -> pl.Series:
    """A column of texts, bytes or objects as such texts. What is no UUID stays as it is (bytes in hex), so that it is none.

    >>> import polars as pl
    >>> uuid_texts(pl.Series(["urn:uuid:0000000A00000000000000000000000B", "no"])).to_list()
    ['0000000a-0000-0000-0000-00000000000b', 'no']
    """
    import polars as pl

    if column.dtype == pl.Object:
        return pl.Series(column.name, [None if value is None else uuid_text(value) for value in column], pl.String)
    if column.dtype == pl.Binary:
        told = digits = column.bin.encode("hex")
    else:
        told = column.cast(pl.String)
        if is_uuid_text(told).all():  # the check takes a tenth of the time
            return told
        digits = told.str.to_lowercase().str.strip_prefix("urn:").str.strip_prefix("uuid:").str.strip_chars("{}")
        digits = digits.str.replace_all("-", "", literal=True)
    parts = [digits.str.slice(start, end - start) for start, end in pairwise(_CUTS)]
    whole = digits.str.contains(f"^[0-9a-f]{{{2 * _BYTES}}}$")
    return (
        pl.select(pl.when(whole).then(pl.concat_str(parts, separator="-")).otherwise(told))
        .to_series()
        .alias(column.name)
    )


def is_uuid_text(column: pl.Series) -> pl.Series:
    """Where texts are in the form that `uuid_text` gives; null where null."""
    return column.str.contains(_FORM)


def uuid_column(name: str) -> pl.Expr:
    """`uuid_texts` of a column of a lazy frame."""
    import polars as pl

    return pl.col(name).map_batches(uuid_texts, return_dtype=pl.String, is_elementwise=True)
