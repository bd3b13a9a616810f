"""An ONNX file registers with what its graph takes and gives, and is served without Polars and scikit-learn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mainspring.errors import CodecError, InvalidError, NotFoundError
from mainspring.models import Field, Output, Predictor, Signature, get_model_version, load_model, register_onnx
from mainspring.serving import bind
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("the registry has its own suite on both")


def graph_of(nodes: list[Any], inputs: list[Any], outputs: list[Any], *, opsets: Any = ()) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), *opsets], ir_version=9)
    found: bytes = made.SerializeToString()
    return found


def saved(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], *, opsets: Any = ()) -> Path:
    path.write_bytes(graph_of(nodes, inputs, outputs, opsets=opsets))
    return path


def port(name: str, kind: int = TensorProto.FLOAT, shape: Any = (None, 2)) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def summed(path: Path) -> Path:
    axes = helper.make_node("Constant", [], ["axes"], value=helper.make_tensor("axes", TensorProto.INT64, [1], [1]))
    add = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)
    return saved(path, [axes, add], [port("x")], [port("y", shape=(None, 1))])


def classifier(path: Path) -> Path:
    node = helper.make_node(
        "LinearClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", coefficients=[-1.0, 0.0, 1.0, 0.0],
        intercepts=[0.0, 0.0], classlabels_strings=["early", "late"], post_transform="SOFTMAX",
    )  # fmt: skip
    outputs = [port("label", TensorProto.STRING, (None,)), port("p")]
    return saved(path, [node], [port("x")], outputs, opsets=[helper.make_opsetid("ai.onnx.ml", 3)])


def test_a_graph_over_rows_answers_records(workspace: Workspace, tmp_path: Path) -> None:
    path = summed(tmp_path / "m.onnx")
    version = register_onnx(path, "sum", note="from elsewhere")
    assert version.signature == Signature((Field("0", "f32"), Field("1", "f32")), Output("number"))
    assert Predictor.load(version, workspace.blobs)([{"0": 1.5, "1": 2}, {"0": 0, "1": 1}]) == [3.5, 1.0]
    assert register_onnx(path, "sum") == version
    assert load_model("sum").data == path.read_bytes()
    named = register_onnx(path, "sum", signature=Signature((Field("a", "f64"), Field("b", "f64"))))
    assert Predictor.load(named, workspace.blobs)([{"a": 1.5, "b": 2}]) == [3.5]


def test_a_classifier_answers_with_probabilities_of_its_classes(workspace: Workspace, tmp_path: Path) -> None:
    path = classifier(tmp_path / "m.onnx")
    version = register_onnx(path, "late")
    assert version.signature is not None
    assert version.signature.output == Output("probability", ("early", "late"))
    answers = Predictor.load(version, workspace.blobs)([{"0": 0, "1": 0}, {"0": 5, "1": 0}])
    assert answers == [0.5, pytest.approx(1 / (1 + np.exp(-10)))]
    labels = register_onnx(path, "late", output=Output("label", ("early", "late")))
    assert Predictor.load(labels, workspace.blobs)([{"0": 5, "1": 0}]) == ["late"]


def test_a_graph_with_an_input_for_each_column_takes_columns(workspace: Workspace, tmp_path: Path) -> None:
    node = helper.make_node("Mul", ["price", "count"], ["y"])
    inputs = [port("price", shape=(None, 1)), port("count", shape=(None, 1))]
    path = saved(tmp_path / "m.onnx", [node], inputs, [port("y", shape=(None, 1))])
    version = register_onnx(path, "cost", input_example=[{"price": 2.0, "count": 3.0}])
    assert version.input_kind == "columns"
    assert Predictor.load(version, workspace.blobs)([{"count": 3, "price": 0.5}, {"price": 1, "count": 1}]) == [
        1.5,
        1.0,
    ]


def test_what_is_no_graph_or_gives_no_answers_is_named(workspace: Workspace, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    with pytest.raises(NotFoundError, match=r"ONNX file `.*broken\.onnx`"):
        register_onnx(broken, "sum")
    broken.write_bytes(summed(tmp_path / "m.onnx").read_bytes()[:40])
    with pytest.raises(CodecError, match="The file is no ONNX graph"):
        register_onnx(broken, "sum")
    outside = onnx.load(tmp_path / "m.onnx")
    tensor = onnx.helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    outside.graph.initializer.append(tensor)
    broken.write_bytes(outside.SerializeToString())
    with pytest.raises(CodecError, match=r"files beside it|no ONNX graph"):
        register_onnx(broken, "sum")
    wide = saved(tmp_path / "w.onnx", [helper.make_node("Neg", ["x"], ["y"])], [port("x")], [port("y")])
    with pytest.raises(InvalidError, match=r"one answer for each row.*output=Output\('probabilities'"):
        register_onnx(wide, "wide")
    whole = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    for output in (None, Output("number")):
        path = saved(tmp_path / "s.onnx", [whole], [port("x")], [port("y", shape=())])
        with pytest.raises(InvalidError, match=r"output y.*one answer for each row"):
            register_onnx(path, "whole", output=output)
    kept = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)
    path = saved(tmp_path / "k.onnx", [kept], [port("x")], [port("y", shape=(1, 1))])
    with pytest.raises(InvalidError, match=r"output y.*one answer for each row"):
        register_onnx(path, "kept", output=Output("number"))
    image = [port("x", shape=(None, 3, 3))], [port("y", shape=(None, 3, 3))]
    path = saved(tmp_path / "i.onnx", [helper.make_node("Neg", ["x"], ["y"])], *image)
    with pytest.raises(InvalidError, match="one value for each row"):
        register_onnx(path, "image", output=Output("number"))


def test_serving_a_graph_imports_neither_polars_nor_scikit_learn(
    backend: Backend, workspace: Workspace, tmp_path: Path
) -> None:
    register_onnx(summed(tmp_path / "m.onnx"), "sum", input_example=[{"0": 1.0, "1": 2.0}])
    bind("live", "sum@production", version="sum/1")
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    program = f"""
import sys
from mainspring.serving.live import load_live
from mainspring.workspace import Workspace
live = load_live(Workspace.open({str(tmp_path)!r}, overrides={where}), "live")
print(live.predictor([{{"0": 1, "1": 2}}]), sorted({{"polars", "sklearn", "pandas", "scipy", "onnx"}} & set(sys.modules)))
"""
    home = tmp_path / "home"
    home.mkdir()
    variables = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {
        "HOME": str(home)
    }
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path, env=variables
    )
    assert answer.stdout.strip() == "[3.0] []", answer.stderr
    assert not [*home.rglob("*")], "onnxruntime keeps an identity of the device where it tells Microsoft what it does"
    assert get_model_version("sum@production").number == 1
