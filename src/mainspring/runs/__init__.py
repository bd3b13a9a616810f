"""Tracking: runs, what they were run with (code, environment, git), what they logged.

A run is what people list and compare. Steps get a run of their own only when they log; a script or notebook gets one by
`start_run`.
"""

from mainspring.runs._store import RunStore, named_numbers
from mainspring.runs.active import ActiveRun, start_run
from mainspring.runs.git import GitState, git_state
from mainspring.runs.metrics import Metric, Metrics
from mainspring.runs.run import Run, RunState
from mainspring.runs.tracking import RunLog, log_artifact, log_metric, log_param, log_tag

__all__ = [
    "ActiveRun",
    "GitState",
    "Metric",
    "Metrics",
    "Run",
    "RunLog",
    "RunState",
    "RunStore",
    "git_state",
    "log_artifact",
    "log_metric",
    "log_param",
    "log_tag",
    "named_numbers",
    "start_run",
]
