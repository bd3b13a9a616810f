"""The other tables that checks speak of: the keys of another dataset, the version before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.data.validation.checks import Check
from mainspring.data.version import DatasetVersion

if TYPE_CHECKING:
    import polars as pl


def keys_of(check: Check) -> tuple[pl.DataFrame, str]:
    """The distinct keys that `in_dataset` allows, and the version that they are of; raises if there is none."""
    version = looked_up(check.dataset)
    return version.scan().select(check.dataset_columns).unique().collect(), str(version)


def keys_taken(
    check: Check, given: pl.LazyFrame, version: DatasetVersion, replacing: tuple[str, ...]
) -> tuple[pl.DataFrame, str]:
    """Of the keys that `unique` speaks of those that a version has already, and the version; only these columns are read.

    With `replacing`, rows of the same values in these columns count as gone: the given ones take their place.
    """
    keys = list(check.columns)
    stored = version.scan()
    if replacing:
        stored = stored.join(given.select(replacing).unique(), on=replacing, how="anti", nulls_equal=True)
    ours = given.select(keys).unique()
    found = stored.select(keys).join(ours, on=keys, how="semi", nulls_equal=True).unique()
    return found.collect(engine="streaming"), str(version)


def rows_added(version: DatasetVersion) -> int:
    """How many rows a version has more than the one before; all of them, if it has no more."""
    before = previous_of(version)
    added = version.rows - (before.rows if before else 0)
    return added if added > 0 else version.rows


def previous_of(version: DatasetVersion | str) -> DatasetVersion | None:
    """The version before one, or the one of a reference; None if it is the first."""
    if isinstance(version, str):
        return looked_up(version)
    return looked_up(version.parent) if version.parent else None


def looked_up(reference: str) -> DatasetVersion:
    """A dataset's version by `name` (its newest), `name/3`, `name/tag` or id."""
    from mainspring.data import get_dataset_version

    name, slash, _ = reference.partition("/")
    is_id = len(name) == 32 and all(letter in "0123456789abcdef" for letter in name)
    return get_dataset_version(reference if slash or is_id else f"{name}/latest")
