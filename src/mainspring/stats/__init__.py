"""Pure statistics that several stages use: resampling, intervals, tests, calibration. Arrays in, numbers out; no I/O.

A `Statistic` is computed from how often each unit counts, so that a bootstrap sorts and looks at the rows once.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Callback", "Combined", "Statistic", "Sums"), "mainspring.stats.statistic"),
        **dict.fromkeys(("AveragePrecision", "RocAuc"), "mainspring.stats.ranked"),
        **dict.fromkeys(("draws", "jackknife", "resampled"), "mainspring.stats.resampling"),
        **dict.fromkeys(
            ("Interval", "bca_interval", "bootstrap_interval", "percentile_interval", "wilson_interval"),
            "mainspring.stats.interval",
        ),
        **dict.fromkeys(
            ("TestResult", "bootstrap_p_value", "delong", "diebold_mariano", "mcnemar"), "mainspring.stats.paired"
        ),
        **dict.fromkeys(
            ("BrierParts", "Reliability", "brier_decomposition", "expected_calibration_error", "reliability"),
            "mainspring.stats.calibration",
        ),
        "holm": "mainspring.stats.correction",
        "student_t_tail": "mainspring.stats.distribution",
    },
)
