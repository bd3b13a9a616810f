"""How values look in lines and tables for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import click

ID_LENGTH = 12
_UNITS = ("KiB", "MiB", "GiB", "TiB")
_COLOURS = {
    "succeeded": "green", "reused": "cyan", "running": "blue", "failed": "red", "cancelled": "yellow",
    "interrupted": "yellow", "skipped": "yellow", "waiting": "bright_black", "mapped": "blue",
}  # fmt: skip


def short(identifier: str) -> str:
    """The part of an id that people read and type."""
    return identifier[:ID_LENGTH]


def duration(seconds: float | None) -> str:
    """A span of time with a unit that fits.

    >>> duration(0.0042), duration(3.21), duration(75), duration(7_260)
    ('4 ms', '3.2 s', '1 min 15 s', '2 h 01 min')
    """
    if seconds is None:
        return ""
    if seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: int | None) -> str:
    """A number of bytes with a unit that fits.

    >>> size(12), size(2048), size(325_058_560)
    ('12 B', '2.0 KiB', '310 MiB')
    """
    if count is None:
        return ""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1024
        if value < 1024 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def moment(at_us: int) -> str:
    """A stored time in the local zone, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_us / 1e6))


def one_line(value: str) -> str:
    """Text on one line, each run of blanks one blank.

    >>> one_line(" two   words ")
    'two words'
    """
    return " ".join(value.split())


def state(name: str) -> str:
    """A state in its colour."""
    return click.style(name, fg=_COLOURS.get(name))


def dim(text: str) -> str:
    """Text that stands back."""
    return click.style(text, dim=True)


def bold(text: str) -> str:
    """Text that stands out."""
    return click.style(text, bold=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns aligned to the left, headers first.

    >>> print(table(["name", "n"], [["alpha", "1"], ["b", "22"]]))
    name   n
    alpha  1
    b      22
    """
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(headers))]
    shown = [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([bold(shown[0]) if _is_styled(lines) else shown[0], *shown[1:]])


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, one a line, values aligned; what has no value is left out."""
    known = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    indent = "\n" + " " * (width + 2)
    return "\n".join(f"{dim(name.ljust(width))}  {indent.join(value.splitlines())}" for name, value in known)


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "run"), counted(2, "run")
    ('1 run', '2 runs')
    """
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def _width(cell: str) -> int:
    return len(click.unstyle(cell)) if "\x1b" in cell else len(cell)


def _is_styled(lines: Iterable[Sequence[str]]) -> bool:
    return any("\x1b" in cell for line in lines for cell in line)
