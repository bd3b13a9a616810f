"""Few rows are answered by one thread of OpenMP, whatever number a call of many rows may take.

Threads that share a call wait for the slowest of them, for long where a core has other work: with its second core busy, one row
took histogram boosting 0.9 ms of processor time by one thread and 4 to 7 ms by two. The number is one of the calling thread's
own in OpenMP (specification 5.2, section 2.1, "nthreads-var").
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

FEW_ROWS = 256
"""Up to so many rows two threads were no faster than one, with both cores idle."""

_LIBRARIES = ("sklearn", "xgboost", "lightgbm")  # whose rows don't depend on the number of threads
_T = TypeVar("_T")


def pools_of(model: Any) -> Sequence[Any]:
    """What sets the number of threads of each OpenMP that is loaded; none for a model of another library than these."""
    roots = {each.__module__.partition(".")[0] for each in type(model).__mro__}
    return () if roots.isdisjoint(_LIBRARIES) else _loaded(tuple(name for name in _LIBRARIES if name in sys.modules))


def by_one_thread(pools: Sequence[Any], call: Callable[[], _T]) -> _T:
    """What a call gives that is made with one thread of each; the calling thread has as many as before afterwards."""
    before = [pool.get_num_threads() for pool in pools]
    try:
        for pool in pools:
            pool.set_num_threads(1)
        return call()
    finally:
        for pool, threads in zip(pools, before, strict=True):
            pool.set_num_threads(threads)


@cache
def _loaded(_libraries: tuple[str, ...]) -> Sequence[Any]:
    try:
        from threadpoolctl import ThreadpoolController  # of scikit-learn, which the models of these libraries need
    except ImportError:
        return ()
    return ThreadpoolController().select(user_api="openmp").lib_controllers  # type: ignore[no-any-return]  # it has no types
