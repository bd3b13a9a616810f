"""A study as people hold it: its trials, the best of them, plots, and Optuna's own view."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidError, NotFoundError
from mainspring.ledger import note_search
from mainspring.studies._store import StudyStore
from mainspring.studies.records import Definition, StudyRecord, Trial
from mainspring.workspace import Workspace, current_workspace

if TYPE_CHECKING:
    import optuna

    from mainspring.studies.plots import Plot


class Study:
    """A search for parameters, finished or not. What it tells is as of the moment it is asked."""

    def __init__(self, workspace: Workspace, record: StudyRecord) -> None:
        self.workspace = workspace
        self._record = record

    @property
    def id(self) -> str:
        """The id of its run, of which the trials are children."""
        return self._record.id

    @property
    def name(self) -> str:
        """Its name."""
        return self._record.name

    @property
    def definition(self) -> Definition:
        """What is searched, how, and for what."""
        return self._record.definition

    def trials(self, state: str | None = None, *, taken_over: bool = False) -> list[Trial]:
        """Its trials by number, those of one state if one is named; with `taken_over` also those of a warm start.

        Points of a grid that no trial has begun are given as `"waiting"` alone.
        """
        found = [each for each in StudyStore(self.workspace).trials(self.id) if taken_over or each.taken_from is None]
        return [each for each in found if each.state == state or (state is None and not each.is_untried)]

    @property
    def best(self) -> Trial:
        """The trial with the best value; of equal ones the first.

        Raises:
            NotFoundError: none is complete; how the last one failed is told.
            InvalidError: it has several metrics, of which none alone says what is best: see `pareto`.
        """
        if len(self.definition.metrics) > 1:
            raise InvalidError("best", ", ".join(self.definition.metrics), "one metric", "Use `study.pareto`.")
        return self._any_best()[0]

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of the best trial; raises as `best` does."""
        return dict(self.best.params)

    @property
    def best_value(self) -> float:
        """The value of the best trial; raises as `best` does."""
        return next(iter(self.best.values.values()))

    @property
    def pareto(self) -> list[Trial]:
        """The trials that no other beats in one metric without losing in another, by number; of one metric the best.

        Raises:
            NotFoundError: none is complete.
        """
        return sorted(self._any_best(), key=lambda trial: trial.number)

    def plot(self, kind: str = "history", *, metric: str = "") -> Plot:
        """A plot of kind `history`, `importance` (PED-ANOVA) or `parallel`, of the first metric unless one is named.

        Raises:
            InvalidError: no such kind or metric.
            NotFoundError: too few trials are complete.
            MissingExtraError: matplotlib is not installed.
        """
        from mainspring.studies.plots import plot

        return plot(self, kind, metric or self.definition.metrics[0])

    @property
    def optuna(self) -> optuna.Study:
        """Optuna's study over the same journal, for what it can do besides; trials told to it directly are no runs."""
        from mainspring.studies.search import opened

        return opened(self.workspace, self._record)[0]

    def _any_best(self) -> list[Trial]:
        complete = self.trials("complete")
        if not complete:
            failed = self.trials("failed")
            told = f"The last of {len(failed)} that failed: {failed[-1].error}" if failed else "No trial has ended yet."
            raise NotFoundError("complete trial", self.name, hint=told)
        signs = [1.0 if direction == "minimize" else -1.0 for direction in self.definition.directions]
        points = [
            tuple(sign * trial.values[name] for sign, name in zip(signs, self.definition.metrics, strict=True))
            for trial in complete
        ]
        if len(signs) == 1:
            return [min(zip(points, complete, strict=True), key=lambda pair: pair[0])[1]]
        return [trial for trial, point in zip(complete, points, strict=True) if not _is_beaten(point, points)]

    def __repr__(self) -> str:
        counts = StudyStore(self.workspace).counts([self.id])[self.id]
        told = ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "no trials"
        return f"<study {self.name} {self.id[:12]}: {told}>"

    def _repr_html_(self) -> str:
        names = sorted({name for trial in self.trials() for name in trial.params})
        columns = ["#", "state", *self.definition.metrics, *names]
        rows = [
            [trial.number, trial.state.value, *(trial.values.get(name, "") for name in self.definition.metrics),
             *(trial.params.get(name, "") for name in names)]
            for trial in self.trials()
        ]  # fmt: skip
        lines = (f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in [columns, *rows])
        return f"<b>study {escape(self.name)}</b><table>{''.join(lines)}</table>"


def get_study(name: str, *, workspace: Workspace | None = None) -> Study:
    """A study by its name or a unique beginning of its id; raises `NotFoundError`."""
    workspace = workspace or current_workspace()
    note_search(f"trials of {name}")
    return Study(workspace, StudyStore(workspace).get(name))


def list_studies(limit: int = 100, *, workspace: Workspace | None = None) -> list[Study]:
    """Studies, newest first."""
    workspace = workspace or current_workspace()
    note_search("studies")
    return [Study(workspace, record) for record in StudyStore(workspace).newest(limit)]


def _is_beaten(point: tuple[float, ...], others: list[tuple[float, ...]]) -> bool:
    """Whether another point is nowhere worse and somewhere better; all are to be small."""
    return any(other != point and all(b <= a for a, b in zip(point, other, strict=True)) for other in others)
