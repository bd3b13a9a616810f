"""Logged models: created, finished, described, measured and searched."""

from __future__ import annotations

import math

import pytest

from mainspring.errors import InvalidError, NotFoundError, RemovedError
from mainspring.models import LoggedMetric, LoggedModelStore
from mainspring.workspace import Workspace


def test_a_logged_model_is_written_and_finished(workspace: Workspace) -> None:
    store = LoggedModelStore(workspace)
    made = store.create(0, "model", run="r" * 32, kind="sklearn", tags={"a": "1"}, params={"depth": "3"})
    assert made.id.startswith("m-")
    assert len(made.id) == 34
    assert made.status == "PENDING"
    store.files.put(made.id, "MLmodel", b"x")
    store.set_tags(made.id, {"b": "2"})
    store.log_params(made.id, {"lr": "0.1"})
    store.delete_tag(made.id, "a")
    done = store.finalize(made.id, "READY")
    assert store.get(made.id) == done
    assert (done.status, done.tags, done.params) == ("READY", {"b": "2"}, {"depth": "3", "lr": "0.1"})
    assert [file.path for file in store.files.list(made.id)] == ["MLmodel"]
    store.delete(made.id)
    assert store.files.list(made.id) == []
    with pytest.raises(RemovedError):
        store.get(made.id)
    with pytest.raises(NotFoundError, match="No logged model `m-x`"):
        store.set_tags("m-x", {})
    with pytest.raises(InvalidError, match="one of PENDING, READY, FAILED"):
        store.finalize(made.id, "DONE")


def test_logged_models_are_searched_by_what_was_measured(workspace: Workspace) -> None:
    store = LoggedModelStore(workspace)
    models = [store.create(number % 2, f"m{number}", params={"n": str(number)}) for number in range(4)]
    for number, model in enumerate(models):
        points = [LoggedMetric("auc", number / 10, 1, 1), LoggedMetric("auc", 0.9 - number / 10, 1, 1, "valid", "d")]
        store.log_metrics(model.id, points)
    store.log_metrics(models[0].id, [LoggedMetric("auc", math.nan, 2, 2), LoggedMetric("auc", 0.0, 1, 3)])
    assert [each.name for each in store.search("metrics.auc > 0.85", datasets=[("valid", "d")])] == ["m0"]
    assert [each.name for each in store.search(order_by=["metrics.auc DESC"], datasets=[("valid", "")])] == [
        "m0", "m1", "m2", "m3"
    ]  # fmt: skip
    assert [each.name for each in store.search("params.n = '3' AND name LIKE 'm%'", experiments=[1])] == ["m3"]
    assert [each.name for each in store.search(experiments=[])] == []
    page = store.search(limit=3)
    assert [each.name for each in page] == ["m3", "m2", "m1"]
    assert [each.name for each in store.search(limit=3, cursor=page.cursor)] == ["m0"]
    measured = store.metrics([models[0].id])[models[0].id]
    assert len(measured) == 3
    assert math.isnan(next(each.value for each in measured if each.step == 2))
