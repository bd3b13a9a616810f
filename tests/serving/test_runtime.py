"""One runtime answers for a version of an endpoint, or a batch job: what was chosen, or was faster when it was measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from mainspring.data import dataset
from mainspring.errors import NotFoundError
from mainspring.models import ModelVersion, OnnxExport, Timing, export_onnx, find_onnx_export, register
from mainspring.models.onnx_export import _crossing
from mainspring.serving import bind, get_endpoint, proposed_runtime, runtime
from mainspring.serving.batch import predict_batch
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace

TABLE = pl.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 5.0]})


def registered(slope: float) -> ModelVersion:
    return register(LinearRegression().fit(TABLE, np.arange(3) * slope), "line", input_example=TABLE)


def export(timings: Sequence[Timing]) -> OnnxExport:
    return OnnxExport("m/1", "f", "numpy", 1, 0.0, 0.0, 0.0, 1, tuple(timings), _crossing(timings), 0)


@pytest.mark.one_backend("no store is read")
@given(
    times=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5),
    rows=st.sampled_from([1, 3, 8, 100, 65_536]),
)
def test_the_model_itself_is_proposed_from_the_measured_crossover_on(times: list[tuple[int, int]], rows: int) -> None:
    timings = [Timing(8**place, one / 1e4, other / 1e4) for place, (one, other) in enumerate(times)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "find_onnx_export", lambda *_: export(timings))
        found = runtime.proposed_runtime(None, rows, None)  # type: ignore[arg-type]  # both are only handed on
    slower_from_here = [each.native_s < each.onnx_s for each in timings]
    faster_from = next((timings[at].rows for at in range(len(timings)) if all(slower_from_here[at:])), None)
    assert found.runtime == ("native" if faster_from is not None and rows >= faster_from else "onnx")
    assert "took the model" in found.reason


def test_a_runtime_that_nobody_chose_is_proposed_for_each_version_and_a_chosen_one_stays(workspace: Workspace) -> None:
    first = registered(1.0)
    bound = bind("live", "line@production", version=str(first))
    assert (bound.runtime, bound.runtime_reason) == ("native", "there was no ONNX graph of it then")
    export_onnx(first)
    assert bind("live", log_share=0.5).runtime == "native", (
        "one version is answered by one runtime until it is bound anew"
    )
    second = registered(2.0)
    export_onnx(second)
    proposed = proposed_runtime(second, 1, workspace)
    moved = bind("live", version=str(second))
    assert (moved.runtime, moved.runtime_reason) == tuple(proposed)
    assert get_endpoint("live") == moved
    assert (bind("live", runtime="onnx").runtime_reason, bind("live", log="off").runtime) == ("", "onnx")
    third = registered(3.0)
    with pytest.raises(NotFoundError, match="No ONNX graph"):
        bind("live", version=str(third))
    assert bind("live", version=str(third), runtime="native").runtime == "native"
    assert bind("live", version=str(second)).runtime == "native"


def test_a_batch_of_a_version_takes_what_is_faster_in_large_batches_and_of_an_endpoint_its_own(
    workspace: Workspace,
) -> None:
    dataset("rows").commit(TABLE)
    version = registered(1.0)
    assert predict_batch(version, "rows", to="out").runtime_reason == "there was no ONNX graph of it then"
    export_onnx(version)
    found = find_onnx_export(version, workspace)
    assert found is not None
    done = predict_batch(version, "rows", to="out")
    assert done.runtime == ("onnx" if found.native_faster_from is None else "native")
    for chosen in ("native", "onnx"):
        bind("live", "line@production", version=str(version), runtime=chosen)
        done = predict_batch("live", "rows", to="out")
        assert (done.runtime, done.runtime_reason) == (chosen, "")


def test_a_server_on_the_graph_of_a_registered_model_imports_neither_polars_nor_scikit_learn(
    backend: Backend, workspace: Workspace
) -> None:
    version = registered(1.0)
    export_onnx(version)
    bind("live", "line@production", version=str(version), runtime="onnx")
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    program = f"""
import sys
import httpx
from mainspring.serving.app import ServingApp
from mainspring.web.server import serve_aside
from mainspring.workspace import Workspace
with Workspace.open({str(workspace.project.root)!r}, overrides={where}) as workspace:
    with serve_aside(ServingApp(workspace, "live")) as address:
        answer = httpx.post(address + "/predict", json=[{{"a": 1, "b": 0}}])
        httpx.get(address + "/docs").raise_for_status()
print(round(answer.json()["predictions"][0], 4), sorted({{"polars", "sklearn", "pandas", "scipy", "onnx"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1.0 []", done.stderr
