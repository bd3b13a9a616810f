"""What a search of many runs costs: the first page, and the ten best by a metric, against raw SQLite over the same rows.

Budgets: the first page of 10,000 runs, also of those of one state, at most 30 ms; the ten best, of all or of those with a
metric, a parameter and a tag, near the floor of the same search. `--small` makes few runs.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mainspring.runs import Metric, Metrics, RunStore, search_runs
from mainspring.workspace import Workspace

_FLOOR = """
SELECT run.* FROM run CROSS JOIN points.metric_latest AS metric ON metric.series = run.series AND metric.key = 'auc'
WHERE run.deleted_at IS NULL ORDER BY metric.is_nan, metric.value DESC, run.started_at DESC, run.id LIMIT 10
"""  # CROSS keeps SQLite from the slower order: metrics first, by whose series runs are looked up
_CHOSEN_FLOOR = """
SELECT run.* FROM run JOIN run_param AS param ON param.run = run.id AND param.key = 'depth' AND param.text = '3'
JOIN run_tag AS tag ON tag.run = run.id AND tag.key = 'team' AND LOWER(tag.text) LIKE 'ops'
CROSS JOIN points.metric_latest AS metric ON metric.series = run.series AND metric.key = 'auc' AND metric.value > 0.5
LEFT JOIN points.metric_latest AS rank ON rank.series = run.series AND rank.key = 'loss'
WHERE run.deleted_at IS NULL ORDER BY rank.is_nan, rank.value, run.started_at DESC, run.id LIMIT 10
"""


def fill(workspace: Workspace, count: int) -> None:
    """Runs with four parameters, two tags and three metrics each."""
    store, metrics = RunStore(workspace.database, workspace.ledger), Metrics(workspace.metrics)
    points = {}
    with workspace.database.transaction() as tx:
        for number in range(count):
            run = store.create(
                tx, kind="script", name=f"run {number}",
                params={"depth": number % 10, "rate": number / count, "layers": [1, 2], "kind": "tree"},
                tags={"team": "ops", "stage": "draft"},
            )  # fmt: skip
            value = number * 7919 % count / count
            points[run.series] = [Metric(key, value, 0, 1) for key in ("auc", "loss", "took")]
    metrics.append_many(points)


def median_ms(call: Callable[[], object], times: int = 15) -> float:
    """The median of some calls, after one that warms up."""
    call()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def main() -> None:
    """Print each time with its floor."""
    count = 500 if "--small" in sys.argv else 10_000
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace:
        fill(workspace, count)
        raw = sqlite3.connect(workspace.database.place)
        raw.execute("ATTACH ? AS points", (workspace.metrics.place,))
        floor = median_ms(lambda: raw.execute(_FLOOR).fetchall())
        chosen_floor = median_ms(lambda: raw.execute(_CHOSEN_FLOOR).fetchall())
        page_floor = median_ms(
            lambda: raw.execute("SELECT * FROM run ORDER BY started_at DESC, id LIMIT 100").fetchall()
        )
        raw.close()
        best = median_ms(lambda: search_runs(order_by=["metrics.auc DESC"], limit=10, workspace=workspace))
        both = "metrics.auc > 0.5 AND params.depth = '3' AND tags.team ILIKE 'OPS'"
        chosen = median_ms(lambda: search_runs(both, order_by=["metrics.loss"], limit=10, workspace=workspace))
        page = median_ms(lambda: search_runs(limit=100, workspace=workspace))
        cut = median_ms(lambda: search_runs("status = 'KILLED'", limit=100, workspace=workspace))
    print(f"ten best of {count:,} runs by a metric: {best:.1f} ms, {best / floor:.2f} x raw SQLite ({floor:.1f} ms)")
    print(
        f"ten of {count:,} by a metric, a parameter and a tag: {chosen:.1f} ms, {chosen / chosen_floor:.2f} x raw SQLite"
        f" ({chosen_floor:.1f} ms)"
    )
    print(f"first page of 100: {page:.1f} ms (budget 30), raw rows of runs alone {page_floor:.2f} ms")
    print(f"first page of 100 by a state that leases tell, which all have: {cut:.1f} ms (budget 30)")


if __name__ == "__main__":
    main()
