"""Plots of a study: its history, which parameters mattered, and how they go together, drawn by matplotlib.

A plot is a page that holds all it needs (inline SVG), or a PNG.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mainspring.errors import InvalidError, MissingExtraError, NotFoundError
from mainspring.store.named_file import write_named

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mainspring.studies.records import Definition, Trial

KINDS = ("history", "importance", "parallel")
_INK, _BEST, _FAINT = "#3b6ea8", "#c2502e", "#b9c4d0"
_TICKS = 5
_MOST_LABELS = 8  # of a categorical axis, and of its length
_SETTINGS: Any = {
    "svg.hashsalt": "mainspring", "svg.fonttype": "path", "font.size": 10, "axes.spines.top": False,
    "axes.spines.right": False,
}  # fmt: skip


class Searched(Protocol):
    """What a plot asks of a study."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def definition(self) -> Definition:
        """What is searched, and for what."""
        ...

    @property
    def optuna(self) -> optuna.Study:
        """Optuna's view of it."""
        ...

    def trials(self, state: str | None = None) -> list[Trial]:
        """Its trials of a state."""
        ...


class Plot:
    """A drawn plot. `svg` is its text; `save` writes HTML, SVG or PNG by the file's ending."""

    def __init__(self, title: str, figure: Figure) -> None:
        self.title = title
        self.figure = figure

    @property
    def svg(self) -> str:
        """The drawing as SVG, the same text for the same study."""
        return self._drawn("svg").decode()

    @property
    def png(self) -> bytes:
        """The drawing as PNG."""
        return self._drawn("png")

    @property
    def html(self) -> str:
        """A page that needs no other file and no network."""
        drawing = self.svg[self.svg.index("<svg") :]
        return (
            f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(self.title)}</title>\n'
            f"<style>body{{margin:2rem;background:#fff}}svg{{max-width:100%;height:auto}}</style>\n{drawing}</html>\n"
        )

    def save(self, path: str | Path) -> Path:
        """Write `.html`, `.svg` or `.png`.

        Raises:
            InvalidError: the file ends otherwise.
            StorageError: it can't be written.
        """
        path = Path(path)
        if path.suffix not in (".html", ".svg", ".png"):
            raise InvalidError("plot", str(path), "a file that ends in .html, .svg or .png")
        drawn: str | bytes = getattr(self, path.suffix[1:])
        return write_named(path, drawn)

    def _drawn(self, form: str) -> bytes:
        import matplotlib as mpl

        buffer = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        with mpl.rc_context(_SETTINGS):
            self.figure.savefig(buffer, format=form, dpi=144, metadata=metadata)
        return buffer.getvalue()

    def _repr_html_(self) -> str:
        return self.svg[self.svg.index("<svg") :]


def plot(study: Searched, kind: str, metric: str) -> Plot:
    """Draw a plot; raises as `Study.plot` does."""
    if kind not in KINDS:
        raise InvalidError("plot", kind, f"one of {', '.join(KINDS)}")
    if metric not in study.definition.metrics:
        raise InvalidError("metric", metric, f"one of {', '.join(study.definition.metrics)}")
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plots", "A plot")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    draw: dict[str, Callable[[Searched, str, Axes], str]] = {
        "history": _history, "importance": _importance, "parallel": _parallel,
    }  # fmt: skip
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        title = draw[kind](study, metric, axes)
        axes.set_title(title, loc="left", fontsize=11)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: each drawing would move it a little
    return Plot(title, figure)


def importances(study: Searched, metric: str) -> dict[str, float]:
    """The share of a metric's variance among the better trials that each parameter explains, greatest first, 1 in all.

    PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023), as Optuna has it.

    Raises:
        NotFoundError: fewer than two trials are complete, or all have the same value.
    """
    import optuna

    from mainspring.studies.search import quiet_optuna

    index = study.definition.metrics.index(metric)
    with quiet_optuna():
        found = study.optuna
        complete = found.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if len({trial.values[index] for trial in complete}) < 2:  # one value has nothing to explain
            raise NotFoundError("importance", study.name, hint="It takes two complete trials with different values.")
        target = (lambda trial: trial.values[index]) if len(study.definition.metrics) > 1 else None
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(found, evaluator=evaluator, target=target)
    return dict(shares)


def _complete(study: Searched, metric: str) -> list[tuple[Trial, float]]:
    found = [(trial, trial.values[metric]) for trial in study.trials("complete") if math.isfinite(trial.values[metric])]
    if not found:
        raise NotFoundError("complete trial", study.name, hint="There is nothing to draw yet.")
    return found


