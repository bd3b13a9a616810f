"""Endpoints: the routing row, the alias, the edge and the events move together, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import Replay, within_task
from mainspring.models import (
    ModelVersion,
    export_onnx,
    get_model_version,
    list_aliases,
    load_onnx,
    register,
    set_alias,
)
from mainspring.serving import bind, get_endpoint, list_endpoints, load_predictor
from mainspring.serving.endpoint import options_of
from mainspring.workspace import Workspace


def registered(slope: float, name: str = "line") -> ModelVersion:
    model: Any = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, slope]))
    return register(model, name, input_example=pl.DataFrame({"x": [1.0]}))


def test_an_endpoint_is_bound_moved_and_found(workspace: Workspace) -> None:
    first, second = registered(1), registered(2)
    bound = bind("delays", "line@production", version="line/1")
    assert (bound.target, bound.serves, bound.generation, bound.version) == ("line@production", "line/1", 1, first.id)
    moved = bind("delays", version="line/2", note="better, password=hunter22")
    assert (moved.serves, moved.generation, moved.id, moved.created_at) == ("line/2", 2, bound.id, bound.created_at)
    assert bind("delays", version="line/2") == moved == get_endpoint("delays")
    assert list_endpoints() == [moved]
    assert get_model_version("line@production") == second
    assert workspace.ledger.path(moved.ledger_id, second.id) is not None
    kinds = [event.kind for event in workspace.ledger.events()]
    assert kinds[3:] == ["alias.moved", "endpoint.bound", "alias.moved", "endpoint.moved"]
    assert workspace.ledger.events()[-1].payload["note"] == "better, password=[redacted]"


def test_overrides_stay_as_they_are_until_they_are_changed(workspace: Workspace) -> None:
    registered(1)
    assert not bind("delays", "line@production", version="line/1").overrides
    allowed = bind("delays", overrides=True)
    assert (allowed.overrides, allowed.generation) == (True, 2)
    assert bind("delays") == allowed == get_endpoint("delays")
    assert not bind("delays", overrides=False).overrides


def test_the_runtime_stays_until_it_is_changed_and_is_refused_where_there_is_no_graph(workspace: Workspace) -> None:
    registered(1)
    assert bind("delays", "line@production", version="line/1").runtime == "native"
    with pytest.raises(NotFoundError, match="`mainspring models onnx line/1` makes one"):
        bind("delays", runtime="onnx")
    with pytest.raises(InvalidError, match="`native` or `onnx`"):
        bind("delays", runtime="gpu")  # type: ignore[arg-type]  # that is the point
    export_onnx("line/1")
    moved = bind("delays", runtime="onnx")
    assert (moved.runtime, moved.generation, bind("delays"), get_endpoint("delays")) == ("onnx", 2, moved, moved)
    assert workspace.ledger.events()[-1].payload["runtime"] == "onnx"
    assert type(load_predictor("delays").predictor.model).__name__ == "OnnxModel"
    assert type(load_predictor("delays", runtime="native").predictor.model) is LinearRegression
    registered(2)
    with pytest.raises(NotFoundError, match="`mainspring models onnx line/2` makes one"):
        bind("delays", version="line/2")
    assert get_endpoint("delays") == moved
    assert bind("delays", version="line/2", runtime="native").serves == "line/2"


def test_a_version_that_is_a_graph_has_the_runtime_without_an_export(workspace: Workspace) -> None:
    registered(3)
    export_onnx("line/1")
    register(
        load_onnx(get_model_version("line/1")).model,
        "graph",
        input_example=pl.DataFrame({"x": [1.0]}),
        input_kind="numpy",
    )
    bind("graphs", "graph@production", version="graph/1", runtime="onnx")
    assert load_predictor("graphs")([{"x": 2.0}]) == pytest.approx([6.0])


def test_an_alias_that_exists_is_bound_as_it_is(workspace: Workspace) -> None:
    registered(1), registered(2)
    set_alias("line/1", "production")
    assert bind("delays", "line@production").serves == "line/1"
    with pytest.raises(NotAllowedError, match="mainspring endpoints bind delays --version line/2"):
        set_alias("line/2", "production")


def test_one_alias_has_one_endpoint_and_is_freed_when_that_turns_elsewhere(workspace: Workspace) -> None:
    registered(1), registered(2, "other")
    bind("delays", "line@production", version="line/1")
    with pytest.raises(NotAllowedError):
        bind("second", "line@production")
    assert [endpoint.name for endpoint in list_endpoints()] == ["delays"]
    assert bind("delays", "other@production", version="other/1").serves == "other/1"
    assert [alias.bound_by for alias in list_aliases("line")] == [None]
    assert bind("second", "line@production").serves == "line/1"


def test_what_is_wrong_is_named(workspace: Workspace) -> None:
    registered(1), registered(2, "other")
    bind("delays", "line@production", version="line/1")
    with pytest.raises(NotFoundError, match=r"No endpoint `dleays`\. Nearest: delays"):
        get_endpoint("dleays")
    with pytest.raises(NotFoundError, match="MODEL@ALIAS` makes it"):
        bind("new", version="line/1")
    with pytest.raises(NotFoundError, match="No alias `line@nope`"):
        bind("new", "line@nope")
    with pytest.raises(InvalidError, match="`model@alias`"):
        bind("new", "line/1")
    with pytest.raises(InvalidError, match="a version of `line`"):
        bind("delays", version="other/1")


def test_a_replay_moves_nothing(workspace: Workspace) -> None:
    registered(1), registered(2)
    bound = bind("delays", "line@production", version="line/1")
    with within_task("again", replay=Replay("then")):
        assert bind("delays", version="line/2") == bound
        with pytest.raises(NotAllowedError, match="there is no endpoint `other`"):
            bind("other", "line@other", version="line/2")
    assert get_endpoint("delays") == bound


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan"), "a", True])
def test_a_share_of_the_log_is_a_number_from_0_to_1(share: Any) -> None:
    given: dict[str, Any] = dict.fromkeys(("overrides", "runtime", "log", "redact"))
    with pytest.raises(InvalidError, match=f"log_share: `{share}` is not a share of requests from 0 to 1"):
        options_of(None, **given, log_share=share)
