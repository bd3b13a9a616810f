"""What a model needs to be there: how long loading it takes, the memory that it holds then, the bytes that are stored.

Measured once, when a version is registered, by loading what was stored. Libraries are imported by then, so their time and
memory are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mainspring.artifacts import Encoded, load
from mainspring.artifacts.project import importing_from
from mainspring.models.pickled import CODEC
from mainspring.models.version import ResourceNeeds
from mainspring.runners.resources import uncollected
from mainspring.workspace import Workspace

_LARGEST_BYTES = 1 << 30  # of more it would take as much time and memory again
_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()


def measure_needs(encoded: Encoded, workspace: Workspace, opened: Callable[[], Any] | None = None) -> ResourceNeeds:
    """Load what is stored once more, and give what it took; of more than 1 GiB only the size is told.

    `opened` loads what has no codec, such as a pickle that a person allowed; without it a pickle isn't opened.

    Raises:
        CodecError: it can't be loaded.
    """
    if opened is None and encoded.codec == CODEC:
        return ResourceNeeds(encoded.size_bytes, unmeasured="a pickle is not opened to be measured.")
    if encoded.size_bytes > _LARGEST_BYTES:
        return ResourceNeeds(encoded.size_bytes, unmeasured="loading more than 1 GiB once more takes too long.")
    used, again = _allocated(), opened or (lambda: load(encoded, workspace.blobs))
    with importing_from(workspace.project.source_roots), uncollected():
        before, began = used(), time.perf_counter()
        model = again()
        load_s, after = time.perf_counter() - began, used()
        del model
    grown = None if before is None or after is None else max(after - before, 0)
    return ResourceNeeds(encoded.size_bytes, load_s, grown)


@lru_cache(maxsize=1)
def _allocated() -> Callable[[], int | None]:
    """The bytes that the process has allocated, as the C library counts them; None where it doesn't tell.

    Resident memory doesn't tell: a forest of 25 MB took what was just freed, so that it grew by nothing. `tracemalloc` saw
    0.2 MB of it, as it doesn't see what C code allocates. Python's objects of at most 512 bytes are not in it.
    """
    import ctypes

    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]

    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)  # of glibc, from 2.33 on
    if mallinfo is None:
        return lambda: None
    mallinfo.restype = Info

    def allocated() -> int:
        info = mallinfo()
        return int(info.uordblks + info.hblkhd)

    return allocated
