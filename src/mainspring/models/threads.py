"""Few rows are answered by one thread of OpenMP, whatever number a call of many rows may take.

Threads that share a call wait for the slowest of them, for long where a core has other work: with its second core busy, one row
took histogram boosting 0.9 ms of processor time by one thread and 4 to 7 ms by two. Both limits are the calling thread's own in
OpenMP (specification 5.2, section 2.2): the number of threads of its next parallel region, and how many regions may nest, which
also holds back a library that names the number in each call. Where no region may be parallel, one thread executes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from ctypes import PyDLL
from functools import cache
from typing import Any, TypeVar

FEW_ROWS = 256
"""With both cores idle, two threads answered so many rows in at best a quarter less time, by twice the processor time."""

_LIBRARIES = ("sklearn", "xgboost", "lightgbm")  # whose rows don't depend on the number of threads
_NAMING = "lightgbm"  # which names the number of threads in each call
_T = TypeVar("_T")


class OpenMP:
    """A loaded runtime of OpenMP. With `nests` the nesting of parallel regions is limited, too."""

    def __init__(self, path: str, *, nests: bool) -> None:
        library = PyDLL(path)  # its calls take less than to let another thread of Python in meanwhile would
        self._threads, self._set_threads = library.omp_get_max_threads, library.omp_set_num_threads
        self._set_levels = library.omp_set_max_active_levels if nests else None
        # Read once: in old runtimes it is one number for all threads, of which another may hold it at 0 just then.
        self._levels = library.omp_get_max_active_levels() if nests else 0

    def hold(self) -> int:
        """Have the calling thread take one thread, and give how many it took."""
        before: int = self._threads()
        self._set_threads(1)
        if self._set_levels is not None:
            self._set_levels(0)
        return before

    def let_go(self, before: int) -> None:
        """Have it take so many again."""
        self._set_threads(before)
        if self._set_levels is not None:
            self._set_levels(self._levels)


def runtimes_of(model: Any) -> Sequence[OpenMP]:
    """The runtimes of OpenMP that are loaded; none for a model of another library than these."""
    roots = {each.__module__.partition(".")[0] for each in type(model).__mro__}
    return () if roots.isdisjoint(_LIBRARIES) else _loaded(tuple(name for name in _LIBRARIES if name in sys.modules))


def by_one_thread(runtimes: Sequence[OpenMP], call: Callable[[], _T]) -> _T:
    """What a call gives that is made with one thread of each; the calling thread has as many as before afterwards."""
    before = [runtime.hold() for runtime in runtimes]
    try:
        return call()
    finally:
        for runtime, threads in zip(runtimes, before, strict=True):
            runtime.let_go(threads)


@cache
def _loaded(libraries: tuple[str, ...]) -> Sequence[OpenMP]:
    try:
        from threadpoolctl import ThreadpoolController  # of scikit-learn, which the models of these libraries need
    except ImportError:
        return ()
    controllers = ThreadpoolController().select(user_api="openmp").lib_controllers
    return [OpenMP(each.filepath, nests=_NAMING in libraries) for each in controllers]
