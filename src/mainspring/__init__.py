"""Mainspring: the whole life of a machine-learning system from one package. `import mainspring as ms`."""

from mainspring.lazy import exports

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "EarlyStopping": "mainspring.runs",
        "Failed": "mainspring.pipelines.task",
        "MainspringError": "mainspring.errors",
        "Secret": "mainspring.secrets",
        "Workspace": "mainspring.workspace",
        "TrainingState": "mainspring.runs",
        "check": "mainspring.data",
        "checkpoints": "mainspring.runs",
        "dataset": "mainspring.data",
        "env": "mainspring.pipelines.code.declared",
        "file": "mainspring.pipelines.code.declared",
        "log_artifact": "mainspring.runs",
        "log_dataset": "mainspring.runs",
        "log_figure": "mainspring.runs",
        "log_file": "mainspring.runs",
        "log_metric": "mainspring.runs",
        "log_metrics": "mainspring.runs",
        "log_note": "mainspring.runs",
        "log_param": "mainspring.runs",
        "log_table": "mainspring.runs",
        "log_tag": "mainspring.runs",
        "log_text": "mainspring.runs",
        "pipeline": "mainspring.pipelines.pipeline",
        "scratch": "mainspring.pipelines.code.declared",
        "search_runs": "mainspring.runs",
        "sql": "mainspring.data",
        "start_run": "mainspring.runs",
        "choices": "mainspring.studies",
        "floats": "mainspring.studies",
        "ints": "mainspring.studies",
        "log_float": "mainspring.studies",
        "study": "mainspring.studies",
        "tune": "mainspring.studies",
        "step": "mainspring.pipelines.step",
        "streams": "mainspring",
    },
)
