"""Tracking: runs, what they were run with (code, environment, git), what they logged; experiments; search.

A run is what people list and compare. Steps get a run of their own only when they log; a script or notebook gets one by
`start_run`.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ActiveRun": ".active",
        "Checkpoint": ".checkpoint",
        "CheckpointStore": ".checkpoint",
        "Checkpoints": ".checkpoint",
        "Comparison": ".comparison",
        "DatasetInput": ".inputs",
        "EarlyStopping": ".training",
        "EnvironmentCheck": ".environment_check",
        "EnvironmentDifference": ".environment_check",
        "Experiment": ".experiment",
        "ExperimentStore": ".experiments",
        "GitState": ".git",
        "Metric": ".metrics",
        "Metrics": ".metrics",
        "Page": ".page",
        "PointsWait": ".writer",
        "Run": ".run",
        "RunFile": ".files",
        "RunFiles": ".files",
        "RunInputs": ".inputs",
        "RunLog": ".tracking",
        "RunState": ".run",
        "RunStore": "._store",
        "TrainingState": ".training",
        "View": ".experiment",
        "checkpoints": ".checkpoint",
        "best_order": ".comparison",
        "best_run": ".comparison",
        "compare_environments": ".environment_check",
        "compare_runs": ".comparison",
        "git_state": ".git",
        "log_artifact": ".logging",
        "log_dataset": ".logging",
        "log_figure": ".logging",
        "log_file": ".logging",
        "log_metric": ".logging",
        "log_metrics": ".logging",
        "log_note": ".logging",
        "log_param": ".logging",
        "log_table": ".logging",
        "log_tag": ".logging",
        "log_text": ".logging",
        "named_numbers": "._rows",
        "read_environment": ".environment_check",
        "search_runs": ".search",
        "start_run": ".active",
    },
)
