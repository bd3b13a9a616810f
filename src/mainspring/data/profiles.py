"""What a table holds, as records."""

from __future__ import annotations

import msgspec

Scalar = int | float | str | bool | None


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column. Times and decimals stand as text; `mean` of flags is the share that is true; `nan` are not null.

    `quantiles` are at 5, 25, 50, 75 and 95 percent; `top` are the most frequent values of the sample with their counts.
    """

    name: str
    type: str
    nulls: int
    nan: int = 0
    distinct: int | None = None
    min: Scalar = None
    max: Scalar = None
    mean: float | None = None
    std: float | None = None
    quantiles: tuple[float, ...] = ()
    top: tuple[tuple[Scalar, int], ...] = ()


class TableProfile(msgspec.Struct, frozen=True):
    """A table's columns, and of how many rows quantiles and frequent values are."""

    rows: int
    sampled_rows: int
    columns: tuple[ColumnProfile, ...]
