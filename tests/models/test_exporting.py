"""An exported folder answers as its version, checks as the predictor does, pins what it needs, and is whole or not there."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mainspring.artifacts.project import importing_from
from mainspring.errors import CodecError, ExistsError, InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.models import (
    Field,
    ModelVersion,
    Output,
    Predictor,
    Signature,
    allow_pickle,
    export_model,
    export_onnx,
    load_onnx,
    register,
    register_folder,
)
from mainspring.models.exporting import folder as exporting
from mainspring.models.exporting import portable
from mainspring.models.exporting.portable import Portable
from mainspring.models.libraries import libraries_of
from mainspring.models.mlmodel import read_mlmodel
from mainspring.models.probes import few_probes
from mainspring.runs import environment
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("the registry's stores have their own suites on both; folders are local")
RANDOM = np.random.default_rng(0)
TABLE = pl.DataFrame({"a": RANDOM.normal(size=60), "b": RANDOM.integers(0, 9, 60)})
LATE = (TABLE["a"] > 0).cast(int).to_numpy()
THREE = [str(each) for each in TABLE["b"].to_numpy() % 3]


def lightgbm(kind: str, target: Any, **more: Any) -> Any:
    import lightgbm as library

    made = getattr(library, kind)(n_estimators=3, n_jobs=1, verbose=-1, min_child_samples=1, **more)
    return made.fit(TABLE.to_pandas(), target)


def xgboost(kind: str, target: Any = LATE, **more: Any) -> Any:
    import xgboost as library

    return getattr(library, kind)(n_estimators=3, n_jobs=1, **more).fit(TABLE.to_pandas(), target)


def catboost() -> Any:
    import catboost as library

    made = library.CatBoostClassifier(iterations=3, thread_count=1, verbose=False, allow_writing_files=False)
    return made.fit(TABLE.to_pandas(), THREE)


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "array": lambda: (LinearRegression().fit(TABLE.to_numpy(), LATE), TABLE),
    "polars": lambda: (LogisticRegression().fit(TABLE, LATE), TABLE),
    "pipeline": lambda: (
        make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=3)).fit(TABLE.to_pandas(), THREE),
        TABLE.with_columns(a=pl.when(pl.col("b") > 1).then(pl.col("a"))).to_pandas(),
    ),
    "xgboost": lambda: (xgboost("XGBClassifier"), TABLE.to_pandas()),
    "xgboost-regressor": lambda: (xgboost("XGBRegressor"), TABLE.to_pandas()),
    "lightgbm": lambda: (lightgbm("LGBMClassifier", LATE), TABLE.to_pandas()),
    "lightgbm-three": lambda: (lightgbm("LGBMClassifier", THREE), TABLE.to_pandas()),
    "lightgbm-regressor": lambda: (lightgbm("LGBMRegressor", LATE), TABLE.to_pandas()),
    "catboost": lambda: (catboost(), TABLE.to_pandas()),
}


# What no file of their libraries says, or heeds when it is opened.
ENDS = TABLE["b"].is_in([0, 1, 7, 8]).cast(int).to_numpy()
SETTINGS: dict[str, Callable[[], Any]] = {
    "zero missing": lambda: xgboost("XGBRegressor", ENDS, missing=0.0),
    "number missing": lambda: xgboost("XGBClassifier", ENDS, missing=8),
    "infinity missing": lambda: xgboost("XGBRegressor", ENDS, missing=float("inf")),
    "stopping early": lambda: lightgbm(
        "LGBMClassifier", LATE, pred_early_stop=True, pred_early_stop_freq=1, pred_early_stop_margin=0.1
    ),
}


ALONE = "import runpy, sys; sys.modules['mainspring'] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


def ask(program: Path, lines: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process that can't import Mainspring."""
    command = [sys.executable, "-Ic", ALONE, str(program), *arguments]
    return subprocess.run(command, input=lines, capture_output=True, check=False)


