"""The Open Inference Protocol v2, REST with binary tensors: a column of the signature is a tensor, `predictions` the answer.

Source: the specification of the Open Inference Protocol (REST), and Triton's extension "binary tensor data".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from mainspring.errors import close_names, shorten
from mainspring.foreign import read_foreign
from mainspring.models import Field, Problem, Signature
from mainspring.models.records import MOST_PROBLEMS
from mainspring.models.signature import FLOATS, INTEGERS, Columns
from mainspring.serving.protocols.call import Call, Outcome
from mainspring.serving.protocols.tensors import Array, Parameters, Tensor, TensorError, array_of, packed, split, told
from mainspring.web.app import Answer, encode
from mainspring.web.body import empty
from mainspring.web.request_error import RequestError

HEADER_LENGTH = b"inference-header-content-length"
BINARY = b"application/octet-stream"
OUTPUT = "predictions"
_DATATYPES = {f"{sign}{bits}": f"{word}{bits}" for sign, word in (("i", "INT"), ("u", "UINT")) for bits in (8, 16, 32, 64)} | {
    "f16": "FP16", "f32": "FP32", "f64": "FP64", "bool": "BOOL",
}  # fmt: skip


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: Parameters | None = None


class _Options(msgspec.Struct, frozen=True):
    binary_data_output: bool | None = None


class _Infer(msgspec.Struct, frozen=True):
    inputs: tuple[Tensor, ...]
    id: str | None = None
    parameters: _Options | None = None
    outputs: tuple[_Output, ...] | None = None

    @property
    def wants_binary(self) -> bool:
        """Whether the answer's tensor is to come as bytes: its own parameter wins over the request's."""
        own = self.outputs[0].parameters if self.outputs else None
        if own is not None and own.binary_data is not None:
            return own.binary_data
        return bool(self.parameters and self.parameters.binary_data_output)


_decode = msgspec.json.Decoder(_Infer).decode


class Inference:
    """Reads requests for one signature, and writes their answers."""

    def __init__(self, takes: Signature, gives: Signature) -> None:
        self._fields = {field.name: field for field in takes.inputs}
        self._takes, self._output = takes, gives.output
        kinds = {type(each) for each in gives.output.classes}
        label = {frozenset({bool}): "BOOL", frozenset({int}): "INT64", frozenset({float}): "FP64"}
        self.gives = label.get(frozenset(kinds), "BYTES") if gives.output.kind == "label" else "FP64"
        self._matrix = all(field.dtype in FLOATS or field.dtype in INTEGERS for field in takes.inputs)

    def metadata(self, name: str, versions: Sequence[str]) -> dict[str, Any]:
        """What a client is told of the model."""
        inputs = [
            {"name": field.name, "datatype": datatype_of(field), "shape": [-1, *(_sizes(field) or [1])]}
            for field in self._takes.inputs
        ]
        output: dict[str, Any] = {"name": OUTPUT, "datatype": self.gives, "shape": self._shape(-1)}
        if self._output.classes:
            output["parameters"] = {"classes": list(self._output.classes)}
        return {
            "name": name,
            "versions": list(versions),
            "platform": "mainspring",
            "inputs": inputs,
            "outputs": [output],
        }

    def read(self, body: bytes, header_length: bytes | None) -> Call:
        """What is asked.

        Raises:
            RequestError: 400, it is not the protocol's; 422, the tensors are not what the model takes.
        """
        if not body.strip():
            raise empty("an inference request in JSON, whose `inputs` are tensors")
        size = _size(header_length, len(body))
        try:
            asked = read_foreign(body[:size] if size < len(body) else body, _decode)
        except ValueError as error:
            raise RequestError(400, f"This is no inference request: {str(error)[:200]}") from error
        for output in asked.outputs or ():
            if output.name != OUTPUT:
                raise RequestError(400, f"There is no output `{shorten(output.name, 60)}`, only `{OUTPUT}`.")
        try:
            parts = split(asked.inputs, body[size:])
            arrays = [array_of(tensor, part) for tensor, part in zip(asked.inputs, parts, strict=True)]
        except TensorError as error:
            raise RequestError(400, str(error)) from error
        columns, rows = self._columns(asked.inputs, arrays)
        return Call(columns, rows, (asked.id, asked.wants_binary))

    def write(self, call: Call, outcome: Outcome, name: str, version: str) -> Answer:
        """The answer to a call, as JSON, or as JSON and bytes if it asked for these."""
        asked_id, is_binary = call.form
        answers: Array | Sequence[Any] = outcome.answers
        if self._output.kind == "probabilities":
            answers = np.array([list(each.values()) for each in answers], dtype=np.float64)
        head = {"model_name": name, "model_version": version, "id": asked_id or outcome.id}
        shape = self._shape(call.rows)
        if not is_binary:
            return Answer(encode(head | {"outputs": [told(OUTPUT, self.gives, shape, answers)]}), rows=call.rows)
        about, data = packed(OUTPUT, self.gives, shape, answers)
        text = encode(head | {"outputs": [about]})
        return Answer(text + data, BINARY, rows=call.rows, headers=((HEADER_LENGTH, b"%d" % len(text)),))

    def _shape(self, rows: int) -> list[int]:
        return [rows, len(self._output.classes)] if self._output.kind == "probabilities" else [rows]

    def _columns(self, tensors: Sequence[Tensor], arrays: Sequence[Array]) -> tuple[Columns, int]:
        if len(tensors) == 1:  # its name may be that of a column: those of a table without names are numbers
            tensors, arrays = self._apart(tensors[0], arrays[0])
        problems = self._misnamed(tensors)
        columns: dict[str, Any] = {}
        counts = set()
        for tensor, array in zip(tensors, arrays, strict=True):
            field = self._fields.get(tensor.name)
            if field is not None and _sizes(field) and array.dtype.kind != "O":
                columns[tensor.name], some = _lists_of(field, tensor, array)
                problems += some
            elif array.ndim != 1 and array.shape[1:] != (1,):
                problems.append(
                    Problem(tensor.name, f"its shape is {list(tensor.shape)}, expected [rows] or [rows, 1]")
                )
            elif field is not None:
                columns[tensor.name], some = values_of(field, tensor.datatype, array.reshape(-1))
                problems += some
            counts.add(len(array) if array.ndim else 1)
        if len(counts) > 1 and not problems:
            problems.append(
                Problem("inputs", f"tensors of {', '.join(map(str, sorted(counts)))} rows; expected as many in each")
            )
        if problems:
            raise RequestError(422, str(problems[0]), problems=problems[:MOST_PROBLEMS])
        return columns, counts.pop() if counts else 0

    def _apart(self, tensor: Tensor, array: Array) -> tuple[list[Tensor], list[Array]]:
        """One matrix by whatever name, for a model of numbers: its columns are those of the signature, in order."""
        if not self._matrix or array.ndim != 2 or array.shape[1] != len(self._fields):
            return [tensor], [array]
        parts = [array[:, place] for place in range(array.shape[1])]
        return [Tensor(name, (len(array),), tensor.datatype) for name in self._fields], parts

    def _misnamed(self, tensors: Sequence[Tensor]) -> list[Problem]:
        names = [tensor.name for tensor in tensors]
        known = list(self._fields)
        problems = [
            Problem(name, f"missing, expected {self._fields[name].expects}") for name in known if name not in names
        ]
        for place, name in enumerate(names):
            if name not in self._fields:
                near = close_names(name, known)
                problems.append(Problem(shorten(name, 40), f"unknown input{f', nearest: {near[0]}' if near else ''}"))
            elif name in names[:place]:
                problems.append(Problem(name, "stands twice"))
        return problems


def datatype_of(field: Field) -> str:
    """The datatype in which a column comes: numbers, booleans and lists of them as they are, all else as texts."""
    return _DATATYPES.get(_leaf(field).dtype, "BYTES")


def _leaf(field: Field) -> Field:
    while (item := field.item) is not None:
        field = item
    return field


def _sizes(field: Field) -> list[int]:
    """The dimensions of a value that is a list, or an array, of what a tensor has for itself; -1 where any size is taken."""
    if _leaf(field).dtype not in _DATATYPES:
        return []
    sizes: list[int] = []
    while (item := field.item) is not None:
        sizes.append(-1 if field.size is None else field.size)
        field = item
    return sizes


def _lists_of(field: Field, tensor: Tensor, array: Array) -> tuple[Any, list[Problem]]:
    """A tensor's rows as lists, and what is wrong with them."""
    sizes = _sizes(field)
    shape = array.shape[1:]
    if len(shape) != len(sizes) or any(size not in (-1, own) for size, own in zip(sizes, shape, strict=True)):
        expected = ", ".join("any" if size == -1 else f"{size}" for size in sizes)
        return None, [Problem(field.name, f"its shape is {list(tensor.shape)}, expected [rows, {expected}]")]
    leaf = _leaf(field)
    flat, problems = values_of(Field(field.name, leaf.dtype, nullable=True), tensor.datatype, array.reshape(-1))
    if flat is None:
        return None, problems
    if problems:  # told by row and item
        return _checked(field, array)
    items = flat if isinstance(flat, np.ndarray) else np.array(flat, dtype=object)
    return items.reshape(array.shape).tolist(), []


