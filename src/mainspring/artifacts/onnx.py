"""ONNX graphs: kept as they came, run by onnxruntime on one thread of the CPU. Neither Polars nor scikit-learn is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.errors import CodecError, MissingExtraError, shorten

_TYPES = {
    "tensor(float)": "f4", "tensor(double)": "f8", "tensor(int64)": "i8", "tensor(int32)": "i4", "tensor(bool)": "?",
    "tensor(string)": "O",
}  # fmt: skip

_TOGETHER = 4
"""Numbers that the runtime computes with in one instruction. One that is left over it rounds otherwise, so that the answer to a
row would depend on how many others are asked about with it: calls are filled up with the last row.
"""
_PLACES = [np.minimum(np.arange(_TOGETHER), max(rows - 1, 0)) for rows in range(_TOGETHER)]
_NO_LOCALE = re.compile(r"Failed to construct locale with name:\s*([\w.@-]+?)(?=:|\s|$)")


class Port(NamedTuple):
    """An input or output of a graph: its name, onnxruntime's name of its type, and its shape."""

    name: str
    type: str
    shape: tuple[Any, ...]

    @property
    def dtype(self) -> str | None:
        """NumPy's name of a tensor's type; None of what is no tensor, or of another type."""
        return _TYPES.get(self.type)


class OnnxModel:
    """A graph, given as bytes; it takes an array of rows, or a column for each of its inputs."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def _session(self) -> Any:
        os.environ.setdefault(
            "ORT_DISABLE_TELEMETRY", "1"
        )  # read by its import, which otherwise begins to tell Microsoft
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "onnx", "Running an ONNX model") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = (
            1  # a server has its own; more change the last bits
        )
        options.log_severity_level = 4  # errors are raised, and told once
        try:
            return onnxruntime.InferenceSession(self.data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CodecError(_unloadable(str(error))) from error

    @cached_property
    def inputs(self) -> tuple[Port, ...]:
        """What it takes."""
        return tuple(Port(each.name, each.type, tuple(each.shape)) for each in self._session.get_inputs())

    @cached_property
    def outputs(self) -> tuple[Port, ...]:
        """What it gives."""
        return tuple(Port(each.name, each.type, tuple(each.shape)) for each in self._session.get_outputs())

    def predict(self, table: Any) -> Any:
        """The first output."""
        return self._run(table, self.outputs[0].name)

    def predict_proba(self, table: Any) -> Any:
        """The last output as an array, one row for each of the table's; columns in the graph's order of classes."""
        given = self._run(table, self.outputs[-1].name)
        if isinstance(given, list):  # a map for each row, as converters make it by default
            return np.array([list(row.values()) for row in given])
        return given

    def _run(self, table: Any, output: str) -> Any:
        if isinstance(table, Mapping):
            fed = {port.name: _shaped(table[port.name], port) for port in self.inputs}
        else:
            only = self.inputs[0]
            fed = {only.name: np.asarray(table).astype(only.dtype or "f4", copy=False)}
        rows = len(fed[self.inputs[0].name])
        if not rows % _TOGETHER or self._is_fixed:
            return self._session.run([output], fed)[0]
        places = _PLACES[rows] if rows < _TOGETHER else np.minimum(np.arange(rows + -rows % _TOGETHER), rows - 1)
        filled = {name: values.take(places, 0) for name, values in fed.items()}
        return self._session.run([output], filled)[0][:rows]

    @cached_property
    def _is_fixed(self) -> bool:
        """Whether the number of rows is given by the graph."""
        return any(not port.shape or isinstance(port.shape[0], int) for port in self.inputs)


def _unloadable(told: str) -> str:
    """Why onnxruntime can't load a graph; of a locale that isn't here, what to do, too."""
    missing = _NO_LOCALE.search(told)
    if missing is None:
        return f"onnxruntime can't load the graph: {shorten(told, 400)}"
    return (
        f"The graph makes letters small or great by the locale `{missing[1]}`, which isn't installed here. Install it (on "
        f"Debian and Ubuntu the package `locales`, then `localedef -i en_US -f UTF-8 en_US.UTF-8`), or name one that every "
        'Linux has in its nodes `StringNormalizer`: the attribute locale="C.UTF-8".'
    )


def _shaped(values: Sequence[Any], port: Port) -> Any:
    column = np.asarray(values, dtype=port.dtype)
    return column[:, None] if len(port.shape) == 2 else column


class OnnxCodec:
    """ONNX graphs as their own bytes, which are their meaning."""

    name, recipe, immutable = "onnx", 1, True
    types = ("mainspring.artifacts.onnx.OnnxModel",)

    def digest(self, value: OnnxModel) -> str:
        """Over the bytes."""
        return meaning_digest("onnx", self.recipe, value.data)

    def encode(self, value: OnnxModel, blobs: BlobAccess) -> Encoded:
        """One blob."""
        return Encoded(self.name, blobs.put(value.data), len(value.data))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> OnnxModel:
        """The graph, which is loaded when it is first used."""
        return OnnxModel(blobs.read(encoded.blob))

    def preview(self, value: OnnxModel) -> Preview:
        """What it takes and gives."""
        ports = {"inputs": [list(port) for port in value.inputs], "outputs": [list(port) for port in value.outputs]}
        return Preview("json", f"ONNX graph, {len(value.data):,} bytes", ports)

    def compare(self, old: OnnxModel, new: OnnxModel, tolerance: Tolerance) -> Comparison:  # noqa: ARG002  # bytes are equal or not
        """Whether the bytes are equal."""
        return EQUAL if old.data == new.data else Comparison("values", "The graphs' bytes differ.")
