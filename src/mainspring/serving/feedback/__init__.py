"""Feedback: labels of predictions, which join by prediction id or by declared columns and a time, whenever they come.

`log_labels` takes them in (`checking`, `intake`), `compacting` turns closed segments into Parquet, `matching` says which label
is of which prediction, and `labelled` gives predictions with their labels.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("LabelIntake", "Taken", "log_labels"), ".intake"),
        "compact_feedback": ".compacting",
        **dict.fromkeys(("Coverage", "coverage", "labelled", "labels_of", "scan_labels"), ".joining"),
        "log_dataset": ".datasets",
    },
)
