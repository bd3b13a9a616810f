"""Whole copies of files: blocks are shared where the file system can, and a copy that would be short is an error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from mainspring.store.blobs import write_all

_PART_BYTES = 64 << 20
_READ_BYTES = 1 << 20
# Across file systems, on one that can't, or in a container that forbids the call. Anything else is true of any copy.
_CANNOT_SHARE = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


def copy_file(source: Path, handle: int) -> None:
    """Copy a file to an empty one, open for writing; shared blocks stay so until one of the two is written to.

    Raises:
        OSError: the disk is full, or the copy is not as long as the file; what was written is of no use.
    """
    with source.open("rb", buffering=0) as old:
        if not _share_blocks(old.fileno(), handle):
            os.lseek(handle, 0, os.SEEK_SET)
            os.lseek(old.fileno(), 0, os.SEEK_SET)
            while data := old.read(_READ_BYTES):
                write_all(handle, data)
        size, copied = os.fstat(old.fileno()).st_size, os.fstat(handle).st_size
    if copied != size:
        raise OSError(errno.EIO, f"only {copied:,} of {size:,} bytes were copied", str(source))


def _share_blocks(old: int, new: int) -> bool:
    """Whether the kernel copied the file; also false where its call stops early, as on some network file systems."""
    if not hasattr(os, "copy_file_range"):
        return False
    try:
        while os.copy_file_range(old, new, _PART_BYTES):
            pass
    except OSError as error:
        if error.errno not in _CANNOT_SHARE:
            raise
        return False
    return os.fstat(new).st_size == os.fstat(old).st_size
