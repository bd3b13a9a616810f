"""What a study begins with: the points of a grid that wait in line, and finished trials of another study to learn from."""

from __future__ import annotations

from collections.abc import Mapping

from mainspring.studies._store import StudyStore
from mainspring.studies.records import StudyRecord
from mainspring.studies.search import opened
from mainspring.studies.space import grid
from mainspring.workspace import Workspace


def begin_grid(workspace: Workspace, study: StudyRecord) -> None:
    """Put each point of the grid in line that is not there yet, also if a former call was cut off in between."""
    found, journal = opened(workspace, study)
    have = [trial for trial in journal.store.trials(study.id) if trial.taken_from is None]
    known = {_point(trial.params) for trial in have}
    for point in grid(study.definition.space or {}):
        if _point(point) not in known:
            found.enqueue_trial(point)


def begin_warm(workspace: Workspace, study: StudyRecord, source: StudyRecord) -> None:
    """Take over the finished trials of another study for the sampler to learn from; again, only what is new."""
    found, journal = opened(workspace, study)
    known = {trial.run for trial in journal.store.trials(study.id) if trial.taken_from}
    theirs = {trial.number: trial for trial in StudyStore(workspace).trials(source.id)}
    for frozen in opened(workspace, source)[0].get_trials(deepcopy=False):
        trial = theirs[frozen.number]
        if frozen.state.is_finished() and trial.run not in known:
            journal.source = (trial, source.id)
            found.add_trial(frozen)


def _point(params: Mapping[str, object]) -> str:
    return repr(sorted(params.items()))
