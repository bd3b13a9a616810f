"""Whether another form of a model answers as the model does: the rows, the model's answers, and how far a number may be off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mainspring.errors import shorten


class Parity(NamedTuple):
    """Rows, the `real` ones first and those made up behind them, what the model answers to them, and the tolerance.

    A number may differ by `atol + rtol · |native|`, a label not at all.
    """

    rows: list[dict[str, Any]]
    answers: list[Any]
    real: int
    rtol: float
    atol: float

    def off(self, given: Sequence[Any]) -> tuple[float, int | None]:
        """The largest absolute difference, and the row that is furthest beyond the tolerance, None if none is."""
        largest, beyond, place = 0.0, 0.0, None
        for row, (old, new) in enumerate(zip(self.answers, given, strict=True)):
            for a, b in _pairs(old, new):
                off = abs(a - b)
                largest = max(largest, off)
                excess = off - (self.atol + self.rtol * abs(a))
                if excess > beyond:
                    beyond, place = excess, row
        return largest, place

    def told(self, place: int, given: Any) -> tuple[str, str]:
        """What is wrong in a row, and the row."""
        where = f"in row {place}" if place < self.real else "in a made-up row"
        said = f"{shorten(self.answers[place], 40)} → {shorten(given, 40)} {where}"
        return said, f"The row is {shorten(self.rows[place], 300)}."

    def own_fault(self, native: Callable[[list[dict[str, Any]]], Sequence[Any]]) -> str:
        """What is wrong with the model, if it doesn't answer half of the rows as it did all of them; "" if it does."""
        half = self._replace(rows=self.rows[::2], answers=self.answers[::2])
        if half.off(native(half.rows))[1] is None:
            return ""
        return (
            " The model itself answers otherwise when it is asked again, as a module of PyTorch does in training mode: call"
            " its `.eval()` before it is registered."
        )


def _pairs(old: Any, new: Any) -> list[tuple[float, float]]:
    """The numbers of two answers; a label that differs is infinitely far off."""
    if isinstance(old, dict):
        others = new if isinstance(new, dict) else {}
        return [pair for name in old for pair in _pairs(old[name], others.get(name, "nothing"))]
    if isinstance(old, float) and isinstance(new, int | float) and not isinstance(new, bool):
        return [(old, float(new))]
    return [(0.0, 0.0 if type(old) is type(new) and old == new else float("inf"))]
