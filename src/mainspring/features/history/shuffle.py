"""Rows on disk by number, so that what belongs together is read together, whatever the memory."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mainspring.features.history.keys import unmet
from mainspring.features.history.known import Whole
from mainspring.store.scratch import Scratch
from mainspring.store.space import naming_full_disk


class Shuffle:
    """Rows laid on numbered piles on disk; each pile gives back its rows in the order in which they came."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._files: dict[tuple[str, int], list[Path]] = {}
        self._empty: dict[str, pl.DataFrame] = {}

    def write(self, name: str, frame: pl.DataFrame, piles: Whole) -> None:
        """Lay each row on its pile; those of −1 on none."""
        self._empty.setdefault(name, frame.clear())
        (name_of_pile,) = unmet(["pile"], frame.columns)
        laid = frame.with_columns(pl.Series(name_of_pile, piles))
        parts = laid.partition_by(name_of_pile, as_dict=True, include_key=False)
        for (pile,), part in parts.items():
            if pile >= 0:
                files = self._files.setdefault((name, pile), [])
                path = self._scratch.path / f"{name}-{pile}-{len(files)}.parquet"
                with naming_full_disk(path):
                    part.write_parquet(path, compression="zstd", compression_level=1)
                files.append(path)

    def read(self, name: str, pile: int) -> pl.DataFrame:
        """The rows of a pile."""
        files = self._files.get((name, pile), [])
        return pl.read_parquet(files, glob=False, hive_partitioning=False) if files else self._empty[name]

    def take(self, name: str, pile: int) -> pl.DataFrame:
        """The rows of a pile, which is removed."""
        frame = self.read(name, pile)
        for path in self._files.pop((name, pile), []):
            path.unlink()
        return frame

    def close(self) -> None:
        """Remove all piles."""
        self._scratch.close()