def alone(folder: Path, program: str = "predict.py") -> list[Any]:
    """What a folder answers of the table in such a process."""
    lines = b"".join(msgspec.json.encode(each) + b"\n" for each in TABLE.to_dicts())
    answered = ask(folder / program, lines, str(folder))
    assert answered.returncode == 0, answered.stderr.decode()
    return [json.loads(line) for line in answered.stdout.splitlines()]


def linear(**more: Any) -> ModelVersion:
    return register(LogisticRegression().fit(TABLE, LATE), "late", signature=TABLE, **more)


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_answers_as_its_version(name: str, workspace: Workspace, tmp_path: Path) -> None:
    model, given = MODELS[name]()
    version = register(model, name, signature=given)
    found = export_model(version, tmp_path / "out")
    assert found.tried_rows == 5
    records = [{key: None if value != value else value for key, value in row.items()} for row in TABLE.to_dicts()]
    assert run_path(str(tmp_path / "out/predict.py"))["predict"](records) == Predictor.load(version, workspace.blobs)(
        records
    )


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("form", ["folder", "mlflow"])
def test_what_only_the_estimator_knows_goes_along_and_mlflow_is_not_told_to_open_the_file_without(
    name: str, form: Any, workspace: Workspace, tmp_path: Path
) -> None:
    model, place = SETTINGS[name](), tmp_path / "out"
    harmless = TABLE.filter(pl.col("b").is_between(1, 7))  # rows that don't tell zero or eight from what is missing
    version = register(model, "settings", signature=TABLE.to_pandas(), input_example=harmless[:1].to_pandas())
    export_model(version, place, form=form)
    expected = Predictor.load(version, workspace.blobs)(TABLE.to_dicts())
    program = "code/mainspring_predict.py" if form == "mlflow" else "predict.py"
    assert run_path(str(place / program))["load"](place).predict(TABLE.to_dicts()) == expected
    if form == "mlflow":
        assert list(read_mlmodel((place / "MLmodel").read_bytes()).flavours) == ["python_function"]
        assert "from its project" in register_folder(place, "back").refusal


