"""A folder of MLflow registers with all its files; what is safe to load is loaded and served, what is not says what to do."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mainspring.artifacts import content_digest
from mainspring.artifacts.script import script
from mainspring.errors import InvalidError, NotAllowedError
from mainspring.ledger import Replay, within_task
from mainspring.models import (
    Predictor,
    create_version,
    delete_version,
    example_of,
    get_model_version,
    load_model,
    register_folder,
    set_alias,
)
from mainspring.models.mlmodel import read_mlmodel
from mainspring.runs.files import RunFile, RunFiles
from mainspring.workspace import Workspace, collect
from tests.models.mlflow_folders import LATE, TABLE, folder

pytestmark = pytest.mark.one_backend("files and registry have their own suites on both")


def test_a_skops_model_that_holds_a_definition_of_the_script_is_kept_and_says_why_it_is_not_loaded(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def doubled(rows): return rows * 2", space)
    monkeypatch.setattr(sys.modules["__main__"], "doubled", space["doubled"], raising=False)  # as if it were the script
    model = make_pipeline(FunctionTransformer(space["doubled"]), DecisionTreeClassifier()).fit(TABLE, LATE)
    version = register_folder(folder(tmp_path / "own", model), "late", workspace=workspace)
    assert version.encoded is None
    assert re.search(r"`MLmodel` holds `__main__\.doubled`, of the script.*to a module of the project", version.refusal)


def test_a_skops_model_of_a_script_that_runs_its_pipeline_is_stored_under_its_module(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def doubled(rows): return rows * 2", space)
    monkeypatch.setattr(sys.modules["__main__"], "doubled", space["doubled"], raising=False)
    model = make_pipeline(FunctionTransformer(space["doubled"]), DecisionTreeClassifier()).fit(TABLE, LATE)
    token = script.set("flow")
    try:
        version = register_folder(folder(tmp_path / "own", model), "late", workspace=workspace)
    finally:
        script.reset(token)
    assert version.encoded is not None
    assert version.encoded.brings == ("flow:doubled",)


def test_a_skops_model_of_mlflow_loads_and_answers_as_it_does_there(workspace: Workspace, tmp_path: Path) -> None:
    model = LogisticRegression().fit(TABLE, LATE)
    version = register_folder(folder(tmp_path / "m", model), "late", run="a" * 32)
    assert version.signature is not None
    assert [(each.name, each.dtype, each.nullable) for each in version.signature.inputs] == [
        ("x", "f64", False), ("n", "i64", True)
    ]  # fmt: skip
    predictor = Predictor.load(get_model_version("late"), workspace.blobs)
    assert predictor(TABLE.to_dict("records")) == model.predict(TABLE).tolist()
    assert example_of(version, workspace.blobs) == [{"x": 0.0, "n": 1}, {"x": 1.0, "n": 2}]
    assert content_digest(load_model("late")) == content_digest(model)
    assert version.run == "a" * 32
    again = shutil.copytree(tmp_path / "m", tmp_path / "again")
    (again / "MLmodel").write_text((again / "MLmodel").read_text().replace("a" * 32, "b" * 32))
    assert register_folder(again, "late") == version
    assert [each.path for each in RunFiles(workspace).list(version.id)] == [
        "MLmodel",
        "input_example.json",
        "model.skops",
    ]
    for _ in range(2):
        collect(workspace, grace_s=-1)
    assert Predictor.load(version, workspace.blobs)([{"x": 3.0, "n": 4}]) == [1]
    delete_version(version)
    assert RunFiles(workspace).list(version.id) == []


@pytest.mark.parametrize("form", ["cloudpickle", "pickle"])
def test_a_pickled_model_registers_and_is_never_opened(form: str, workspace: Workspace, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    version = register_folder(folder(tmp_path / "m", Bomb(), form), "bomb")
    set_alias(version, "champion")
    assert version.encoded is None
    for use in (lambda: load_model("bomb@champion"), lambda: Predictor.load(version, workspace.blobs)):
        with pytest.raises(
            NotAllowedError, match=rf"`bomb/1` can't be loaded or served: it is stored as {form}.*allow-pickle"
        ):
            use()
    assert not (tmp_path / "exploded").exists()


def test_a_served_version_must_be_loadable(workspace: Workspace, tmp_path: Path) -> None:
    from mainspring.serving import bind

    register_folder(folder(tmp_path / "m", LinearRegression(), "pickle"), "late")
    with pytest.raises(NotAllowedError, match="can't be loaded or served"):
        bind("live", "late@production", version="late/1")


def test_a_skops_file_that_asks_for_an_unknown_type_is_kept_and_refused(workspace: Workspace, tmp_path: Path) -> None:
    version = register_folder(folder(tmp_path / "m", FunctionTransformer(json.dumps).fit(TABLE)), "odd")
    with pytest.raises(NotAllowedError, match=r"`json\.dumps` at `\.func`, which is not on the list"):
        load_model(version)


def test_a_search_over_distributions_that_mlflow_stored_loads(workspace: Workspace, tmp_path: Path) -> None:
    chosen = make_column_transformer((StandardScaler(), make_column_selector(dtype_include=np.number)))
    search = RandomizedSearchCV(
        make_pipeline(chosen, Ridge()), {"ridge__alpha": stats.uniform(0.1, scale=2)}, n_iter=2, cv=2, random_state=0
    ).fit(TABLE, TABLE.iloc[:, 0])
    again = load_model(register_folder(folder(tmp_path / "m", search), "searched"))
    assert again.predict(TABLE).tolist() == search.predict(TABLE).tolist()
    assert again.param_distributions["ridge__alpha"].support() == (0.1, 2.1)


def test_a_folder_that_is_none_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="a folder with an `MLmodel` file"):
        register_folder(tmp_path, "late")
    with pytest.raises(InvalidError, match="a folder with an `MLmodel` file"):
        register_folder(tmp_path / "missing", "late")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidError, match="a link may lead anywhere"):
        register_folder(tmp_path, "late")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xc3(", "YAML"), (b"a: [", "YAML"), (b"- 1", "a mapping with `flavors`"), (b"flavors: 3", "a mapping with"),
        (b"!!python/object/apply:os.system ['true']", "YAML"), (b"[" * 3_000, "YAML"),
        (b'flavors: {sklearn: {}}\nsignature: {inputs: "["}', "a list of columns"),
        (b"x" * ((4 << 20) + 1), "at most"),
    ],
    ids=range(8),
)  # fmt: skip
def test_a_broken_mlmodel_is_named(text: bytes, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        read_mlmodel(text)


def test_columns_that_are_no_table_are_not_taken_over() -> None:
    def inputs(columns: Any) -> Any:
        return read_mlmodel(json.dumps({"flavors": {}, "signature": {"inputs": json.dumps(columns)}}).encode()).inputs

    array = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}
    assert [(each.name, each.dtype) for each in inputs([array])] == [("0", "f32"), ("1", "f32")]
    image = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 28, 28]}}
    for none in ([image], [{"type": "object", "name": "a"}], {"a": 1}, [1]):
        assert inputs(none) is None


def test_other_flavours_and_missing_files_say_why(workspace: Workspace, tmp_path: Path) -> None:
    for flavours, said in (
        ({"python_function": {"loader_module": "mlflow.pyfunc.model"}}, "it is Python code of its own"),
        ({"spacy": {}, "python_function": {}}, "of the flavour spacy"),
        ({"sklearn": {"serialization_format": "skops", "pickled_model": "../../etc/passwd"}}, "a file of the folder"),
        ({"onnx": {"data": "model.onnx"}}, "a file of the folder"),
    ):
        model = tmp_path / "-".join(flavours)
        model.mkdir()
        (model / "MLmodel").write_text(json.dumps({"flavors": flavours}))
        with pytest.raises(NotAllowedError, match=said):
            load_model(register_folder(model, "odd"))


def test_a_client_makes_a_new_version_each_time_also_of_nothing(workspace: Workspace) -> None:
    first = create_version("prompt", {}, source="dummy-source", tags={"text": "Hi 🎯"})
    second = create_version("prompt", {}, source="dummy-source", tags={"text": "Hi 🎯"})
    assert (first.number, second.number, second.tags) == (1, 2, {"text": "Hi 🎯"})
    with pytest.raises(NotAllowedError, match="registered without a model"):
        load_model("prompt/1")
    digest = workspace.blobs.put(b"data")
    version = create_version("data", {"a/b": RunFile("model/a/b", False, 4, digest)})
    with RunFiles(workspace).open(version.id, "a/b") as file:
        assert file.read() == b"data"
    with pytest.raises(InvalidError, match="path of a file"):
        create_version("data", {"../b": RunFile("", False, 4, digest)})
    with within_task("again", replay=Replay("then")):
        assert create_version("data", {"a/b": RunFile("a/b", False, 4, digest)}).number == 1
        with pytest.raises(NotAllowedError, match="A replay registers nothing"):
            create_version("data", {})


def test_an_array_model_without_a_signature_takes_numbered_columns(workspace: Workspace, tmp_path: Path) -> None:
    model = LinearRegression().fit(np.array([[0.0, 1.0], [1.0, 1.0]]), [0.0, 1.0])
    version = register_folder(folder(tmp_path / "m", model, signature=None), "line")
    assert Predictor.load(version, workspace.blobs)([{"0": 0.5, "1": 1}]) == pytest.approx([0.5])
