"""A version is whole to every process: what stands in the script or notebook that registers it is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_backend("the subject is where classes are found")

HELD = """
from sklearn.base import BaseEstimator

class Held(BaseEstimator):
    def __init__(self, by=2.0): self.by = by
    def predict(self, X): return X[:, 0] * 2
"""
KINDED = """
import torch

class Kinded(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
    def predict(self, x): return x[:, 0] * self.kind.value
"""
MODELS = """
from dataclasses import dataclass
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from held import Held

class Twice(BaseEstimator):
    def predict(self, X): return X[:, 0] * 2

@dataclass
class By:
    by: float = 2.0

@dataclass
class Rule:
    by: float = 2.0
    def predict(self, X): return X[:, 0] * self.by

def twice(X): return X * 2

same = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
made = {
    "estimator": (Twice(), "Twice"), "record": (Held(By()), "By"),
    "function": (make_pipeline(FunctionTransformer(twice), same), "twice"), "bare": (Rule(), "Rule"),
}
"""
NETS = """
from enum import Enum
import torch
from kinded import Kinded

class Kind(Enum):
    TWICE = 2

class Net(torch.nn.Module):
    def predict(self, x): return 2 * x[:, 0]

made |= {"enum": (Kinded(Kind.TWICE).eval(), "Kind"), "module": (Net().eval(), "Net")}
"""
REGISTERS = """
from mainspring.errors import CodecError
from mainspring.models import Field, Signature, register

takes = Signature((Field("x", "f64"),))
for name, (model, definition) in made.items():
    for pickled in (False, True)[: 2 if name in ("estimator", "record") else 1]:
        try:
            register(model, name if not pickled else f"{name}-p", signature=takes, input_kind="numpy", pickled=pickled)
            print("registered")
        except CodecError as error:
            assert f"`__main__.{definition}`" in str(error) and "%%writefile" in str(error), error
            assert "pickled=True" not in str(error), error
            print("refused")
"""
LOADS = """
import numpy as np
from mainspring.models import load_model
models = map(load_model, ("estimator", "record", "function", "bare"))
print(*(round(model.predict(np.array([[3.0]])).item()) for model in models))
"""
FLOW = """
import mainspring as ms
import torch
from sklearn.base import BaseEstimator
from mainspring.models import Field, Signature, register

class Twice(BaseEstimator):
    def predict(self, X): return X[:, 0] * 2

class Double(torch.nn.Module):
    def forward(self, x): return 2 * x

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Sequential(Double())
    def predict(self, x): return self.inner(torch.as_tensor(x))[:, 0]

@ms.step
def fitted() -> Net:
    return Net().eval()

@ms.step
def made(net: Net) -> list[str]:
    takes = Signature((Field("x", "f64"),))
    models = {"twice": Twice(), "net": net}
    versions = [register(model, name, signature=takes, input_kind="numpy") for name, model in models.items()]
    return [f"{version} {version.encoded.brings}" for version in versions]

@ms.pipeline
def flow() -> list[str]:
    return made(fitted())

if __name__ == "__main__":
    print(*flow.run().value)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mainspring.toml").write_text("")
    (tmp_path / "held.py").write_text(HELD)
    (tmp_path / "kinded.py").write_text(KINDED)
    return tmp_path


def ran(project: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=project, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_script_defines_is_refused_and_loads_elsewhere_from_a_module(project: Path) -> None:
    (project / "train.py").write_text(MODELS + NETS + REGISTERS)
    assert ran(project, "train.py").split() == ["refused"] * 8
    (project / "own.py").write_text(MODELS)
    (project / "train.py").write_text("from own import made\n" + REGISTERS)
    assert ran(project, "train.py").split() == ["registered"] * 6
    assert ran(project, "-c", LOADS).split() == ["6"] * 4


def test_a_script_that_runs_its_pipeline_registers_its_classes_under_its_module(project: Path) -> None:
    (project / "flow.py").write_text(FLOW)
    said = "twice/1 ('flow:Twice',) net/1 ('flow:Net',)\n"
    assert ran(project, "flow.py").endswith(said)
    loads = "import numpy as n, mainspring.models as m\n"
    loads += "print(*(m.load_model(name).predict(n.ones((1, 1))).item() for name in ('twice', 'net')))"
    assert ran(project, "-c", loads) == "2.0 2.0\n"
