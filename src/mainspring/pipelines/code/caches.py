"""Objects around functions that keep what came of earlier code: `functools.cache`, compiled functions.

They are known with what they reached when they were empty, or first looked at. One that keeps something while it reaches
something else may give what its code, as it is now, would not.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from operator import lt
from types import FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from mainspring.pipelines.code.contents import attribute_of, dict_of, module_of


class _Seen(NamedTuple):
    parts: Mapping[str, str]
    calls: tuple[int, int]  # hits and misses
    changed: tuple[str, ...] = ()


class Caches:
    """Those of one process."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()

    def changed(self, cache: object, parts: Mapping[str, str]) -> tuple[str, ...]:
        """What a cache may keep answers of that is another now, by the parts of a fingerprint of all that it reaches.

        Once it is, it stays so until the cache is emptied.
        """
        info, known = _info(cache), self._seen.get(cache)
        calls = (info.hits, info.misses) if info is not None else (0, 0)
        # Counted anew where it was emptied.
        if known is None or not _keeps(cache, info) or any(map(lt, calls, known.calls)):
            known = _Seen(parts, calls)
        names = known.parts.keys() | parts.keys() if not known.changed else ()
        changed = known.changed or tuple(sorted(each for each in names if known.parts.get(each) != parts.get(each)))
        self._seen[cache] = _Seen(known.parts, calls, changed)
        return changed


@lru_cache(maxsize=1)
def caches() -> Caches:
    """Those of this process."""
    return Caches()


def is_cache(value: object) -> bool:
    """Whether an object around a function keeps something of its calls, or of its compilation, that doesn't show.

    Nothing says what that of an installed library keeps; the standard library has one such class.
    """
    if isinstance(value, FunctionType) or not (callable(value) and "__wrapped__" in dict_of(value)):
        return False
    home = module_of(type(value)).partition(".")[0]
    return (home not in sys.stdlib_module_names and home != "mainspring") or _info(value) is not None


def options_of(value: object) -> list[object]:
    """What a compiled function of Numba was told beside its code."""
    held = dict_of(value)
    if "targetoptions" not in held:
        return []
    is_closed = not attribute_of(value, "_can_compile", True)  # the types that it takes were written out
    return [held["targetoptions"], [str(each) for each in held.get("overloads", ())] if is_closed else []]


def _info(cache: object) -> Any:
    """The counts of a cache of `functools`."""
    asked = attribute_of(cache, "cache_info") if attribute_of(cache, "cache_parameters") else None
    return asked() if asked is not None else None


def _keeps(cache: object, info: Any) -> bool:
    """Whether there is, or may be, something in it."""
    return bool(info.currsize if info is not None else dict_of(cache).get("overloads", True))
