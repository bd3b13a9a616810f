"""Modules of PyTorch go along as safetensors, with the project's definitions that they need, and without Mainspring."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.artifacts.project import importing_from
from mainspring.errors import CodecError
from mainspring.models import ModelVersion, Predictor, export_model, register, register_folder
from mainspring.models.exporting.definitions import definitions_of
from mainspring.models.registration import InTraining
from mainspring.workspace import Workspace
from tests.models.test_exporting import TABLE, alone

pytestmark = pytest.mark.one_backend("the registry's stores have their own suites on both; folders are local")
RECORDS = TABLE.to_dicts()
NET = '''"""Nets."""
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
import polars as pl
import torch
from torch import nn
from mainspring.artifacts import keep_arguments as keeps
from mainspring.models import register
from . import sizes
from .sizes import Shape
from odd_nets.tables import WIDTH, table

torch.set_num_threads(1)
def train(frame: pl.DataFrame):
    return register(Net(Shape(WIDTH)), "net")

class Block(nn.Module):
    def __init__(self, width: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.width, self.act = width, act
        self.line = nn.Linear(width, width)
        self.made = act()
    def forward(self, x):
        return self.made(self.line(x))

@keeps
class Net(nn.Module):
    def __init__(self, shape: Shape, inner: nn.Module, by: np.ndarray, *, act=nn.Tanh) -> None:
        super().__init__()
        self.first = nn.Linear(shape.inputs, shape.width)
        self.inner, self.block, self.scale = inner, Block(shape.width, act), by / 2
        self.norm = nn.BatchNorm1d(shape.width)
        self.last = nn.Linear(shape.width, shape.width)
        self.last.weight = self.block.line.weight
        self.register_buffer("shift", torch.full((1,), 3.0), persistent=False)
    def forward(self, x):
        return self.last(self.norm(self.inner(self.block(self.first(x))))).sum(1) * sizes.FACTOR + self.shift
    def predict(self, rows):
        with torch.no_grad():
            return self(torch.as_tensor(rows / self.scale, dtype=torch.float32)).double().numpy()
'''
SIZES = """from dataclasses import dataclass
from enum import Enum
FACTOR = 2.0
UNUSED = undefined = None
class Kind(Enum):
    WIDE = 1
@dataclass
class Shape:
    width: int
    inputs: int = 2
    kind: Kind = Kind.WIDE
