"""Tuning: a study searches parameters for the best result of an objective; each trial is a run.

Optuna chooses what to try, over a journal in the workspace's database that several processes share. `study` and `tune`
begin or continue a search, `floats`, `log_float`, `ints` and `choices` say what may be chosen.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Tuned", "resume_study", "study", "tune"), "mainspring.studies.tuning"),
        **dict.fromkeys(("Study", "get_study", "list_studies"), "mainspring.studies.results"),
        **dict.fromkeys(("Trial", "TrialState"), "mainspring.studies.records"),
        **dict.fromkeys(("LiveTrial", "Pruned"), "mainspring.studies.live"),
        **dict.fromkeys(("choices", "floats", "ints", "log_float"), "mainspring.studies.space"),
        "Plot": "mainspring.studies.plots",
    },
)
