"""Rows that are almost the same: equal once numbers are rounded and text is simplified, or long text with the same phrases.

Every look costs one pass over each part. Phrases are compared by MinHash (Broder, "On the resemblance and containment of
documents", 1997): 32 minima over runs of three words, in eight bands of four, on a sample of the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from mainspring.data.splits.keys import Words, hash_keys, hash_positions

FIGURES = 3  # significant figures that numbers are rounded to
SAMPLED_ROWS = 50_000
ALIKE = 0.8  # of the minima: about the share of phrases that two texts have in common
LONG_TEXT_CHARACTERS = 40  # on average
_MINIMA, _BANDS, _RUN = 32, 8, 3
_FEWEST_WORDS = 5
Array = np.ndarray[Any, np.dtype[Any]]


def simplified(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers rounded to three significant figures; text in small letters, its letters and digits only."""
    changed = []
    for name, dtype in table.schema.items():
        column = pl.col(name)
        if dtype.is_numeric():
            changed.append(column.cast(pl.Float64).round_sig_figs(FIGURES) + 0.0)
        elif dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
            changed.append(_plain_text(column.cast(pl.String)))
    return table.with_columns(changed)


def _plain_text(column: pl.Expr) -> pl.Expr:
    letters = column.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ")
    return letters.str.strip_chars()


def long_texts(table: pl.LazyFrame) -> list[str]:
    """The columns that hold texts rather than names."""
    names = [name for name, dtype in table.collect_schema().items() if dtype == pl.String]
    if not names:
        return []
    means = table.select(pl.col(names).str.len_chars().mean()).collect(engine="streaming").row(0)
    return [name for name, mean in zip(names, means, strict=True) if (mean or 0) >= LONG_TEXT_CHARACTERS]


def alike_texts(train: pl.Series, test: pl.Series) -> Array:
    """For each text of `test`, the place of one in `train` with nearly the same phrases, or −1.

    Texts of fewer than five words are left alone: chance makes them alike.
    """
    ours, theirs = _minima(test), _minima(train)
    found = np.full(len(test), -1, np.int64)
    has = np.flatnonzero(theirs.any(axis=1))
    if not len(has):
        return found
    known = theirs[has]
    width = _MINIMA // _BANDS
    for band in range(_BANDS):
        columns = slice(band * width, (band + 1) * width)
        bands, firsts = np.unique(_folded(known[:, columns]), return_index=True)
        mine = _folded(ours[:, columns])
        place = np.minimum(np.searchsorted(bands, mine), len(bands) - 1)
        other = firsts[place]
        same = (bands[place] == mine) & ((ours == known[other]).mean(axis=1) >= ALIKE) & ours.any(axis=1)
        found = np.where((found < 0) & same, has[other], found)
    return found


def _folded(values: Words) -> Words:
    """One number for each row of several."""
    total = np.zeros(len(values), np.uint64)
    for column in values.T:
        total = (total ^ column) * np.uint64(0x9E3779B97F4A7C15)
        total ^= total >> np.uint64(29)
    return total


def _minima(texts: pl.Series) -> Words:
    """The signature of each text, in rows; zeros where there are too few words."""
    words = texts.to_frame("text").select(_plain_text(pl.col("text")).fill_null("").str.split(" "))
    counts = words["text"].list.len().cast(pl.Int64).to_numpy()
    row = np.repeat(np.arange(len(counts)), counts)
    numbers = hash_keys([words["text"].explode().cast(pl.String)]) if len(row) else np.empty(0, np.uint64)
    out = np.zeros((len(counts), _MINIMA), np.uint64)
    begins = np.flatnonzero(counts[row] >= _FEWEST_WORDS)
    begins = begins[begins + _RUN - 1 < len(row)]
    begins = begins[row[begins] == row[begins + _RUN - 1]]
    if not len(begins):
        return out
    runs = _folded(np.stack([numbers[begins + step] for step in range(_RUN)], axis=1))
    owners, starts = np.unique(row[begins], return_index=True)
    for number, seed in enumerate(hash_positions(_MINIMA, "minima")):
        mixed = (runs ^ seed) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(31)
        out[owners, number] = np.minimum.reduceat(mixed * np.uint64(0x94D049BB133111EB), starts)
    return out
