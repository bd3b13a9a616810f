"""Tensors of the Open Inference Protocol v2: between their forms on the wire, JSON or bytes, and NumPy arrays.

The forms are those of the specification's REST API and of its extension for binary tensors: row-major, little-endian, and each
element of `BYTES` behind its length in four bytes. What is wrong is a `TensorError`, whose text names the tensor.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.errors import article, shorten

Array = NDArray[Any]
KINDS = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O",
}  # fmt: skip
"""The datatypes, and NumPy's names of them."""
_LENGTH_BYTES = 4
_MOST_DIMENSIONS = 32
_TYPES: dict[str, set[type]] = {
    "b": {bool}, "i": {int}, "u": {int}, "f": {int, float}, "O": {str, type(None)},
}  # fmt: skip
"""What JSON may have for an element, by NumPy's letter of its kind."""


class TensorError(ValueError):
    """A tensor that is not as its name, shape and datatype say."""


class Parameters(msgspec.Struct, frozen=True):
    """What may be said of a tensor. `binary_data_size` is set on one that came as bytes, `binary_data` on one that is to."""

    binary_data_size: int | None = None
    binary_data: bool | None = None


class Tensor(msgspec.Struct, frozen=True):
    """A tensor as a request has it; without `data` its elements come as bytes."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: Any = None
    parameters: Parameters | None = None

    @property
    def size_bytes(self) -> int | None:
        """Of its elements that come as bytes; None if they come in JSON."""
        return None if self.parameters is None else self.parameters.binary_data_size


def array_of(tensor: Tensor, binary: memoryview | None = None) -> Array:
    """The elements, in the shape. `BYTES` are objects: `bytes`, or of JSON `str`.

    >>> array_of(Tensor("x", (2, 1), "FP32", [1, 2.5])).tolist()
    [[1.0], [2.5]]
    >>> array_of(Tensor("s", (1,), "BYTES"), memoryview(bytes([2, 0, 0, 0]) + b"hi")).tolist()
    [b'hi']
    """
    kind = KINDS.get(tensor.datatype)
    if kind is None:
        raise _wrong(tensor, f"`{shorten(tensor.datatype, 20)}` is no datatype; there are {', '.join(KINDS)}")
    if len(tensor.shape) > _MOST_DIMENSIONS or any(size < 0 for size in tensor.shape):
        raise _wrong(tensor, f"the shape {shorten(list(tensor.shape), 60)} is none")
    count = math.prod(tensor.shape)
    if binary is not None:
        elements = _texts(tensor, binary, count) if kind == "O" else _numbers(tensor, binary, kind, count)
    elif tensor.data is None:
        raise _wrong(tensor, "there is neither `data` nor, in its parameters, `binary_data_size`")
    else:
        elements = _checked(tensor, _flat(tensor, count), kind)
    try:
        shaped: Array = elements.reshape(tensor.shape)
    except (ValueError, OverflowError) as error:  # a dimension of none that is beyond what an index can be
        raise _wrong(tensor, f"the shape {shorten(list(tensor.shape), 60)} is too large") from error
    return shaped


def split(tensors: Sequence[Tensor], rest: bytes) -> list[memoryview | None]:
    """The bytes behind the JSON of a message, by tensor: None for one that came in it."""
    found: list[memoryview | None] = []
    at, view = 0, memoryview(rest)
    for tensor in tensors:
        size = tensor.size_bytes
        if size is None:
            found.append(None)
            continue
        if tensor.data is not None:
            raise _wrong(tensor, "there is `data` beside `binary_data_size`")
        if size < 0 or at + size > len(rest):
            raise _wrong(tensor, f"binary_data_size is {size}, and {len(rest) - at} bytes are left")
        found.append(view[at : at + size])
        at += size
    if at != len(rest):
        raise TensorError(f"{len(rest) - at} bytes come behind the tensors that the JSON names")
    return found


def told(name: str, datatype: str, shape: Sequence[int], elements: Array | Sequence[Any]) -> dict[str, Any]:
    """A tensor in JSON: its elements flat. Bytes that are no UTF-8 are base64, as JSON has no others."""
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": _plain(elements, datatype)}


def packed(
    name: str, datatype: str, shape: Sequence[int], elements: Array | Sequence[Any]
) -> tuple[dict[str, Any], bytes]:
    """A tensor in two parts: what the JSON says of it, and its bytes."""
    if datatype == "BYTES":
        encoded = [each if isinstance(each, bytes) else str(each).encode() for each in _plain(elements, "")]
        data = b"".join(len(each).to_bytes(_LENGTH_BYTES, "little") + each for each in encoded)
    else:
        data = np.ascontiguousarray(elements, dtype=KINDS[datatype]).tobytes()
    parameters = {"binary_data_size": len(data)}
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": parameters}, data


def _numbers(tensor: Tensor, binary: memoryview, kind: str, count: int) -> Array:
    dtype = np.dtype(kind)
    if len(binary) != count * dtype.itemsize:
        raise _wrong(tensor, f"{len(binary)} bytes came, and {count} elements of it have {count * dtype.itemsize}")
    found: Array = np.frombuffer(binary, np.uint8 if kind == "?" else dtype)
    return (
        found.astype(bool) if kind == "?" else found
    )  # another byte than 0 and 1 is no boolean to NumPy, nor an error


def _texts(tensor: Tensor, binary: memoryview, count: int) -> Array:
    at, found = 0, []
    while at < len(binary):
        size = int.from_bytes(binary[at : at + _LENGTH_BYTES], "little")
        at += _LENGTH_BYTES
        if at + size > len(binary):
            raise _wrong(tensor, "an element is longer than the bytes that are left")
        found.append(bytes(binary[at : at + size]))
        at += size
    return _objects(tensor, found, count)


def _objects(tensor: Tensor, elements: Sequence[Any], count: int) -> Array:
    if len(elements) != count:
        raise _wrong(tensor, f"{len(elements)} elements came, and its shape {list(tensor.shape)} has {count}")
    array = np.empty(count, dtype=object)
    array[:] = elements
    return array


def _flat(tensor: Tensor, count: int) -> list[Any]:
    """The elements of `data`, which is flat or nested as the shape is."""
    data = tensor.data
    if not isinstance(data, list):
        raise _wrong(tensor, f"its data is {article(type(data).__name__)}, expected a list")
    for size in tensor.shape[1:]:
        if len(data) == count and not (data and isinstance(data[0], list)):
            break
        if not all(isinstance(part, list) and len(part) == size for part in data):
            raise _wrong(tensor, f"its data is neither flat nor nested as its shape {list(tensor.shape)}")
        data = list(chain.from_iterable(data))
    if len(data) != count:
        raise _wrong(tensor, f"{len(data)} elements came, and its shape {list(tensor.shape)} has {count}")
    return data


def _checked(tensor: Tensor, data: list[Any], kind: str) -> Array:
    """Elements from JSON, each of a type that the datatype has; null is NaN, or None, where there is a form of it."""
    sort = np.dtype(kind).kind
    allowed = _TYPES[sort]
    if sort == "f" and None in data:
        data = [math.nan if each is None else each for each in data]
    if not set(map(type, data)) <= allowed:
        wrong = next(each for each in data if type(each) not in allowed)
        raise _wrong(tensor, f"{shorten(wrong, 40)} is {article(type(wrong).__name__)}, which is no {tensor.datatype}")
    if sort == "O":
        return _objects(tensor, data, len(data))
    try:
        with np.errstate(
            over="ignore"
        ):  # a number that is too large becomes an infinity, which whoever takes it looks for
            return np.array(data, dtype=kind)
    except OverflowError as error:
        raise _wrong(tensor, f"an element does not fit {tensor.datatype}") from error


def _plain(elements: Array | Sequence[Any], datatype: str) -> list[Any]:
    flat = elements.ravel().tolist() if isinstance(elements, np.ndarray) else list(elements)
    return [_text(each) if isinstance(each, bytes) else each for each in flat] if datatype == "BYTES" else flat


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


def _wrong(tensor: Tensor, said: str) -> TensorError:
    return TensorError(f"Tensor `{shorten(tensor.name, 60)}`: {said}.")
