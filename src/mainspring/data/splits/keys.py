"""A 64-bit number for each key: the same in every process, release of Polars and platform, whatever stands beside it.

The state starts as BLAKE3 of the salt and absorbs 64-bit words: s ← mix((s ⊕ word) + golden), mix being splitmix64's. Equal
values give equal words in every width or unit. Integers, booleans and whole floats or decimals give themselves; other floats
their IEEE bits; times microseconds, and nanoseconds if there are any; text its length in bytes, then its bytes by eights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from blake3 import blake3

from mainspring.errors import InvalidError, counted

Words = np.ndarray[Any, np.dtype[np.uint64]]
RECIPE = 1
LONG_BYTES = (
    1024  # longer text is absorbed as its length and its BLAKE3 digest: the rounds below are one for eight bytes
)
_BLOCK = 65_536  # rows whose words stay in the processor's cache
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Kinds of values that could have the same words, but are never equal.
_FRACTION, _TEXT, _BYTES, _INSTANT, _SPAN, _CLOCK, _DECIMAL = (
    np.uint64(int.from_bytes(blake3(kind).digest(8), "little"))
    for kind in (b"fraction", b"text", b"bytes", b"instant", b"span", b"clock", b"decimal")
)
_US_PER_DAY = 86_400_000_000
_USED = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)  # the first so many bytes of a word


def hash_keys(columns: Sequence[pl.Series], salt: str = "") -> Words:
    """A number for each row from the values of one or more columns, evenly spread over 0 … 2⁶⁴ − 1.

    Raises:
        InvalidError: a row has no value, or a column is of a type that makes no key.

    >>> hash_keys([pl.Series([7], dtype=pl.Int8)]) == hash_keys([pl.Series([7.0])])
    array([ True])
    """
    rows = len(columns[0])
    expect_no_nulls({column.name: column.null_count() for column in columns})
    out = np.empty(rows, np.uint64)
    for start in range(0, rows, _BLOCK):
        state = out[start : start + _BLOCK]
        state[:] = _seed(salt)
        for column in columns:
            _absorb_column(state, column.slice(start, _BLOCK))
    return out


def expect_no_nulls(nulls: Mapping[str, int]) -> None:
    """Go on only if no column of a key has a null, given how many each has; raises `InvalidError`."""
    for column, count in nulls.items():
        if count:
            hint = "Drop these rows first, or fill in a value."
            raise InvalidError(column, counted(count, "null"), "a key in every row", hint)


def hash_positions(count: int, salt: str = "") -> Words:
    """A number for each of the first rows from its position alone."""
    out = np.full(count, _seed(salt), np.uint64)
    for start in range(0, count, _BLOCK):
        block = out[start : start + _BLOCK]
        _absorb(block, np.arange(start, start + len(block), dtype=np.uint64))
    return out


def fractions(numbers: Words) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers as floats, evenly spread over 0 ≤ x < 1."""
    shifted: np.ndarray[Any, np.dtype[np.float64]] = (numbers >> np.uint64(11)).astype(np.float64)
    return shifted * 2.0**-53


def _seed(salt: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake3(f"split {RECIPE} {salt}".encode()).digest(8), "little"))


def _absorb(state: Words, words: Words) -> None:
    """Take a word for each row into the state, in place; sums and products are modulo 2⁶⁴."""
    state ^= words
    state += _GOLDEN
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)


def _absorb_some(state: Words, rows: Any, words: Words) -> None:
    """Take words into the state of some rows only; `rows` is a mask or positions."""
    some = state[rows]
    _absorb(some, words)
    state[rows] = some


def _absorb_column(state: Words, column: pl.Series) -> None:
    dtype = column.dtype
    if dtype.is_integer() or dtype == pl.Boolean:
        _absorb_integers(state, column)
    elif dtype.is_float():
        _absorb_floats(state, column.cast(pl.Float64).to_numpy())
    elif dtype == pl.String:
        _absorb_bytes(state, column, _TEXT)
    elif isinstance(dtype, pl.Categorical | pl.Enum):
        _absorb_bytes(state, column.cast(pl.String), _TEXT)
    elif dtype == pl.Binary:
        _absorb_bytes(state, column, _BYTES)
    elif dtype.is_temporal():
        _absorb_times(state, column)
    elif dtype.is_decimal():
        _absorb_decimals(state, column)
    else:
        raise InvalidError(column.name, str(dtype), "a key's type", "Numbers, text, bytes and times make keys.")