def values_of(field: Field, datatype: str, array: Array) -> tuple[Any, list[Problem]]:
    """A tensor's elements as a column, and what is wrong with them: as `Field.check` says of each, of numbers all at once."""
    kind = array.dtype.kind
    if field.dtype in FLOATS and kind in "fiu":
        values = array.astype(np.float64)
        wrong = ~np.isfinite(values) if not field.nullable else np.isinf(values)
        wrong |= np.abs(np.where(wrong, 0, values)) > FLOATS[field.dtype]
        column: Any = values
        if not wrong.any():
            return (values if not field.nullable or not np.isnan(values).any() else _nulled(values)), []
    elif field.dtype in INTEGERS and kind in "iu":
        column = array
        bits, signed = INTEGERS[field.dtype]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if not len(array) or low <= int(array.min()) <= int(array.max()) <= high:
            return array, []
    elif field.dtype == "bool" and kind == "b":
        return array, []
    elif kind != "O":
        return None, [
            Problem(field.name, f"its datatype is {datatype}, expected {datatype_of(field)}: {field.expects}")
        ]
    else:
        column = array
    return _checked(field, column)


def _checked(field: Field, column: Array) -> tuple[list[Any], list[Problem]]:
    found, problems = [], []
    for row, given in enumerate(column.tolist()):
        if isinstance(given, bytes) and field.dtype != "bin":
            try:
                given = given.decode()
            except UnicodeDecodeError:
                problems.append(Problem(f"{field.name}[{row}]", "bytes that are no UTF-8"))
                continue
        value, wrong = field.check(given)
        found.append(value)
        if wrong:
            problems.append(Problem(f"{field.name}[{row}]", wrong))
        if len(problems) >= MOST_PROBLEMS:
            break
    return found, problems


def _nulled(values: Array) -> list[Any]:
    return [None if each != each else each for each in values.tolist()]  # NaN alone is not itself


def _size(header_length: bytes | None, whole: int) -> int:
    if header_length is None:
        return whole
    if not header_length.isdigit() or len(header_length) > 18 or int(header_length) > whole:
        said = f"Inference-Header-Content-Length is {shorten(header_length.decode('latin-1'), 30)}, and {whole} bytes came."
        raise RequestError(400, said)
    return int(header_length)
