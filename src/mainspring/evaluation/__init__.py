"""Evaluation: metrics, slices, comparisons, the gates that a model must pass, and the people who approve it.

`evaluate` gives every metric, overall and on slices, with intervals; `compare` holds a candidate against the champion;
`fairness`, `calibration`, `measure_cost` and `robustness` tell the rest; `decide` holds it all to gates and says why;
`approve` and `reject` are people's word, which policies ask for before a version is promoted.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Metric", "get_metric", "list_metrics"), "mainspring.evaluation.metric"),
        **dict.fromkeys(("Scale", "Scored", "naive_scale"), "mainspring.evaluation.scored"),
        "Slice": "mainspring.evaluation.slice",
        "Bootstrap": "mainspring.evaluation.bootstrap",
        **dict.fromkeys(("Evaluation", "SliceValues"), "mainspring.evaluation.evaluation"),
        "recorded_evaluation": "mainspring.evaluation.recorded",
        "evaluate": "mainspring.evaluation.evaluate",
        **dict.fromkeys(("Comparison", "Difference", "compare"), "mainspring.evaluation.comparison"),
        **dict.fromkeys(("Calibration", "CalibrationBin", "calibration"), "mainspring.evaluation.calibration"),
        **dict.fromkeys(("Fairness", "Gap", "GroupRates", "fairness"), "mainspring.evaluation.fairness"),
        **dict.fromkeys(("Cost", "Latency", "measure_cost"), "mainspring.evaluation.cost"),
        **dict.fromkeys(("ColumnDrop", "Robustness", "robustness"), "mainspring.evaluation.robustness"),
        **dict.fromkeys(("Evidence", "Fact"), "mainspring.evaluation.evidence"),
        **dict.fromkeys(("Gate", "GateReport", "GateResult", "decide", "goal_gates"), "mainspring.evaluation.gate"),
        **dict.fromkeys(
            ("Approval", "approvals", "approve", "evidence_of", "is_approved", "list_waiting", "reject", "withdraw"),
            "mainspring.evaluation.approval",
        ),
        **dict.fromkeys(("Decision", "Objection", "Policy", "Requirement"), "mainspring.evaluation.policy"),
        **dict.fromkeys(("Curves", "EvaluationReport", "curves"), "mainspring.evaluation.report"),
    },
)
