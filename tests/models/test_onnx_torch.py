"""The graph of a PyTorch module answers as its `predict` does, or there is none."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from mainspring.errors import CodecError, InvalidError
from mainspring.models import Field, Output, Predictor, Signature, export_onnx, load_onnx, onnx_export, register
from mainspring.models.onnx_conversion import attempts
from mainspring.models.onnx_export import _converted
from mainspring.models.parity import Parity
from mainspring.models.probes import probes
from mainspring.models.version import InputKind
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("files and registry have their own suites on both")
TABLE = pl.DataFrame({"a": [0.5, -1.0, 2.0], "b": [1.0, 0.25, -3.0]})


class Net(nn.Module):
    """Numbers, or scores of classes."""

    def __init__(self, out: int = 1, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Linear(2, 8, dtype=dtype), nn.ReLU(), nn.BatchNorm1d(8, dtype=dtype), nn.Dropout(0.5),
                nn.Linear(8, out, dtype=dtype),
            )  # fmt: skip
        self.out, self.dtype = out, dtype
        self.eval()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(rows)
        return scores[:, 0] if self.out == 1 else scores

    def scores(self, rows: Any) -> torch.Tensor:
        with torch.no_grad():
            given: torch.Tensor = self(torch.as_tensor(np.asarray(rows), dtype=self.dtype))
            return given

    def predict(self, rows: Any) -> Any:
        scores = self.scores(rows)
        return scores.numpy() if self.out == 1 else scores.argmax(1).numpy()

    def predict_proba(self, rows: Any) -> Any:
        scores = self.scores(rows)
        return (scores.softmax(1) if self.out > 1 else torch.stack([1 - scores.sigmoid(), scores.sigmoid()], 1)).numpy()


class ByColumn(Net):
    """A tensor for each column, one of them a place in a table."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Embedding(5, 2)

    def forward(self, a: torch.Tensor, place: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # other tensors
        found: torch.Tensor = self.layers(a[:, None] * self.place(place))[:, 0]
        return found

    def predict(self, rows: Any) -> Any:
        with torch.no_grad():
            return self(torch.tensor(rows["a"], dtype=torch.float32), torch.tensor(rows["place"])).numpy()


class Turning(Net):
    """What a trace of one path can't hold."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(rows) * (2 if rows.sum() > 0 else 1)


class Late(Net):
    """A number that is more than what `forward` gives."""

    def predict(self, rows: Any) -> Any:
        return super().predict(rows) + 1


def signature_of(output: Output, *fields: str | Field) -> Signature:
    return Signature(tuple(Field(each, "f64") if isinstance(each, str) else each for each in fields), output)


def exported(model: Any, output: Output, fields: Any = ("a", "b"), kind: InputKind = "numpy") -> tuple[str, Predictor]:
    """The form of the graph that was held to the model on probes, and the graph."""
    native = Predictor(model, signature_of(output, *fields), kind)
    real = [{field.name: 1 if field.dtype == "i64" else 0.5 for field in native.signature.inputs}]
    made, said = probes(model, native, real)
    assert len(made) >= 1_000
    form, takes, graph, error = _converted(model, native, Parity([*real, *made], [*native(real), *said], 1, 1e-5, 1e-6))
    assert error < 1e-4
    found = Predictor(graph, native.signature, takes)
    assert [len(found(made[:n])) for n in (1, 2, 700)] == [1, 2, 700]
    return form, found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float", "double"])
def test_numbers_are_those_of_the_module(dtype: torch.dtype) -> None:
    assert exported(Net(dtype=dtype), Output("number"))[0] == "PyTorch's own, numpy, as given"


@pytest.mark.parametrize(
    ("out", "output", "form"),
    [
        (1, Output("probability", (0, 1)), "sigmoid"), (2, Output("probability", (0, 1)), "softmax"),
        (3, Output("probabilities", ("x", "y", "z")), "softmax"), (3, Output("label", (0, 1, 2)), "greatest"),
    ],
)  # fmt: skip
def test_scores_become_what_the_module_makes_of_them(out: int, output: Output, form: str) -> None:
    assert exported(Net(out), output)[0] == f"PyTorch's own, numpy, {form}"


def test_labels_may_be_false_and_true() -> None:
    class Boolean(Net):
        def predict(self, rows: Any) -> Any:
            return super().predict(rows) == 1

    form, graph = exported(Boolean(2), Output("label", (False, True)))
    assert form == "PyTorch's own, numpy, greatest"
    assert [type(each) for each in graph([{"a": 1.0, "b": 2.0}])] == [bool]


def test_a_tensor_for_each_column_is_an_input_of_its_own() -> None:
    form, graph = exported(ByColumn(), Output("number"), ("a", Field("place", "i64")), "columns")
    assert form == "PyTorch's own, columns, as given"
    assert [port.type for port in graph.model.inputs] == ["tensor(double)", "tensor(int64)"]


def test_what_predict_adds_and_branches_on_values_are_refused_by_the_comparison() -> None:
    for model in (Late(), Turning()):
        with pytest.raises(InvalidError, match="is not the model's answer within"):
            exported(model, Output("number"))


class Dropping(Net):
    """A module that is asked in training mode, without the norm that takes no single row there."""

    def __init__(self) -> None:
        super().__init__()
        self.layers[2] = nn.Identity()
        self.train()


def test_a_module_in_training_mode_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidError, match=r"when it is asked again, .* in training mode: call its `\.eval\(\)`"):
        exported(Dropping(), Output("number"))


class OfBatch(Net):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(rows - rows.mean(0))


def test_a_module_that_depends_on_other_rows_is_not_told_to_leave_training() -> None:
    with pytest.raises(InvalidError, match="asked again with other rows: its answer is to depend on the row alone"):
        exported(OfBatch(), Output("number"))


class Attentive(Net):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.TransformerEncoderLayer(2, 1, 4, batch_first=True)
        self.eval()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(self.attention(rows[:, None])[:, 0])


def test_attention_is_traced_by_its_parts_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    exported(Attentive(), Output("number"))
    with pytest.raises(CodecError):
        exported(Complex(), Output("number"))
    assert capfd.readouterr() == ("", "")


class Complex(Net):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.linalg.eigvals(rows[:, :, None] * rows[:, None, :]).real.sum(1)
        return found


def test_what_a_graph_has_no_inputs_or_answers_for_is_refused_by_name() -> None:
    with pytest.raises(CodecError, match=r"`ByColumn\.forward` takes 2 tensors, and the signature has 3 columns"):
        next(attempts(ByColumn(), signature_of(Output("number"), "a", "b", "c"), "columns"))
    with pytest.raises(CodecError, match="columns of numbers and booleans"):
        next(attempts(Net(), signature_of(Output("number"), "a", Field("b", "str")), "columns"))
    with pytest.raises(CodecError, match="classes that are whole numbers"):
        next(attempts(Net(3), signature_of(Output("label", ("x", "y", "z")), "a", "b"), "numpy"))


MODES = """
import torch
from torch import nn

class Modes(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))

    def forward(self, rows):
        return self.layers(rows)

    def predict(self, rows):
        with torch.no_grad():
            return self(torch.as_tensor(rows).float()).numpy()

