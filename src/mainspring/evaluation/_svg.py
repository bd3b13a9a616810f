"""Plots as SVG text that stands in a page by itself: lines, points with intervals, bars. No script, no font, no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 380, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 42
_ROW = 24


class Series(NamedTuple):
    """A line, or points where `dots` is set; `kind` is the class of its style."""

    points: Points
    kind: str = "first"
    dots: bool = False


class Mark(NamedTuple):
    """A labelled value in a row of its own, with the ends of its interval where there is one."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    kind: str = "first"


def lines(series: Sequence[Series], x_title: str, y_title: str) -> str:
    """Lines and points over the unit square, with its diagonal left to the caller."""
    x, y = _Axis(0, 1, _LEFT, _WIDTH - _RIGHT), _Axis(0, 1, _HEIGHT - _BOTTOM, _TOP)
    drawn = []
    for tick in (0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(_line(x(tick), y(0), x(tick), y(1), "grid") + _text(x(tick), y(0) + 16, f"{tick:g}", "middle"))
        drawn.append(_line(x(0), y(tick), x(1), y(tick), "grid") + _text(x(0) - 6, y(tick) + 4, f"{tick:g}", "end"))
    for each in series:
        if each.dots:
            drawn += [f'<circle class="{each.kind}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5"/>' for a, b in each.points]
        else:
            path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in each.points)
            drawn.append(f'<polyline class="{each.kind}" points="{path}"/>')
    drawn.append(_text(x(0.5), _HEIGHT - 6, x_title, "middle"))
    drawn.append(
        f'<text transform="translate(13 {y(0.5):.1f}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
    )
    return _svg(_WIDTH, _HEIGHT, drawn)


def forest(marks: Sequence[Mark], x_title: str, *, reference: float | None = None) -> str:
    """A row for each mark: the value as a dot, the interval as a line; `reference` is a line through all rows."""
    return _rows(marks, x_title, reference, bars=False)


def bars(marks: Sequence[Mark], x_title: str) -> str:
    """A bar from 0 for each mark, and its interval as a line."""
    return _rows(marks, x_title, 0.0, bars=True)


class _Axis(NamedTuple):
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def _rows(marks: Sequence[Mark], x_title: str, reference: float | None, *, bars: bool) -> str:
    names = max((len(mark.label) for mark in marks), default=0)
    left, width = min(40 + names * 6.6, 300), 640
    height = _TOP + _ROW * len(marks) + _BOTTOM
    ends = [end for mark in marks for end in (mark.value, mark.low, mark.high) if end is not None]
    known = [end for end in [*ends, reference] if end is not None and math.isfinite(end)]
    ticks = _ticks(min(known, default=0.0), max(known, default=1.0))
    x, bottom = _Axis(ticks[0], ticks[-1], left, width - _RIGHT), _TOP + _ROW * len(marks)
    drawn = [
        _line(x(tick), _TOP, x(tick), bottom, "grid") + _text(x(tick), bottom + 16, f"{tick:g}", "middle")
        for tick in ticks
    ]
    if reference is not None:
        drawn.append(_line(x(reference), _TOP, x(reference), bottom, "reference"))
    for place, mark in enumerate(marks):
        middle = _TOP + _ROW * (place + 0.5)
        drawn.append(_text(left - 8, middle + 4, mark.label, "end"))
        if bars:
            start, stop = sorted((x(0.0), x(mark.value)))
            drawn.append(
                f'<rect class="{mark.kind}" x="{start:.1f}" y="{middle - 7:.1f}" width="{stop - start:.1f}" height="14"/>'
            )
        if mark.low is not None and mark.high is not None:
            drawn.append(_line(x(mark.low), middle, x(mark.high), middle, f"interval {mark.kind}"))
        if not bars:
            drawn.append(f'<circle class="{mark.kind}" cx="{x(mark.value):.1f}" cy="{middle:.1f}" r="4"/>')
    drawn.append(_text((left + width - _RIGHT) / 2, height - 6, x_title, "middle"))
    return _svg(width, height, drawn)


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers that enclose the values."""
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, drawn: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>{"".join(drawn)}</svg>'