def test_what_the_example_would_not_show_is_found_on_rows_that_are_made_up(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless = TABLE.filter(pl.col("b").is_between(1, 7))
    version = register(
        SETTINGS["zero missing"](), "odd", signature=TABLE.to_pandas(), input_example=harmless[:5].to_pandas()
    )
    whole = export_model(version, tmp_path / "whole")
    assert (whole.tried_rows, whole.probes > 200) == (5, True)
    written = portable._FORMATS["xgboost"]

    def without_settings(model: Any) -> Portable:
        found = written(model)
        return msgspec.structs.replace(found, settings={**found.settings, "missing": "nan"})

    monkeypatch.setitem(portable._FORMATS, "xgboost", without_settings)
    with pytest.raises(CodecError, match=r"answers otherwise: .* in a made-up row\. The row is \{'a': .*, 'b': 0\}"):
        export_model(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_made_up_is_within_the_signature_and_of_what_the_model_takes(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Without an example, too; a column of dates can't be made up."""

    class Picky(LinearRegression):  # type: ignore[misc]  # scikit-learn has no types
        def predict(self, rows: Any) -> Any:
            if (rows["n"] == 0).any():
                raise ZeroDivisionError
            return rows["n"] / 2

    fields = (Field("n", "u8"), Field("text", "str", nullable=True), Field("x", "f64", nullable=True))
    native = Predictor(Picky(), Signature(fields), "pandas")
    rows = few_probes(native.model, native, [])
    assert rows == few_probes(native.model, native, [])
    assert native.check(rows)[1] == []
    assert 0 not in {row["n"] for row in rows}
    assert {None, "", "0"} < {row["text"] for row in rows}
    assert {None, 0.0, 1.0, -1.0, 1_000.0, -1_000.0} <= {row["x"] for row in rows}
    dated = Predictor(Picky(), Signature((*fields, Field("day", "date"))), "pandas")
    assert few_probes(dated.model, dated, []) == []


def test_a_bare_booster_of_xgboost_is_refused_with_what_to_register(workspace: Workspace, tmp_path: Path) -> None:
    booster = xgboost("XGBRegressor", ENDS).get_booster()
    with pytest.raises(WrongTypeError, match=r"XGBoost's own matrix\. Register an estimator: `made = xgboost\.XGBReg"):
        register(booster, "bare", signature=TABLE, input_kind="numpy")
    version = register(booster, "bare", signature=Signature.infer(TABLE), input_kind="numpy")
    for export in (lambda: export_onnx(version), lambda: export_model(version, tmp_path / "out")):
        with pytest.raises(WrongTypeError, match="Register an estimator"):
            export()


@pytest.mark.parametrize(
    ("library", "made"),
    [
        ("xgboost", lambda: xgboost("XGBClassifier")),
        ("lightgbm", lambda: lightgbm("LGBMClassifier", LATE)),
        ("catboost", lambda: catboost()),
    ],
    ids=["xgboost", "lightgbm", "catboost"],
)
def test_a_pipeline_around_a_booster_registers_and_goes_along_as_its_graph_alone(
    library: str, made: Callable[[], Any], workspace: Workspace, tmp_path: Path
) -> None:
    model = make_pipeline(StandardScaler(), clone(made())).fit(TABLE.to_pandas(), LATE)
    version = register(model, "inside", signature=TABLE.to_pandas())
    answers = Predictor.load(version, workspace.blobs)(TABLE.to_dicts())
    assert version.encoded is not None
    assert answers == model.predict_proba(TABLE.to_pandas())[:, 1].tolist()
    assert {"sklearn", "skops", library} <= libraries_of(version.encoded, workspace.blobs)
    for export in (
        lambda: export_model(version, tmp_path / "out"),
        lambda: export_model(version, tmp_path / "out", form="mlflow"),
    ):
        with pytest.raises(CodecError, match=f"stored by `{library}`.*mainspring models onnx"):
            export()
    if library != "catboost":
        assert export_onnx(version).largest_error < 1e-6


def test_labels_and_pickles_go_along(workspace: Workspace, tmp_path: Path) -> None:
    for name, model in (("skops", LogisticRegression().fit(TABLE, THREE)), ("lgbm", lightgbm("LGBMClassifier", THREE))):
        signature = Signature.infer(TABLE, output=Output("label", ("0", "1", "2")))
        version = register(model, name, signature=signature, input_kind="pandas", pickled=name == "skops")
        if name == "skops":
            with pytest.raises(NotAllowedError, match="nobody allowed it"):
                export_model(version, tmp_path / name)
            version = allow_pickle(version, note="mine")
        found = export_model(version, tmp_path / name)
        assert found.format == ("pickle" if name == "skops" else "lightgbm")
        given = run_path(str(tmp_path / name / "predict.py"))["predict"](TABLE.to_dicts())
        assert given == Predictor.load(version, workspace.blobs)(TABLE.to_dicts())


def test_a_graph_that_went_along_answers_a_row_by_the_same_bits_however_many_are_asked_about(
    workspace: Workspace, tmp_path: Path
) -> None:
    model = make_pipeline(StandardScaler(), MLPClassifier(tol=1, random_state=0)).fit(TABLE, LATE)
    version = register(model, "late", signature=TABLE)
    export_onnx(version)
    export_model(version, tmp_path / "out", form="onnx")
    answer, rows = run_path(str(tmp_path / "out/predict.py"))["load"](tmp_path / "out").predict, TABLE.to_dicts()
    whole = answer(rows)
    assert whole == load_onnx(version)(rows)
    for size in (1, 2, 3, 7):
        assert [each for at in range(0, len(rows), size) for each in answer(rows[at : at + size])] == whole, size


def test_the_program_answers_lines_and_needs_no_mainspring(workspace: Workspace, tmp_path: Path) -> None:
    version = linear()
    with pytest.raises(NotFoundError, match="mainspring models onnx late/1"):
        export_model(version, tmp_path / "out", form="onnx")
    export_onnx(version)
    export_model(version, tmp_path / "out", form="onnx")
    assert alone(tmp_path / "out") == load_onnx(version)(TABLE.to_dicts())
    wrong = ask(tmp_path / "out/predict.py", b'{"a": "x", "b": 1}\n')
    assert (wrong.returncode, wrong.stderr) == (1, b"Error: [0].a: 'x', expected f64\n")


def test_a_library_that_is_missing_is_named_with_what_installs_it(workspace: Workspace, tmp_path: Path) -> None:
    export_model(linear(), tmp_path / "out")
    for library in ("polars", "skops"):
        hidden = ALONE.replace("mainspring", library)
        command = [sys.executable, "-Ic", hidden, str(tmp_path / "out/predict.py")]
        answered = subprocess.run(command, input=b"", capture_output=True, check=False, cwd=tmp_path)
        [line] = answered.stderr.decode().splitlines()
        assert (answered.returncode, library in line) == (1, True), line
        assert f"`pip install -r {tmp_path / 'out/requirements.txt'}`" in line


@pytest.mark.parametrize("module", ["mainspring.models.exporting.predict", "mainspring.artifacts.torch_program"])
def test_the_program_imports_nothing_of_mainspring(module: str) -> None:
    source = Path(import_module(module).__file__ or "").read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name.startswith("mainspring")] == []


@pytest.mark.parametrize("nullable", [False, True])
def test_the_program_takes_what_the_signature_takes(nullable: bool) -> None:
    program = run_path(str(Path(exporting.__file__).with_name("predict.py")))
    dtypes = [f"{sign}{bits}" for sign in "iu" for bits in (8, 16, 32, 64)]
    dtypes += ["f32", "f64", "bool", "str", "cat", 'enum["x", "y"]', "date", "datetime[us]", "uuid", "bin"]
    values: list[Any] = [
        None, float("nan"), float("inf"), True, 0, -1, 127, 128, 255, 256, 2**31, 2**63 - 1, 2**63, 2**64, 10**400, 1.5, 1e39,
        "x", "z", "", "2013-01-01", "2013-01-01T05:00:00", datetime(2013, 1, 1), "eA==", "e", "0" * 32, [], {}, b"x",
    ]  # fmt: skip
    for dtype in dtypes:
        field = Field(dtype, dtype, nullable)
        for value in values:
            expected, wrong = field.check(value)
            try:
                given, refused = program["_value"](value, msgspec.structs.asdict(field)), False
            except (ValueError, TypeError, OverflowError, AttributeError):
                given, refused = None, True
            assert refused is bool(wrong), (dtype, value)
            assert refused or given == expected, (dtype, value)


def test_every_problem_is_named(workspace: Workspace, tmp_path: Path) -> None:
    export_model(linear(), tmp_path / "out")
    model = run_path(str(tmp_path / "out/predict.py"))["load"]()
    with pytest.raises(
        ValueError, match=r"\[0\]\.c: unknown column; \[0\]\.b: missing, expected i64; \[1\]: 3 is not a rec"
    ):
        model.predict([{"a": 1.0, "c": 2}, 3])
    assert model.predict([]) == []


def test_only_what_is_needed_is_pinned_as_it_was_recorded(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = environment.snapshot()
    older = msgspec.structs.replace(lock, python="3.11.1", distributions=lock.distributions | {"scikit-learn": "1.0.2"})
    monkeypatch.setattr("mainspring.models.registration.snapshot", lambda: older)
    version = linear()
    export_model(version, tmp_path / "out")
    pins = dict(line.split("==") for line in (tmp_path / "out/requirements.txt").read_text().splitlines())
    assert {"polars", "skops", "numpy", "scipy", "joblib"} < set(pins)
    assert not {"pandas", "xgboost", "mainspring", "click", "msgspec"} & set(pins)
    assert (pins["scikit-learn"], pins["numpy"]) == ("1.0.2", np.__version__)
    assert "with Python 3.11.1" in (tmp_path / "out/README.md").read_text()


def test_the_digests_are_those_of_the_files_and_a_changed_model_is_not_loaded(
    workspace: Workspace, tmp_path: Path
) -> None:
    found = export_model(linear(), tmp_path / "out")
    for line in (tmp_path / "out/SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert digest == hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == found.files[name]
    with (tmp_path / "out/model.skops").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ValueError, match="is not what was exported"):
        run_path(str(tmp_path / "out/predict.py"))["load"]()


def test_a_folder_is_whole_or_not_there(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version, place = linear(), tmp_path / "exports"
    place.mkdir()
    (place / "empty").mkdir()
    assert Path(export_model(version, place / "empty").path) == place / "empty"
    with pytest.raises(ExistsError, match="empty or not there"):
        export_model(version, place / "empty")
    with pytest.raises(InvalidError, match="`folder`, `mlflow` or `onnx`"):
        export_model(version, place / "other", form="zip")  # type: ignore[arg-type]  # that is the point

    def broken(program: str) -> Any:
        assert Path(program).exists()
        assert not (place / "new").exists()  # a process that is killed now leaves nothing there
        raise OSError("the disk is gone")

    monkeypatch.setattr(exporting, "run_path", broken)
    with pytest.raises(CodecError, match="the disk is gone"):
        export_model(version, place / "new")
    monkeypatch.setattr(exporting, "run_path", lambda _: {"load": lambda _: Silent()})
    with pytest.raises(CodecError, match=r"answers otherwise: 0\.\d+ → None in row 0"):
        export_model(version, place / "new")
    assert [path.name for path in place.iterdir()] == ["empty"]


class Silent:
    def predict(self, records: list[Any]) -> list[Any]:
        return [None for _ in records]


def test_a_class_of_the_project_goes_along_unless_only_a_pickle_has_it_or_only_mainspring_reads_it(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a process of its own, which has no Mainspring, the answers are others if PyTorch is loaded: seconds for nothing.
    source = (
        "import mainspring\nimport sys\nfrom sklearn.linear_model import LinearRegression\nclass Line(LinearRegression):\n"
        "    def predict(self, rows):\n"
        "        return super().predict(rows) + ('torch' in sys.modules and not sys.modules['mainspring'])\n"
        "from dataclasses import dataclass\n@dataclass\nclass Rule:\n    n: int\n"
        "    def predict(self, rows): return rows[:, 0] * self.n\n"
    )
    (tmp_path / "own_lines.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    from own_lines import Line, Rule  # type: ignore[import-not-found]  # written just now

    with importing_from([tmp_path]):
        model = Line().fit(TABLE.to_numpy(), LATE)
        pickled = allow_pickle(register(model, "own-pickled", signature=TABLE, pickled=True), note="mine")
        with pytest.raises(CodecError, match=r"definitions of the project, which don't go along: `own_lines"):
            export_model(pickled, tmp_path / "out")
        version = register(model, "own", signature=TABLE)
        export_model(version, tmp_path / "own")
        with pytest.raises(ValueError, match=r"Another module `own_lines` is loaded, from .*own_lines\.py"):
            run_path(str(tmp_path / "own/predict.py"))["load"]()
        assert alone(tmp_path / "own") == Predictor.load(version, workspace.blobs)(TABLE.to_dicts())
        plain = register(Rule(2), "odd", signature=Signature((Field("x", "f64"),)), input_kind="numpy")
        with pytest.raises(CodecError, match="which only Mainspring reads"):
            export_model(plain, tmp_path / "out")
    assert "import mainspring" not in (tmp_path / "own/code/own_lines.py").read_text()
    sys.modules.pop("own_lines")
    assert not (tmp_path / "out").exists()


def test_an_mlflow_model_says_what_it_takes_and_comes_back(workspace: Workspace, tmp_path: Path) -> None:
    version = linear()
    export_model(version, tmp_path / "out", form="mlflow")
    said = read_mlmodel((tmp_path / "out/MLmodel").read_bytes())
    assert (said.inputs, said.predicts) == ((Field("a", "f64"), Field("b", "i64")), "predict_proba")
    assert list(said.flavours) == ["python_function", "sklearn"]
    back = register_folder(tmp_path / "out", "back")
    records = TABLE.to_dicts()
    assert Predictor.load(back, workspace.blobs)(records) == Predictor.load(version, workspace.blobs)(records)
    lines = (tmp_path / "out/requirements.txt").read_text().splitlines()
    assert lines[0] == "mlflow>=3"
    assert json.loads((tmp_path / "out/conda.yaml").read_text())["dependencies"][-1]["pip"] == lines
    wide = Signature((Field("a", "f64"), Field("b", "u64")))
    with pytest.raises(InvalidError, match=r"signature\.b.*u64.*MLflow has a column for"):
        export_model(
            register(LogisticRegression().fit(TABLE, LATE), "wide", signature=wide), tmp_path / "w", form="mlflow"
        )


@pytest.mark.parametrize("name", ["array", "pipeline", "xgboost", "xgboost-regressor", "catboost"])
def test_the_flavour_that_is_said_answers_as_the_version(name: str, workspace: Workspace, tmp_path: Path) -> None:
    model, given = MODELS[name]()
    export_model(register(model, name, signature=given), tmp_path / "out", form="mlflow")
    assert len(read_mlmodel((tmp_path / "out/MLmodel").read_bytes()).flavours) == 2


@pytest.mark.parametrize("name", ["zero missing", "stopping early"])
def test_a_flavour_that_answers_otherwise_is_refused_though_the_program_answers_alike(
    name: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(SETTINGS[name](), "settings", signature=TABLE.to_pandas(), input_example=TABLE[:2].to_pandas())
    library = "lightgbm" if name == "stopping early" else "xgboost"
    written = portable._FORMATS[library]

    def as_if_whole(model: Any) -> Portable:
        return msgspec.structs.replace(written(model), needs_settings=False)

    monkeypatch.setitem(portable._FORMATS, library, as_if_whole)
    with pytest.raises(CodecError, match=f"answers otherwise by MLflow's flavour `{library}`: .* The row is"):
        export_model(version, tmp_path / "out", form="mlflow")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("lightgbm")])
def test_a_model_of_lightgbm_is_a_booster_for_mlflow_and_comes_back_as_it_was(
    name: str, workspace: Workspace, tmp_path: Path
) -> None:
    model, given = MODELS[name]()
    version = register(model, name, signature=given)
    export_model(version, tmp_path / "out", form="mlflow")
    said = read_mlmodel((tmp_path / "out/MLmodel").read_bytes()).flavours["lightgbm"]
    assert (said["data"], said["model_class"]) == ("model.txt", "lightgbm.basic.Booster")
    back = register_folder(tmp_path / "out", "back")
    records = TABLE.to_dicts()
    assert Predictor.load(back, workspace.blobs)(records) == Predictor.load(version, workspace.blobs)(records)
    assert back.signature == version.signature


def test_the_flavour_takes_whole_numbers_that_pandas_holds_as_floats(workspace: Workspace, tmp_path: Path) -> None:
    import pandas as pd

    holey = TABLE.with_columns(b=pl.when(pl.col("b") > 1).then(pl.col("b")))
    version = register(
        HistGradientBoostingClassifier(max_iter=2).fit(holey.to_pandas(), THREE), "holey", signature=holey
    )
    export_model(version, tmp_path / "out", form="mlflow")
    loaded = run_path(str(tmp_path / "out/code/mainspring_predict.py"))["_load_pyfunc"](str(tmp_path / "out"))
    table = pd.DataFrame({"a": [0.5, 1.0], "b": [3.0, float("nan")]})
    expected = Predictor.load(version, workspace.blobs)([{"a": 0.5, "b": 3}, {"a": 1.0, "b": None}])
    assert loaded.predict_proba(table).to_dict("records") == expected
