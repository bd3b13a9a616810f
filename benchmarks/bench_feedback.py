"""Predictions with their labels against Polars' bare join of the same files, both read and joined: 1 M each, compacted.

Ours drops repeats, applies corrections and sees no label from the future; the floor does none of it. By id the floor is a left
join, by key `join_asof` with the same tolerance. Counting coverage, and taking labels in, are printed beside. `--small` runs it
once, briefly.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from bench_table_commit import seconds

from mainspring.serving import OutsideService, outside_service
from mainspring.serving.feedback import compact_feedback, coverage, labelled, log_labels
from mainspring.serving.feedback._store import FeedbackParts
from mainspring.serving.feedback.intake import feedback_log
from mainspring.serving.parts import scan_part
from mainspring.serving.predictions import compact_predictions, prediction_log, scan_predictions
from mainspring.workspace import Workspace, using

_AT_ONCE = 10_000
_WINDOW_US = 86_400_000_000


def asked(service: OutsideService, rows: int, seed: int) -> pl.DataFrame:
    """Log so many predictions, and give their keys and ids in another order."""
    random = np.random.default_rng(seed)
    users = pl.Series("user", random.permutation(rows)).cast(pl.String)
    ids: list[str] = []
    for start in range(0, rows, _AT_ONCE):
        own = users[start : start + _AT_ONCE]
        ids += service.log(pl.DataFrame({"user": own, "amount": random.random(len(own))}), random.random(len(own)))
    told = pl.DataFrame({"prediction": ids, "user": users, "label": random.random(rows)})
    return told.sample(fraction=1.0, shuffle=True, seed=seed)


def labels_in(workspace: Workspace, endpoint: str) -> pl.LazyFrame:
    """The labels as they lie in Parquet."""
    return pl.concat(
        scan_part(part, workspace).select("prediction", "label", "event_at", pl.col("^key.user$"))
        for part in FeedbackParts(workspace.database).of(endpoint)
    )


def by_id(workspace: Workspace) -> pl.DataFrame:
    """The bare join by id."""
    labels = labels_in(workspace, "by_id").select("prediction", "label")
    return scan_predictions("by_id").join(labels, left_on="id", right_on="prediction", how="left").collect()


def by_key(workspace: Workspace) -> pl.DataFrame:
    """The bare join by key and time, and the predictions beside."""
    predictions = scan_predictions("by_key")
    left = labels_in(workspace, "by_key").sort("event_at")
    right = predictions.select("id", "input.user", "at").sort("at")
    found = left.join_asof(
        right, left_on="event_at", right_on="at", by_left="key.user", by_right="input.user", check_sortedness=False
    )
    return predictions.join(found.select("id", "label"), on="id", how="left").collect()


def compare(what: str, floor: float, took: float) -> None:
    """Print one line."""
    print(f"{what}: {took:.2f} s, {took / floor:.2f} x bare Polars ({floor:.2f} s)")


def main() -> None:
    """Print the ratios."""
    rows, rounds = (5_000, 1) if "--small" in sys.argv else (1_000_000, 3)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "mainspring.toml").write_text('name = "feedback"\n')
        with Workspace.open(folder) as workspace, using(workspace):
            for name, columns, floor in (("by_id", ["prediction"], by_id), ("by_key", ["user"], by_key)):
                service = outside_service(name, "1", label_key=["user"], label_window="1d", label_type="f64")
                told = asked(service, rows, 0)
                came = seconds(partial(log_labels, name, told.select(*columns, "label")))
                print(f"{name}: {rows:,} labels taken in at {rows / came:,.0f} a second")
                prediction_log(workspace).rotate()
                feedback_log(workspace).rotate()
                compact_predictions()
                packed = seconds(compact_feedback)
                print(f"{name}: compacted at {rows / packed:,.0f} labels a second")
                pairs = [
                    (seconds(partial(floor, workspace)), seconds(lambda name=name: labelled(name).collect()))
                    for _ in range(rounds)
                ]
                compare(f"{name}: {rows:,} predictions with {rows:,} labels", *map(min, zip(*pairs, strict=True)))
                assert labelled(name).select(pl.col("label").is_not_null().sum()).collect().item() == rows
                print(f"{name}: coverage in {seconds(partial(coverage, name)):.2f} s")


if __name__ == "__main__":
    main()
