"""Evaluation: metrics, slices, and the gates that a model must pass.

`evaluate` gives every metric, overall and on slices; `decide` holds an evaluation to gates and says why.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Metric", "get_metric", "list_metrics"), "mainspring.evaluation.metric"),
        "Slice": "mainspring.evaluation.slice",
        **dict.fromkeys(("Evaluation", "SliceValues", "recorded_evaluation"), "mainspring.evaluation.evaluation"),
        "evaluate": "mainspring.evaluation.evaluate",
        **dict.fromkeys(("Gate", "GateReport", "GateResult", "decide"), "mainspring.evaluation.gate"),
    },
)
