"""Models that lie in files and folders: registered once, bound to an endpoint of their name, or refused with reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mainspring.errors import CodecError, InvalidError, NotAllowedError, NotFoundError
from mainspring.models import list_model_versions, list_models
from mainspring.serving import bind, get_endpoint, load_predictor
from mainspring.serving.elsewhere import endpoint_for, endpoints_for
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("registering and binding have suites of their own")
ONNX_FOLDER = "flavors:\n  onnx:\n    data: model.onnx\n  python_function:\n    loader_module: mlflow.onnx\n"


def write_graph(path: Path, slope: float = 2.0) -> str:
    """A graph that gives `slope` times the first of its two columns."""
    weights = numpy_helper.from_array(np.array([[slope], [0.0]], np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "line",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])], [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path)
    return str(path)


def test_an_onnx_file_is_an_endpoint_of_its_name_and_registered_once(workspace: Workspace, tmp_path: Path) -> None:
    path = write_graph(tmp_path / "my line.onnx")
    assert endpoint_for(path) == endpoint_for(path) == "my-line"
    assert [str(each) for each in list_model_versions("my-line")] == ["my-line/1"]
    assert load_predictor("my-line")([{"0": 3.0, "1": 5.0}]) == pytest.approx([6.0])
    bound = get_endpoint("my-line")
    assert (bound.generation, bound.runtime, bound.runtime_reason) == (1, "native", "it is an ONNX graph itself")
    write_graph(tmp_path / "my line.onnx", slope=3.0)
    assert endpoint_for(path) == "my-line"
    assert (get_endpoint("my-line").serves, get_endpoint("my-line").generation) == ("my-line/2", 2)


def test_a_folder_of_mlflow_is_an_endpoint_of_its_name(workspace: Workspace, tmp_path: Path) -> None:
    write_graph(tmp_path / "folder" / "model.onnx")
    (tmp_path / "folder" / "MLmodel").write_text(ONNX_FOLDER)
    assert endpoint_for(f"{tmp_path}/folder/") == endpoint_for(str(tmp_path / "folder")) == "folder"
    assert len(list_model_versions("folder")) == 1
    assert load_predictor("folder")([{"0": 3.0, "1": 5.0}]) == pytest.approx([6.0])


def test_a_name_stays_a_name(workspace: Workspace) -> None:
    assert endpoint_for("delays") == "delays"


def test_what_cannot_be_served_is_said(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    with pytest.raises(InvalidError, match="MLmodel"):
        endpoint_for(str(folder))
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n")
    with pytest.raises(NotAllowedError, match="Python code of its own, whose loading runs code from the folder"):
        endpoint_for(str(folder))
    (folder / "MLmodel").write_text("flavors: [")
    with pytest.raises(
        NotAllowedError, match=r"The model in `.*own` can't be loaded or served: MLmodel: .* is not YAML"
    ):
        endpoint_for(str(folder))
    (folder / "MLmodel").write_text(ONNX_FOLDER)  # of which the graph is missing
    with pytest.raises(NotAllowedError, match=r"model\.onnx"):
        endpoint_for(str(folder))
    assert list_models() == []
    (tmp_path / "no.onnx").write_text("text")
    with pytest.raises(CodecError, match="no ONNX graph"):
        endpoint_for(str(tmp_path / "no.onnx"))
    with pytest.raises(NotFoundError):
        endpoint_for("missing.onnx")
    with pytest.raises(InvalidError, match="endpoint"):
        endpoint_for(write_graph(tmp_path / "-.onnx"))
    assert list_models() == []


def test_a_pickle_is_registered_as_a_person_can_allow_it(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"whatever")
    (folder / "MLmodel").write_text(
        "flavors:\n  sklearn:\n    pickled_model: model.pkl\n    serialization_format: pickle\n"
    )
    with pytest.raises(NotAllowedError, match=r"`pickled/1`.* mainspring models allow-pickle"):
        endpoint_for(str(folder))
    assert [str(each) for each in list_model_versions("pickled")] == ["pickled/1"]


def test_an_endpoint_of_another_model_is_not_moved(workspace: Workspace, tmp_path: Path) -> None:
    endpoint_for(write_graph(tmp_path / "line.onnx"))
    bind("line", "line@other", version="line/1")
    with pytest.raises(InvalidError, match="serves line@other"):
        endpoint_for(str(tmp_path / "line.onnx"))


def test_an_endpoint_that_is_named_twice_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    first, second = write_graph(tmp_path / "a" / "line.onnx"), write_graph(tmp_path / "b" / "line.onnx", slope=3.0)
    with pytest.raises(InvalidError, match="endpoint: `line` is not named once"):
        endpoints_for([first, second])
    assert list_models() == []
    assert endpoints_for([first]) == ("line",)
    for twice in (["line", "line"], ["line", first]):
        with pytest.raises(InvalidError, match="is not named once"):
            endpoints_for(twice)
