"""What a study adds to a trial: against Optuna in memory, and against Optuna's own storage on SQLite.

Each trial has two parameters and three reports; the sampler is random, so that the search itself costs next to nothing.
Ours records each trial as a run with parameters, metrics, lineage and a lease.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mainspring.studies import study
from mainspring.workspace import Workspace


def objective(trial: Any) -> float:
    """A trial that costs nothing itself."""
    x = trial.suggest_float("x", -1, 1)
    y = trial.suggest_int("y", 0, 9)
    for step in range(3):
        trial.report(x + step, step)
    return float(x * x + y)


def of_optuna(storage: str | None, trials: int) -> float:
    """Seconds for each trial of Optuna's own loop."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    began = time.perf_counter()
    found.optimize(objective, n_trials=trials)
    return (time.perf_counter() - began) / trials


def of_ours(folder: Path, trials: int) -> float:
    """Seconds for each trial of a study, from the second call on: the first opens everything."""
    with Workspace.open(folder) as workspace:
        options: dict[str, Any] = {"direction": "minimize", "sampler": "random", "workspace": workspace}
        study("bench", objective, trials=1, **options)
        began = time.perf_counter()
        study("bench", objective, trials=trials + 1, **options)
        return (time.perf_counter() - began) / trials


def main() -> int:
    """Print the three and their ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=200)
    arguments.add_argument("--small", action="store_true", help="a few trials, to see that it runs")
    asked = arguments.parse_args()
    trials = 5 if asked.small else asked.trials
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        memory = of_optuna(None, trials)
        ours = of_ours(Path(folder) / "ours", trials)
        rdb = of_optuna(f"sqlite:///{folder}/rdb.db", trials) if find_spec("sqlalchemy") else None
    print(f"Optuna in memory     {memory * 1e3:8.2f} ms a trial")
    print(f"Mainspring           {ours * 1e3:8.2f} ms a trial")
    if rdb is not None:
        print(f"Optuna on SQLite     {rdb * 1e3:8.2f} ms a trial")
        print(f"Mainspring / Optuna on SQLite: {ours / rdb:.2f} (budget 1.00)")
        return int(not asked.small and ours > rdb)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
