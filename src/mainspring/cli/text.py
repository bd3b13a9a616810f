"""How values look in lines and tables for people."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Sequence

import click

from mainspring.errors import counted as counted  # noqa: PLC0414  # every command says `text.counted` beside the other words for people

ID_LENGTH = 12
_SPACE = "  "
_STYLE = re.compile(r"(?:\x1b\[[0-9;]*m)+")
_NARROWEST = 24  # characters that a wrapped column gets, whatever the terminal
_BEARABLE = 40  # below that, columns that can be done without give way
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

    >>> duration(0.0042), duration(3.21), duration(75), duration(7_260), duration(200_000)
    ('4 ms', '3.2 s', '1 min 15 s', '2 h 01 min', '2 d 7 h')
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
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02d} min" if hours < 24 else f"{hours // 24:,} d {hours % 24} h"


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


def columns() -> int | None:
    """How wide the terminal on stdout is, or what COLUMNS says; None where lines may be of any length."""
    said = os.environ.get("COLUMNS", "")
    if said.isdigit() and int(said):
        return int(said)
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def fitted(value: str, width: int | None) -> str:
    """Text on one line, cut at a width.

    >>> fitted("one two three", 9), fitted("one two", 9), fitted("any", None)
    ('one two …', 'one two', 'any')
    """
    line = one_line(value)
    if width is None or len(line) <= width:
        return line
    return line[: max(width - 1, 0)] + "…"


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, drop: Sequence[str] = (), width: int | None = None
) -> str:
    """Columns aligned to the left, headers first, in as many characters as the terminal is wide.

    The last column is wrapped. If that can't do, the columns of `drop` are left out, in that order, as far as need be; at
    last the widest of the others are cut.

    >>> print(table(["name", "n"], [["alpha", "1"], ["b", "22"]]))
    name   n
    alpha  1
    b      22
    >>> print(table(["name", "n", "about"], [["alpha", "1", "the first of them all is this one here"]], width=36))
    name   n  about
    alpha  1  the first of them all is
              this one here
    >>> print(table(["name", "n", "by"], [["alpha", "1", "ada"]], drop=["n"], width=11))
    name   by
    alpha  ada
    """
    lines = [list(headers), *(list(row) for row in rows)]
    room = columns() if width is None else width
    if room is not None:
        lines = _without(lines, drop, room)
        lines = [part for line in _narrowed(lines, room) for part in line]
    widths = _widths(lines)
    shown = [_SPACE.join(cell + " " * (wide - _width(cell)) for cell, wide in zip(line, widths, strict=True)).rstrip()
             for line in lines]  # fmt: skip
    return "\n".join([bold(shown[0]) if _is_styled(lines) else shown[0], *shown[1:]])


def _without(lines: list[list[str]], drop: Sequence[str], room: int) -> list[list[str]]:
    """The lines without the columns that there is no room for."""
    for name in drop:
        widths = _widths(lines)
        if name not in lines[0] or _total([*widths[:-1], min(widths[-1], _BEARABLE)]) <= room:
            continue
        column = lines[0].index(name)
        lines = [line[:column] + line[column + 1 :] for line in lines]
    return lines


def _narrowed(lines: list[list[str]], room: int) -> list[list[list[str]]]:
    """Each line as the lines it takes: the last column wrapped, others cut only if that can't do."""
    widths = _widths(lines)
    if _total(widths) <= room:
        return [[line] for line in lines]
    last = min(widths[-1], _NARROWEST)
    while len(widths) > 1 and _total([*widths[:-1], last]) > room and max(widths[:-1]) > ID_LENGTH:
        widest = max(range(len(widths) - 1), key=widths.__getitem__)
        widths[widest] -= 1
    widths[-1] = max(last, room - _total([*widths[:-1], 0]))
    return [_wrapped([*(_cut(cell, wide) for cell, wide in zip(line[:-1], widths, strict=False))], line[-1], widths[-1])
            for line in lines]  # fmt: skip


def _wrapped(cells: list[str], last: str, width: int) -> list[list[str]]:
    import textwrap  # only a table that is too wide pays for it

    parts = textwrap.wrap(click.unstyle(last), width, break_on_hyphens=False) if _width(last) > width else [last]
    styled = [_restyled(last, part) for part in parts]
    return [[*(cells if number == 0 else [""] * len(cells)), part] for number, part in enumerate(styled or [""])]


def _cut(cell: str, width: int) -> str:
    return cell if _width(cell) <= width else _restyled(cell, click.unstyle(cell)[: max(width - 1, 0)] + "…")


def _restyled(cell: str, part: str) -> str:
    """A part of a cell in the style that the whole has."""
    if "\x1b" not in cell or cell == part:
        return part
    head = _STYLE.match(cell)
    return f"{head[0]}{part}\x1b[0m" if head else part


def _widths(lines: list[list[str]]) -> list[int]:
    return [max(_width(line[column]) for line in lines) for column in range(len(lines[0]))]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_SPACE) * (len(widths) - 1)


def facts(pairs: Iterable[tuple[str, str]], *, cut: bool = False) -> str:
    """Names and values, values aligned; what has no value is left out. In a terminal, long lines are wrapped, or cut."""
    known = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    room = columns()
    indent = "\n" + " " * (width + len(_SPACE))
    return "\n".join(
        f"{dim(name.ljust(width))}{_SPACE}{indent.join(_lines(value, room and room - width - len(_SPACE), cut=cut))}"
        for name, value in known
    )


def _lines(value: str, room: int | None, *, cut: bool) -> list[str]:
    if room is None:
        return value.splitlines()
    width = max(room, _NARROWEST)
    if cut:
        return [_cut(line, width) for line in value.splitlines()]
    return [part for line in value.splitlines() for (part,) in _wrapped([], line, width)]


def _width(cell: str) -> int:
    return len(click.unstyle(cell)) if "\x1b" in cell else len(cell)


def _is_styled(lines: Iterable[Sequence[str]]) -> bool:
    return any("\x1b" in cell for line in lines for cell in line)