"""
TABLES = """import mainspring as ms
import pandas
WIDTH = 4
@ms.step
def table():
    return pandas.DataFrame()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "odd_nets"
    home.mkdir()
    for name, text in {"__init__": "", "net": NET, "sizes": SIZES, "tables": TABLES}.items():
        (home / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with importing_from([tmp_path]):
        yield home
    for name in [name for name in sys.modules if name.partition(".")[0] == "odd_nets"]:
        del sys.modules[name]


@pytest.fixture
def version(project: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> ModelVersion:
    import numpy as np
    import torch
    from odd_nets.net import Block, Net  # type: ignore[import-not-found]  # written just now
    from odd_nets.sizes import Shape  # type: ignore[import-not-found]  # written just now

    monkeypatch.setattr(type(workspace.project), "source_roots", property(lambda _: (project.parent,)))
    torch.manual_seed(0)
    net = Net(Shape(4), torch.nn.Sequential(Block(4, torch.nn.ReLU), torch.nn.Dropout(0.9)), np.array([1.0, 8.0]))
    net(torch.randn(50, 2))  # moves the averages of the norm
    return register(net.eval(), "net", signature=TABLE, input_kind="numpy")


def test_a_module_answers_without_mainspring_and_the_project(
    version: ModelVersion, workspace: Workspace, tmp_path: Path
) -> None:
    found = export_model(version, tmp_path / "out")
    assert (found.format, found.tried_rows) == ("torch", 5)
    assert not list((tmp_path / "out").rglob("__pycache__"))
    assert alone(tmp_path / "out") == Predictor.load(version, workspace.blobs)(RECORDS)
    code = {name for name in found.files if name.startswith("code/")}
    assert code == {f"code/odd_nets/{name}.py" for name in ("__init__", "net", "sizes")} | {"code/mainspring_torch.py"}
    texts = {name: (tmp_path / "out" / name).read_text() for name in found.files if name.endswith(("json", "py"))}
    assert not [name for name, text in texts.items() if "import mainspring" in text or "from mainspring" in text]
    assert "def train" not in texts["code/odd_nets/net.py"]
    assert "UNUSED" not in texts["code/odd_nets/sizes.py"]
    pins = [line.partition("==")[0] for line in (tmp_path / "out/requirements.txt").read_text().splitlines()]
    assert {"torch", "safetensors", "numpy"} <= set(pins)
    assert "+" not in (tmp_path / "out/requirements.txt").read_text()
    assert not {"polars", "pandas", "mainspring"} & set(pins)

    import safetensors.numpy

    weights = safetensors.numpy.load_file(tmp_path / "out/model.safetensors")
    assert "block.line.weight" in weights
    assert "last.weight" not in weights  # tied: stored once


def test_an_mlflow_model_of_a_module_loads_by_the_same_program(
    version: ModelVersion, workspace: Workspace, tmp_path: Path
) -> None:
    export_model(version, tmp_path / "out", form="mlflow")
    flavours = json.loads((tmp_path / "out/MLmodel").read_text())["flavors"]
    assert list(flavours) == ["python_function"]
    expected = Predictor.load(version, workspace.blobs)(RECORDS)
    assert alone(tmp_path / "out", "code/mainspring_predict.py") == expected
    back = register_folder(tmp_path / "out", "back")
    assert "it is an export of a model of Mainspring" in back.refusal


def test_a_module_in_training_mode_is_refused_with_what_to_do(
    version: ModelVersion, workspace: Workspace, tmp_path: Path
) -> None:
    from mainspring.models import load_model

    net: Any = load_model(version)
    with pytest.warns(InTraining):
        training = register(net.train(), "training", signature=TABLE, input_kind="numpy")
    with pytest.raises(CodecError, match=r"answers otherwise: .* training mode: call its `\.eval\(\)` before"):
        export_model(training, tmp_path / "out")


def test_what_has_no_form_without_mainspring_is_named(
    version: ModelVersion, workspace: Workspace, tmp_path: Path
) -> None:
    from mainspring.models import load_model

    net: Any = load_model(version)
    net.table = pl.DataFrame({"a": [1]})
    with pytest.raises(CodecError, match=r"a `polars\.dataframe\.frame\.DataFrame`, which has no form without"):
        export_model(register(net, "held", signature=TABLE, input_kind="numpy"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_definitions_that_need_mainspring_are_named_with_their_line(project: Path) -> None:
    with pytest.raises(CodecError, match=r"needs `mainspring` \(`odd_nets\.tables`, line 1\)"):
        definitions_of(["odd_nets.tables:table"])
    with pytest.raises(CodecError, match=r"no module `odd_nets\.gone`"):
        definitions_of(["odd_nets.gone:Net"])


@pytest.mark.parametrize(
    ("text", "wanted", "kept", "imports"),
    [
        ("import os, sys\nA = os.sep\nB = sys", "A", "import os\nA = os.sep\n", set()),
        ("A = 1\nA += 1\nB = A", "A", "A = 1\nA += 1\n", set()),
        ("A = {}\nA['x'] = 1\nprint(A)\nB = 2", "B", "A = {}\nA['x'] = 1\nprint(A)\nB = 2\n", set()),
        ("try:\n    import numpy as np\nexcept ImportError:\n    np = None\nA = np", "A", None, {"numpy"}),
        ("if __name__ == '__main__':\n    print(1)\nA = 1  # so\n", "A", "A = 1  # so\n", set()),
        ("import odd_nets.sizes\nA = odd_nets.sizes.FACTOR", "A", None, set()),
        ("from odd_nets import sizes as s\nA = s.FACTOR", "A", None, set()),
        ("def f():\n    from odd_nets.sizes import FACTOR\n    import numpy\n    return FACTOR", "f", None, {"numpy"}),
        ("from odd_nets.sizes import *\nA = FACTOR", "A", None, set()),
    ],
)
def test_what_a_name_needs_is_kept_and_no_more(
    text: str, wanted: str, kept: str | None, imports: set[str], project: Path
) -> None:
    (project / "case.py").write_text(text)
    found = definitions_of([f"odd_nets.case:{wanted}"])
    assert found.files["odd_nets/case.py"].decode() == (f"{text}\n" if kept is None else kept)
    assert found.imports == imports
    assert ("FACTOR = 2.0" in found.files.get("odd_nets/sizes.py", b"").decode()) is ("FACTOR" in text)
