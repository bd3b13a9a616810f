"""Files that a person names for a result, such as a page: what stops writing one is an error of ours that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mainspring.errors import MainspringError, StorageError


@contextmanager
def named_file(path: Path | str) -> Iterator[BinaryIO]:
    """A file to write to, in a folder that is there; one that was there before is replaced.

    Raises:
        StorageError: it can't be written.
    """
    path = Path(path)
    try:
        with path.open("wb") as file:
            yield file
    except MainspringError:  # of what is written, some of which are errors of the operating system, too
        raise
    except OSError as error:
        hint = "" if path.parent.is_dir() else f"There is no folder `{path.parent}`."
        raise StorageError(str(path), f"it can't be written ({error.strerror or error})", hint) from error


def write_named(path: Path | str, content: str | bytes) -> Path:
    """Write text, in UTF-8, or bytes to such a file.

    Raises:
        StorageError: it can't be written.
    """
    with named_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return Path(path)
