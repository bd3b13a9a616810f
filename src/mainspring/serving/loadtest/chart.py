"""The chart of a load test as SVG: latency, on a logarithmic axis, against the rate; of a single step against the quantile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from mainspring.serving.loadtest.limits import Limit
from mainspring.serving.loadtest.measured import QUANTILES, Measured

_WIDTH, _HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 56, 14, 46
_DRAWN = ("p50", "p99", "max")
Points = list[tuple[float, float]]


def latency_chart(measured: Sequence[Measured], held: Sequence[Limit]) -> str:
    """The chart, with the limits of latency as lines; empty if nothing was answered."""
    steps = [step for step in measured if step.quantiles_s]
    if not steps:
        return ""
    limits = {str(limit): limit.most * 1e3 for limit in held if limit.name in QUANTILES}
    if len(steps) > 1:
        lines = {name: [(step.rate, step.quantiles_s[name] * 1e3) for step in steps] for name in _DRAWN}
        ticks = _round_ticks(0.0, max(step.rate for step in steps))
        return _drawn(lines, limits, [(tick, f"{tick:,g}") for tick in ticks], "requests offered a second")
    places = [(float(place), name) for place, name in enumerate(QUANTILES)]
    values = steps[0].quantiles_s
    return _drawn({"p99": [(place, values[name] * 1e3) for place, name in places]}, limits, places, "quantile")


def _drawn(lines: dict[str, Points], limits: dict[str, float], ticks: Sequence[tuple[float, str]], title: str) -> str:
    values = [max(value, 1e-3) for line in lines.values() for _, value in line] + [
        most for most in limits.values() if most > 0
    ]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    first, last = ticks[0][0], ticks[-1][0]

    def x(value: float) -> float:
        return _LEFT + (value - first) / ((last - first) or 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = (math.log10(max(value, 1e-3)) - low) / max(high - low, 1)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    floor, top = y(10.0**low), y(10.0**high)
    parts = [_line(x(tick), floor, x(tick), top, "grid") + _text(x(tick), floor + 17, name) for tick, name in ticks]
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(_line(x(first), at, x(last), at, "grid") + _text(_LEFT - 8, at + 4, f"{10.0**power:g}", "end"))
    for name, most in limits.items():
        at = y(most)
        parts.append(_line(x(first), at, x(last), at, "limit") + _text(x(first) + 4, at - 5, name, "start", "limit"))
    for name, line in lines.items():
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        dots = "".join(f'<circle class="{name}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="3"/>' for a, b in line)
        parts.append(f'<polyline class="{name}" points="{path}"/>{dots}')
    if len(lines) > 1:
        parts += _labels(
            {name: y(line[-1][1]) for name, line in lines.items()}, max(x(line[-1][0]) for line in lines.values())
        )
    middle = (floor + top) / 2
    parts.append(_text((x(first) + x(last)) / 2, _HEIGHT - 8, title))
    parts.append(f'<text transform="translate(15 {middle:.1f}) rotate(-90)" text-anchor="middle">latency in ms</text>')
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>{"".join(parts)}</svg>'


def _labels(ends: dict[str, float], at: float) -> list[str]:
    """The names of lines at their ends, from the top one downwards, so far apart that each can be read."""
    parts, above = [], -math.inf
    for name, height in sorted(ends.items(), key=lambda each: each[1]):
        above = max(height, above + 14)
        parts.append(_text(at + 8, above + 4, name, "start", name))
    return parts


def _round_ticks(low: float, high: float) -> list[float]:
    """Round numbers from the lowest to one above the highest."""
    raw = (high - low) / 6 or 1.0
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [round(low + place * step, 12) for place in range(math.ceil((high - low) / step - 1e-9) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
