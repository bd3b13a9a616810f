"""Whether another form of a model answers as the model does: the rows, the model's answers, and how far a number may be off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mainspring.errors import shorten

_ROUNDED = 1e-5  # of the largest answer: what sums of a few hundred numbers of 32 bits may be off


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

    def rounding(self, place: int, given: Any, form: str) -> str:
        """What 32 bits have to do with a row, if the graph of this form has them, and their rounding may be all; else ""."""
        is_short = "floats" in form or form.startswith("CatBoost")
        largest = max((abs(a) for answer in self.answers for a, _ in _pairs(answer, answer)), default=0.0)
        off = max(abs(a - b) for a, b in _pairs(self.answers[place], given))
        if not is_short or off > _ROUNDED * largest:
            return ""
        return (
            f" The graph is of 32 bits, which round answers of up to {largest:.4g} by about as much: it is off by {off:.1g},"
            f" which atol={2 * off:.1g} would allow."
        )

    def own_fault(self, native: Callable[[list[dict[str, Any]]], Sequence[Any]], *, is_training: bool) -> str:
        """What is wrong with the model, if it doesn't answer half of the rows as it did all of them; "" if it does."""
        half = self._replace(rows=self.rows[::2], answers=self.answers[::2])
        if half.off(native(half.rows))[1] is None:
            return ""
        if is_training:
            return (
                " The model itself answers otherwise when it is asked again, as a module of PyTorch does in training mode:"
                " call its `.eval()` before it is registered."
            )
        return (
            " The model itself answers a row otherwise when it is asked again with other rows: its answer is to depend on"
            " the row alone, and on nothing drawn at random."
        )


def _pairs(old: Any, new: Any) -> list[tuple[float, float]]:
    """The numbers of two answers; a label that differs is infinitely far off."""
    if isinstance(old, dict):
        others = new if isinstance(new, dict) else {}
        return [pair for name in old for pair in _pairs(old[name], others.get(name, "nothing"))]
    if isinstance(old, float) and isinstance(new, int | float) and not isinstance(new, bool):
        return [(old, float(new))]
    return [(0.0, 0.0 if type(old) is type(new) and old == new else float("inf"))]
