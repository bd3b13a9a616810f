"""The record of a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

CLIENT_KIND = "mlflow"
"""The kind of a run that a client of MLflow made. Nobody holds a lease on it: it runs until its client ends it."""


class RunState(StrEnum):
    """What became of a run. Only RUNNING can change; one whose lease is gone is INTERRUPTED for whoever reads it."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Who ran what, when, from which code, in which environment, and how it ended.

    Times are microseconds since 1970; `code`, `environment` and `git_diff` are blob digests; `params` are as recorded,
    without secrets. `series` names the metric points that are this run's. `worked_s` is what went before `resumed_at`;
    `log`, `cpu_s` and `peak_bytes` are a script's own: those of a pipeline are its tasks'. A run that is deleted can be
    restored until a collection purges it.
    """

    id: str
    kind: str
    name: str
    experiment: str
    parent: str | None
    state: RunState
    started_at: int
    ended_at: int | None
    actor: str
    note: str
    target: str
    module: str
    params: dict[str, Any]
    tags: dict[str, str]
    seed: int
    threads: int
    hash_seed_fixed: bool
    code: str | None
    code_digest: str | None
    environment: str | None
    environment_digest: str | None
    git_commit: str | None
    git_diff: str | None
    replay_of: str | None
    series: str
    error: str | None
    resumed_at: int | None = None
    worked_s: float = 0.0
    log: str | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    updated_at: int = 0
    deleted_at: int | None = None

    @property
    def duration_s(self) -> float | None:
        """Wall time in seconds, without the pause before a run was resumed; None while it goes on."""
        if self.ended_at is None:
            return None
        return self.worked_s + (self.ended_at - (self.resumed_at or self.started_at)) / 1e6
