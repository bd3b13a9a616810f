"""A comparison of runs as an HTML page by itself: tables, and curves as SVG."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.runs.metrics import Metric
    from mainspring.runs.run import Run

    Curves = Mapping[str, Sequence[Metric]]

_COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#666666")
_WIDTH, _HEIGHT, _LEFT, _EDGE = 640, 240, 64, 24
_MOST_POINTS = 1_000  # of a curve; more are not seen
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 2rem } th, td { padding: .3rem .8rem; text-align: left }
th { border-bottom: 2px solid #ccc } td { border-bottom: 1px solid #eee } td.best { font-weight: 700; background: #e8f5e9 }
figure { display: inline-block; margin: 0 1rem 1rem 0 } figcaption { font-weight: 600 } text { font-size: 11px; fill: #555 }
"""


def page(
    runs: Sequence[Run], params: Mapping[str, Mapping[str, object]], metrics: Mapping[str, Mapping[str, float]],
    best: Mapping[str, str], curves: Mapping[str, Curves],
) -> str:  # fmt: skip
    """The page of a comparison, whose fields these are."""
    heads = "".join(
        f'<th><span style="color:{_colour(number)}">●</span> {escape(run.name)}<br><code>{run.id[:12]}</code></th>'
        for number, run in enumerate(runs)
    )
    rows_of_params = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(_cell(values.get(run.id)) for run in runs)}</tr>"
        for name, values in params.items()
    )
    rows_of_metrics = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(_cell(values.get(run.id), is_best=best.get(name) == run.id) for run in runs)
        + "</tr>"
        for name, values in metrics.items()
    )
    figures = "".join(_figure(name, runs, found) for name, found in curves.items() if found)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Runs compared</title>'
        f"<style>{_STYLE}</style></head><body><h1>Runs compared</h1>"
        f"<h2>Parameters that differ</h2><table><tr><th></th>{heads}</tr>{rows_of_params}</table>"
        f"<h2>Metrics</h2><table><tr><th></th>{heads}</tr>{rows_of_metrics}</table>{figures}</body></html>"
    )


def _cell(value: object, *, is_best: bool = False) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"<td{' class=best' if is_best else ''}>{escape(text)}</td>"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _figure(name: str, runs: Sequence[Run], found: Curves) -> str:
    """The curves of a metric; points that are no finite number are left out."""
    curves = {run: _thinned([point for point in points if math.isfinite(point.value)]) for run, points in found.items()}
    steps = [point.step for points in curves.values() for point in points]
    values = [point.value for points in curves.values() for point in points]
    if not steps:
        return ""
    left, right, low, high = min(steps), max(steps), min(values), max(values)

    def place(point: Metric) -> str:
        x = _LEFT + (point.step - left) / ((right - left) or 1) * (_WIDTH - _LEFT - _EDGE)
        y = _HEIGHT - _EDGE - (point.value - low) / ((high - low) or 1) * (_HEIGHT - 2 * _EDGE)
        return f"{x:.1f},{y:.1f}"

    lines = "".join(
        f'<polyline fill="none" stroke="{_colour(number)}" stroke-width="1.8" points="'
        f'{" ".join(place(point) for point in curves.get(run.id, []))}"><title>{escape(run.name)}</title></polyline>'
        for number, run in enumerate(runs)
    )
    bottom = _HEIGHT - _EDGE
    return (
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img">'
        f'<path d="M{_LEFT} {_EDGE}V{bottom}H{_WIDTH - _EDGE}" fill="none" stroke="#bbb"/>'
        f'<text x="{_LEFT - 6}" y="{_EDGE + 4}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">step {left:,}</text>'
        f'<text x="{_WIDTH - _EDGE}" y="{_HEIGHT - 6}" text-anchor="end">{right:,}</text>{lines}</svg></figure>'
    )


def _thinned(points: list[Metric]) -> list[Metric]:
    every = -(-len(points) // _MOST_POINTS) or 1
    return points[::every] + ([points[-1]] if points and (len(points) - 1) % every else [])
