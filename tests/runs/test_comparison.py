"""Runs side by side: what differs, what is best, and the page that shows it."""

from __future__ import annotations

import math
import re

import pytest

from mainspring.errors import InvalidError, NotFoundError
from mainspring.runs import best_run, compare_runs, start_run
from mainspring.workspace import Workspace


def test_runs_are_compared(workspace: Workspace) -> None:
    ids = []
    for depth, loss in ((2, 0.5), (3, 0.25), (4, math.nan)):
        with start_run(f"<depth {depth}>", params={"depth": depth, "kind": "tree"}, workspace=workspace) as run:
            for step in range(1, 4):
                run.log_metric("val/loss", loss / step, step=step)
            run.log_metrics({"auc": depth / 10, "width": depth})
        ids.append(run.id)
    found = compare_runs(ids, workspace=workspace)
    assert found.params == {"depth": dict(zip(ids, (2, 3, 4), strict=True))}
    assert found.best == {"auc": ids[2], "val/loss": ids[1]}
    assert [len(curve) for curve in found.curves["val/loss"].values()] == [3, 3, 3]
    assert compare_runs(ids, directions={"width": "min"}, workspace=workspace).best["width"] == ids[0]
    page = found.to_html()
    assert "&lt;depth 2&gt;" in page
    assert page.count("<polyline") == 3
    assert re.findall(r"class=best>([^<]+)<", page) == ["0.4", "0.0833333"]
    assert len(found.plot().axes) == 1
    assert best_run("val/loss", workspace=workspace).id == ids[1]
    assert best_run("width", direction="max", workspace=workspace).id == ids[2]
    with pytest.raises(InvalidError, match="`max` or `min`"):
        best_run("width", workspace=workspace)
    with pytest.raises(NotFoundError, match="Nearest: auc"):
        best_run("aucc", direction="max", workspace=workspace)


def test_nothing_can_not_be_compared(workspace: Workspace) -> None:
    with pytest.raises(InvalidError, match="from 1 to 100"):
        compare_runs([], workspace=workspace)
