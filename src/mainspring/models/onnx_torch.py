"""Modules of PyTorch as graphs: `forward` is traced, and what a module's `predict` makes of it is found by comparing.

The exporter by TorchScript needs nothing but PyTorch; it traces one path, so a branch on values is refused by the comparison.
"""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from mainspring.artifacts.onnx import OnnxModel
from mainspring.errors import CodecError
from mainspring.models.signature import FLOATS, INTEGERS, Output, Signature
from mainspring.models.version import InputKind

_OPSET, _ROWS = 17, 3
Finish = Callable[[torch.Tensor], torch.Tensor]


class _Given(NamedTuple):
    """What a graph takes: the names of its inputs, the kind of table, and tensors to trace with."""

    kind: InputKind
    names: list[str]
    tensors: tuple[torch.Tensor, ...]


class _Answers(nn.Module):
    """A module behind the casting of its inputs and in front of what makes answers of its output."""

    def __init__(self, module: nn.Module, finish: Finish) -> None:
        super().__init__()
        self.module, self.finish = module, finish
        floats = (each.dtype for each in module.parameters() if each.is_floating_point())
        self.dtype = next(floats, torch.float32)

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.finish(self.module(*(each.to(self.dtype) if each.is_floating_point() else each for each in given)))


def attempts(module: nn.Module, signature: Signature) -> Iterator[tuple[str, InputKind, Callable[[], OnnxModel]]]:
    """The graphs of a module: of one array or a tensor for each column, and its output as given, or as scores.

    Raises:
        CodecError: `forward` takes neither, or no graph gives such answers.
    """
    given = _given(module, signature)
    for name, finish in _finishes(signature.output):
        yield f"PyTorch's own, {given.kind}, {name}", given.kind, partial(_traced, module, given, finish)


def _given(module: nn.Module, signature: Signature) -> _Given:
    fields = signature.inputs
    taken = [
        each for each in inspect.signature(module.forward).parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) and each.default is each.empty
    ]  # fmt: skip
    numeric = [field for field in fields if field.dtype in FLOATS or field.dtype in INTEGERS or field.dtype == "bool"]
    if len(numeric) < len(fields):
        raise CodecError("A module of PyTorch has a graph only for columns of numbers and booleans.")
    if len(taken) == 1:
        return _Given("numpy", ["input"], (torch.zeros(_ROWS, len(fields), dtype=torch.float64),))
    if len(taken) == len(fields):
        kinds = [
            torch.bool if field.dtype == "bool"
            else torch.float64 if field.dtype in FLOATS or field.nullable else torch.int64
            for field in fields
        ]  # fmt: skip
        tensors = tuple(torch.zeros(_ROWS, dtype=kind) for kind in kinds)
        return _Given("columns", [field.name for field in fields], tensors)
    raise CodecError(
        f"`{type(module).__qualname__}.forward` takes {len(taken)} tensors, and the signature has {len(fields)} columns. "
        "A graph is made of a module whose `forward` takes one array [rows, columns], or a tensor [rows] for each column."
    )


def _finishes(output: Output) -> list[tuple[str, Finish]]:
    """What a `predict` or `predict_proba` may make of what `forward` gives."""
    if output.kind == "number":
        return [("as given", lambda y: y)]
    if output.kind == "probabilities":
        return [("as given", lambda y: y), ("softmax", lambda y: y.softmax(1))]
    if output.kind == "probability":
        return [
            ("as given", _both), ("sigmoid", lambda y: _both(y.sigmoid())),
            ("softmax", lambda y: y.softmax(1)),
        ]  # fmt: skip
    if not all(type(each) in (int, bool) for each in output.classes) or not output.classes:
        raise CodecError(
            "A graph of PyTorch gives labels only of classes that are whole numbers or false and true, named in the signature."
        )
    classes = torch.tensor(output.classes)
    return [
        ("as given", lambda y: y.to(classes.dtype)), ("greatest", lambda y: classes[y.argmax(1)]),
        ("above 0", lambda y: classes[(y.flatten() > 0).long()]),
        ("above 0.5", lambda y: classes[(y.flatten() > 0.5).long()]),
    ]  # fmt: skip


def _both(given: torch.Tensor) -> torch.Tensor:
    """The probabilities of both classes, of which perhaps only the second is given."""
    if given.ndim == 2 and given.shape[1] == 2:
        return given
    second = given.reshape(-1, 1)
    return torch.cat([1 - second, second], dim=1)


def _traced(module: nn.Module, given: _Given, finish: Finish) -> OnnxModel:
    with tempfile.TemporaryDirectory() as folder, _quiet(), torch.no_grad(), _keeping_modes(module), _slow_path():
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            _Answers(module, finish).eval(), given.tensors, str(file), dynamo=False, opset_version=_OPSET,
            input_names=given.names, output_names=["answer"],
            dynamic_axes={name: {0: "rows"} for name in (*given.names, "answer")},
        )  # fmt: skip
        return OnnxModel(file.read_bytes())


@contextmanager
def _quiet() -> Iterator[None]:
    """Pass over warnings of a tracer that sees one path and of the exporter's age, and the graph that it prints on failure."""
    said = torch._C._jit_onnx_log  # PyTorch 2.13 prints it, `verbose` or not, by code in C
    torch._C._jit_onnx_log = lambda *_: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch._C._jit_onnx_log = said


@contextmanager
def _slow_path() -> Iterator[None]:
    """Let attention be traced by its parts: what PyTorch does of it at once has no graph."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


@contextmanager
def _keeping_modes(module: nn.Module) -> Iterator[None]:
    """Give each part of a module back the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, was in modes:
            part.training = was
