"""A disk that is full, as libraries tell it: their errors hide that of the operating system in a text."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from mainspring.errors import StorageError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# DuckDB takes what is left of the disk for the limit of what it may spill there.
_TOLD = re.compile("|".join([*(re.escape(os.strerror(each)) for each in NO_SPACE), "max_temp_directory_size"]))


@contextmanager
def naming_full_disk(place: object) -> Iterator[None]:
    """Any error of the block that comes of a full disk is one that names the place.

    Raises:
        StorageError: there is no space left.

    >>> with naming_full_disk("/data"):
    ...     raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    Traceback (most recent call last):
    mainspring.errors.StorageError: /data: the disk is full. Free some space; nothing is damaged.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if not _tells_of_space(error):
            raise
        raise StorageError(str(place), "the disk is full", "Free some space; nothing is damaged.") from error


def _tells_of_space(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return True
    cause = error.__cause__
    return bool(_TOLD.search(str(error))) or (cause is not None and _tells_of_space(cause))
