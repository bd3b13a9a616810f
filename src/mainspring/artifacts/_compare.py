"""How two values of the tree codecs differ: the first place, or the largest error where only floats do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mainspring.artifacts._classes import extras_of, fields_of, is_record
from mainspring.artifacts._tree import is_numpy_scalar
from mainspring.artifacts.codec import EQUAL, Comparison, Tolerance
from mainspring.errors import shorten

CompareLeaf = Callable[[Any, Any, Tolerance], Comparison]


def compare_trees(old: object, new: object, tolerance: Tolerance, leaf: CompareLeaf) -> Comparison:
    """Compare containers, records and scalars by value; leaves with a codec of their own by that codec."""
    walk = _Walk(tolerance, leaf)
    walk.visit(old, new, "$")
    return walk.verdict()


class _Walk:
    def __init__(self, tolerance: Tolerance, leaf: CompareLeaf) -> None:
        self.tolerance, self.leaf = tolerance, leaf
        self.found: dict[str, list[str]] = {}
        self.largest: float | None = None
        self.floats = 0

    def verdict(self) -> Comparison:
        for kind in ("type", "schema", "values", "row_order", "floats", "within_tolerance"):
            places = self.found.get(kind)
            if places:
                more = f" ({len(places)} such places)" if len(places) > 1 else ""
                return Comparison(kind, places[0] + more, self.largest)
        return EQUAL

    def note(self, kind: str, text: str, error: float | None = None) -> None:
        self.found.setdefault(kind, []).append(text)
        if error is not None:
            self.largest = error if self.largest is None else max(self.largest, error)

    def visit(self, old: Any, new: Any, path: str) -> None:
        if old is new:
            return
        if is_numpy_scalar(old) and is_numpy_scalar(new) and old.dtype == new.dtype:
            self._scalars(old, new, path)
        elif type(old) is not type(new):
            names = f"{type(old).__qualname__} → {type(new).__qualname__}"
            self.note("type", f"At {path} the type differs: {names}.")
        elif isinstance(old, dict):
            self._mappings(old, new, path)
        elif type(old) in (list, tuple):
            self._sequences(old, new, path)
        elif is_record(type(old)):
            self._mappings(fields_of(old) | extras_of(old), fields_of(new) | extras_of(new), path)
        elif isinstance(old, (float, complex)):
            self._floats(old, new, path)
        else:
            self._others(old, new, path)

    def _mappings(self, old: dict[Any, Any], new: dict[Any, Any], path: str) -> None:
        keys = {key: key for key in new}
        for key in old:
            if key not in new:
                self.note("values", f"At {path} the key {key!r} is gone.")
            elif type(key) is not str:
                self.visit(key, keys[key], path)  # 1, 1.0 and True are one key to Python
        for key, item in new.items():
            if key not in old:
                self.note("values", f"At {path} the key {key!r} is new.")
            else:
                self.visit(old[key], item, f"{path}.{key}" if isinstance(key, str) else f"{path}[{key!r}]")
        if old.keys() == new.keys() and list(old) != list(new):
            self.note("row_order", f"At {path} the keys come in another order.")

    def _sequences(self, old: Any, new: Any, path: str) -> None:
        if len(old) != len(new):
            self.note("values", f"At {path} the length differs: {len(old):,} → {len(new):,}.")
        for i, (a, b) in enumerate(zip(old, new, strict=False)):
            self.visit(a, b, f"{path}[{i}]")

    def _scalars(self, old: Any, new: Any, path: str) -> None:
        """NumPy scalars of one type; small floats in double precision, so that their difference isn't rounded."""
        if old.dtype.kind in "fc":
            self._floats(old.item(), new.item(), path)
        else:
            self._others(old, new, path)

    def _floats(self, old: Any, new: Any, path: str) -> None:
        if _is_same(old.real, new.real) and _is_same(old.imag, new.imag):
            return
        error = abs(new - old)
        if not math.isfinite(error):
            self.note("values", f"At {path}: {old!r} → {new!r}.")
            return
        # Zeros of two signs are no distance apart, and differ all the same.
        within = not self.tolerance.is_exact and error <= self.tolerance.atol + self.tolerance.rtol * abs(old)
        self.note("within_tolerance" if within else "floats", f"At {path}: {old!r} → {new!r}.", float(error))

    def _others(self, old: Any, new: Any, path: str) -> None:
        result = self.leaf(old, new, self.tolerance)
        if result.kind != "equal":
            detail = result.detail or f"{shorten(old)} → {shorten(new)}."
            self.note(result.kind, detail if path == "$" else f"At {path}: {detail}", result.largest_error)


def _is_same(old: float, new: float) -> bool:
    if old == new:
        return math.copysign(1, old) == math.copysign(1, new)
    return math.isnan(old) and math.isnan(new)