def _history(study: Searched, metric: str, axes: Axes) -> str:
    from matplotlib.ticker import MaxNLocator

    complete = _complete(study, metric)
    better = max if _is_up(study, metric) else min
    best: list[float] = []
    for _, value in complete:
        best.append(better(value, *best[-1:]) if best else value)
    numbers = [trial.number for trial, _ in complete]
    axes.plot(numbers, [value for _, value in complete], "o", color=_INK, ms=4, alpha=0.7, label="complete")
    pruned = [(trial.number, trial.value) for trial in study.trials("pruned") if trial.value is not None]
    if pruned:
        axes.plot(*zip(*pruned, strict=True), "x", color=_FAINT, ms=5, label="pruned")
    for place, trial in enumerate(study.trials("failed")):
        axes.axvline(trial.number, color=_BEST, lw=0.6, ls=":", label="failed" if place == 0 else None)
    axes.step(numbers, best, where="post", color=_BEST, lw=1.5, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(_plain(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9)
    return f"{_plain(study.name)}: history"


def _importance(study: Searched, metric: str, axes: Axes) -> str:
    shares = importances(study, metric)
    names = list(shares)[::-1]
    bars = axes.barh([_plain(name) for name in names], [shares[name] for name in names], color=_INK, height=0.6)
    axes.bar_label(bars, [f"{shares[name]:.2f}" for name in names], padding=3, fontsize=9)
    axes.set_xlim(0, max(max(shares.values()) * 1.12, 0.01))
    axes.set_xlabel(f"share of what explains {_plain(metric)}")
    return f"{_plain(study.name)}: importance (PED-ANOVA)"


def _parallel(study: Searched, metric: str, axes: Axes) -> str:
    import matplotlib as mpl

    complete = _complete(study, metric)
    names = sorted({name for trial, _ in complete for name in trial.params})
    rows: list[list[Any]] = [[*(trial.params.get(name) for name in names), value] for trial, value in complete]
    scales = [_Scale([row[column] for row in rows], _is_log(study, name)) for column, name in enumerate([*names, ""])]
    values = [value for _, value in complete]
    low, high = min(values), max(values)
    colours = mpl.colormaps["viridis" if _is_up(study, metric) else "viridis_r"]
    for row in sorted(rows, key=lambda row: row[-1], reverse=not _is_up(study, metric)):  # the best lies on top
        heights = [scale.height(value) for scale, value in zip(scales, row, strict=True)]
        colour = colours((row[-1] - low) / (high - low) if high > low else 0.5)
        axes.plot(range(len(scales)), heights, color=colour, lw=1.0, alpha=0.75)
    for place, scale in enumerate(scales):
        axes.axvline(place, color="#555555", lw=0.8)
        for height, label in scale.ticks():
            axes.text(place + 0.02, height, label, fontsize=8, va="center", backgroundcolor=(1, 1, 1, 0.6))
    axes.set_xticks(range(len(scales)), [_plain(name) for name in [*names, metric]])
    axes.set_yticks([])
    axes.set_xlim(-0.05, len(scales) - 1 + 0.25)
    axes.spines[:].set_visible(False)
    return f"{_plain(study.name)}: parallel coordinates"


class _Scale:
    """Where a parameter's values stand between 0 and 1 on its axis; categories in the order of their names."""

    def __init__(self, values: Sequence[Any], is_log: bool) -> None:
        there = [value for value in values if value is not None]
        self._names: list[Any] = []
        if any(isinstance(value, str | bool) or value is None for value in values) or not there:
            self._names = sorted(set(values), key=str)
            self._low, self._high = 0.0, float(len(self._names) - 1)
        self._is_log = is_log and not self._names
        self._is_whole = all(isinstance(value, int) for value in there)
        if not self._names:
            self._low, self._high = self._on(min(there)), self._on(max(there))

    def _on(self, value: Any) -> float:
        if self._names:
            return float(self._names.index(value))
        return math.log10(value) if self._is_log else float(value)

    def height(self, value: Any) -> float:
        return (self._on(value) - self._low) / (self._high - self._low) if self._high > self._low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Heights and labels."""
        if self._names:
            shown = self._names[:_MOST_LABELS]
            return [
                (self.height(name), "none" if name is None else _plain(str(name)[: 4 * _MOST_LABELS])) for name in shown
            ]
        if self._high == self._low:
            return [(0.5, self._label(0.5))]
        if self._is_whole and not self._is_log:
            between = range(1, _TICKS - 1)
            whole = {round(self._low + (self._high - self._low) * place / (_TICKS - 1)) for place in between}
            return [(self.height(value), str(value)) for value in sorted({*whole, int(self._low), int(self._high)})]
        return [(place / (_TICKS - 1), self._label(place / (_TICKS - 1))) for place in range(_TICKS)]

    def _label(self, height: float) -> str:
        value = self._low + height * (self._high - self._low)
        return f"{10**value if self._is_log else value:.3g}"


def _is_up(study: Searched, metric: str) -> bool:
    return study.definition.directions[study.definition.metrics.index(metric)] == "maximize"


def _is_log(study: Searched, name: str) -> bool:
    return bool(getattr((study.definition.space or {}).get(name), "log", False))


def _plain(text: str) -> str:
    """Text that matplotlib doesn't take for mathematics, without what its font can't draw as a line."""
    return text.replace("$", r"\$")