def _absorb_integers(state: Words, column: pl.Series) -> None:
    if column.dtype not in (pl.Int128, pl.UInt128):
        kind = pl.UInt64 if column.dtype == pl.UInt64 else pl.Int64
        _absorb(state, column.cast(kind).to_numpy().view(np.uint64))
        return
    _absorb(state, column.cast(pl.UInt64, wrap_numerical=True).to_numpy())
    low = 0 if column.dtype == pl.UInt128 else -(2**63)
    wide = ((column < low) | (column >= 2**64)).to_numpy()
    if wide.any():
        high = column.filter(pl.Series(wide)) // 2**64
        _absorb_some(state, wide, high.cast(pl.UInt64, wrap_numerical=True).to_numpy())


def _absorb_floats(state: Words, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    whole = (np.trunc(values) == values) & (np.abs(values) < 2.0**63)
    words = np.where(whole, values, 0.0).astype(np.int64).view(np.uint64)
    if not whole.all():
        normal = np.where(np.isnan(values), np.nan, values)
        words = np.where(whole, words, normal.view(np.uint64) ^ _FRACTION)
    _absorb(state, words)


def _absorb_times(state: Words, column: pl.Series) -> None:
    dtype = column.dtype
    values = column.to_physical().cast(pl.Int64).to_numpy()
    if dtype == pl.Time:
        _absorb(state, values.view(np.uint64) ^ _CLOCK)
        return
    tag = _SPAN if isinstance(dtype, pl.Duration) else _INSTANT
    unit = getattr(dtype, "time_unit", "day")
    rest = values % 1000 if unit == "ns" else None
    if unit == "ns":
        values = values // 1000
    elif unit != "us":
        values = values * (1000 if unit == "ms" else _US_PER_DAY)
    _absorb(state, values.view(np.uint64) ^ tag)
    if rest is not None and rest.any():
        some = rest != 0
        _absorb_some(state, some, rest[some].view(np.uint64))


def _absorb_decimals(state: Words, column: pl.Series) -> None:
    text = column.cast(pl.String)
    pointed = text.str.contains(".", literal=True)
    bare = text.str.strip_chars_end("0").str.strip_chars_end(".")
    text = bare.zip_with(pointed, text)
    whole = text.str.contains(r"^-?\d{1,18}$")
    mask = whole.to_numpy()
    _absorb_some(state, mask, text.filter(whole).cast(pl.Int64).to_numpy().view(np.uint64))
    if not mask.all():
        others = state[~mask]
        _absorb_bytes(others, text.filter(~whole), _DECIMAL)
        state[~mask] = others


def _absorb_bytes(state: Words, column: pl.Series, tag: np.uint64) -> None:
    is_text = column.dtype == pl.String
    sizes = column.str.len_bytes() if is_text else column.bin.size()
    lengths = sizes.cast(pl.Int64).to_numpy()
    _absorb(state, lengths.view(np.uint64) ^ tag)
    long = lengths > LONG_BYTES
    if long.any():
        _absorb_long(state, column.filter(pl.Series(long)), np.flatnonzero(long))
        short = state[~long]
        _absorb_eights(short, column.filter(pl.Series(~long)), lengths[~long])
        state[~long] = short
    else:
        _absorb_eights(state, column, lengths)


def _absorb_long(state: Words, column: pl.Series, places: Any) -> None:
    values = (value.encode() if isinstance(value, str) else value for value in column)
    digests = np.frombuffer(b"".join(blake3(value).digest() for value in values), "<u8").reshape(-1, 4)
    for word in range(4):
        _absorb_some(state, places, digests[:, word].astype(np.uint64))


def _absorb_eights(state: Words, column: pl.Series, lengths: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    """Take in the bytes of each row, eight at a time, the last ones filled up with zeros."""
    data = _joined(column) + bytes(8)
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))  # a word begins at every byte
    starts = np.cumsum(lengths) - lengths
    for done in range(0, int(lengths.max(initial=0)), 8):
        left = lengths - done
        alive = np.flatnonzero(left > 0)
        taken = words[starts[alive] + done].astype(np.uint64)
        taken &= _USED[np.minimum(left[alive], 8)]
        if len(alive) == len(state):
            _absorb(state, taken)
        else:
            _absorb_some(state, alive, taken)


def _joined(column: pl.Series) -> bytes:
    if not len(column):
        return b""
    if column.dtype == pl.String:
        joined: bytes = column.str.join("").cast(pl.Binary).item()
        return joined
    return bytes.fromhex(column.bin.encode("hex").str.join("").item())  # Polars joins text only
