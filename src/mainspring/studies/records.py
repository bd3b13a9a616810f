"""What is kept of a study and of each of its trials."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from mainspring.studies.space import Range


class TrialState(StrEnum):
    """What became of a trial, in Optuna's words. WAITING has its parameters and nobody who works on it."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One try: a run with parameters, the values of the study's metrics, and what it cost.

    Times are microseconds since 1970. `attempts` counts how often it was begun: more than once if a process died.
    `cost` is in the objective's own unit, seconds if it tells none. `taken_from` is the study it was taken over from.
    """

    number: int
    run: str | None
    state: TrialState
    params: dict[str, Any]
    values: dict[str, float]
    attempts: int
    started_at: int | None
    ended_at: int | None
    cost: float
    error: str | None
    taken_from: str | None

    @property
    def value(self) -> float | None:
        """The value of the first metric; None if the trial came to none."""
        return next(iter(self.values.values()), None)

    @property
    def is_untried(self) -> bool:
        """Whether it is a point of a grid that nobody has begun yet."""
        return self.state is TrialState.WAITING and not self.attempts

    @property
    def duration_s(self) -> float | None:
        """Seconds of the last attempt; None while it goes on."""
        return None if self.started_at is None or self.ended_at is None else (self.ended_at - self.started_at) / 1e6


class Target(msgspec.Struct, frozen=True):
    """Where an objective is found again: a module and a name in it. `path` is the script, for one of `__main__`."""

    module: str
    qualname: str
    path: str = ""

    @property
    def is_importable(self) -> bool:
        """Whether another process can find it."""
        return "<" not in self.qualname and (self.module != "__main__" or bool(self.path))

    def __str__(self) -> str:
        return f"{self.path or self.module}:{self.qualname}"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """When a study ends, and what one trial may take. None is without a limit.

    `trials` and `cost` are of the whole study, however often it is resumed.
    """

    trials: int | None = None
    cost: float | None = None
    trial_timeout_s: float | None = None
    memory_mb: int | None = None


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched, how, and for what; `inputs` are artifacts by the name of the argument that takes them."""

    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    objective: Target
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    space: dict[str, Range] | None = None
    inputs: dict[str, str] = {}
    limits: Limits = Limits()


class StudyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A study: its id is that of its run. `scope` is the task it was made in, empty outside of steps."""

    id: str
    name: str
    scope: str
    definition: Definition
    created_at: int
