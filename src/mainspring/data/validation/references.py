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
