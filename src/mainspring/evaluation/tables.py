"""How reports of evaluation look: tables of text, in a terminal and in HTML."""

from __future__ import annotations

import msgspec

from mainspring.runs.html import html_table
from mainspring.stats import Interval

Cells = list[list[str]]
SMALL_ROWS = 100  # below, the standard error of a share is up to 0.05: differences of slices are mostly noise


class Tabled(msgspec.Struct, frozen=True):
    """A report that is shown as tables."""

    def _tables(self) -> list[Cells]:
        return []

    def __str__(self) -> str:
        return "\n\n".join(map(aligned, self._tables()))

    def _repr_html_(self) -> str:
        return "".join(map(html_table, self._tables()))


def shown(value: float | None, interval: Interval | None = None) -> str:
    """A metric as tables show it, with its interval if there is one; `–` where it isn't defined."""
    if value is None:
        return "–"
    return f"{value:.4f}" if interval is None else f"{value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def slice_label(name: str, value: str, rows: int) -> str:
    """A slice value as tables show it, marked if it has few rows."""
    return f"{name}={value}{' (small)' if rows < SMALL_ROWS else ''}"


def aligned(table: list[list[str]]) -> str:
    """Cells as text: the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    lines = []
    for first, *rest in table:
        lines.append("  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip())
    return "\n".join(lines)
