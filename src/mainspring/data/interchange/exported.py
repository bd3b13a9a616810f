"""What an export wrote, and how it comes to stand in its place in one step."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from mainspring.errors import ExistsError, NotAllowedError, StorageError, shorten
from mainspring.store.space import naming_full_disk

_UNFINISHED = ".part"


class Exported(msgspec.Struct, frozen=True):
    """What an export wrote: `path` is a path or an address, `files` count those of the data.

    `table_rows` are all rows of the table that they were appended to, if they were.
    `cast` names the columns that have another type there, since the format lacks theirs, each with that type.
    """

    format: str
    path: str
    rows: int
    files: int
    size_bytes: int
    cast: tuple[tuple[str, str], ...] = ()
    table_rows: int | None = None


@contextmanager
def in_place_of(target: Path, *, overwrite: bool, suffix: str) -> Iterator[Path]:
    """A name beside a target for what is written; it takes the target's place if the block ends well.

    A file takes it in one step. POSIX has none for two folders: the former is missing for the instant between two renames,
    and comes back if the second one fails.

    Raises:
        ExistsError: something is there, and is not to be overwritten.
        NotAllowedError: a folder is to be overwritten that holds other files than those with this suffix.
        StorageError: it can't be written.
    """
    if os.path.lexists(target):
        if not overwrite:
            raise ExistsError("file or folder", str(target), "Overwrite it with `overwrite=True` (`--force`).")
        _expect_only(target, suffix)
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}{_UNFINISHED}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with naming_full_disk(target):
            yield unfinished
        if target.is_dir() and not target.is_symlink():
            former = unfinished.with_suffix(".former")
            os.replace(target, former)
            try:
                os.replace(unfinished, target)
            except OSError:
                os.replace(former, target)
                raise
            shutil.rmtree(former)
        else:
            os.replace(unfinished, target)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(str(target), f"it can't be written ({error.strerror or shorten(str(error))})") from error
    finally:
        with suppress(OSError):
            (shutil.rmtree if unfinished.is_dir() else os.unlink)(unfinished)


def _expect_only(target: Path, suffix: str) -> None:
    if not target.is_dir():
        return
    for folder, _, names in os.walk(target):
        for name in names:
            if not name.endswith(suffix):
                raise NotAllowedError(
                    f"{target} holds other files than an export's, e.g. `{os.path.join(folder, name)}`; choose another folder."
                )