class Switching(Modes):
    def predict(self, rows):
        self.layers.eval()  # and the module around them not
        return super().predict(rows)
"""


@pytest.mark.parametrize("name", ["Modes", "Switching"])
def test_a_registered_module_is_exported_and_timed_in_the_mode_in_which_it_is(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace.project.root
    (folder / "onnx_modes.py").write_text(MODES)
    monkeypatch.delitem(sys.modules, "onnx_modes", raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    model = getattr(import_module("onnx_modes"), name)()
    model.train(name == "Switching")
    version = register(model, "modes", signature=TABLE, input_kind="numpy")
    modes: list[list[bool]] = []
    timed = onnx_export._timed

    def watched(native: Predictor, graph: Predictor, records: Any) -> Any:
        found = timed(native, graph, records)
        modes.append([each.training for each in native.model.modules()])
        return found

    monkeypatch.setattr(onnx_export, "_timed", watched)
    found = export_onnx(version)
    assert (found.form, found.input_kind, found.timings[0].rows) == ("PyTorch's own, numpy, as given", "numpy", 1)
    assert modes == [[name == "Switching", *[False] * 5]]
    expected = model.predict(TABLE.to_numpy())[:, 0].tolist()
    assert load_onnx(version)(TABLE.to_dicts()) == pytest.approx(expected, rel=1e-5, abs=1e-6)
