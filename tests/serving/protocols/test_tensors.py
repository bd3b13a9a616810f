"""Tensors: golden bytes of every datatype, both forms both ways, and whatever a stranger sends."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.serving.protocols.tensors import (
    KINDS,
    Parameters,
    Tensor,
    TensorError,
    array_of,
    packed,
    split,
    told,
)

pytestmark = pytest.mark.one_backend("no store is read")

# As the specification has them, written by hand: little-endian, and texts behind their length in four bytes.
GOLDEN = [
    ("BOOL", [True, False], "0100"),
    ("UINT8", [0, 255], "00ff"),
    ("UINT16", [1, 65_535], "0100ffff"),
    ("UINT32", [1, 4_294_967_295], "01000000ffffffff"),
    ("UINT64", [1, 18_446_744_073_709_551_615], "0100000000000000ffffffffffffffff"),
    ("INT8", [1, -128], "0180"),
    ("INT16", [1, -32_768], "01000080"),
    ("INT32", [1, -2], "01000000feffffff"),
    ("INT64", [1, -2], "0100000000000000feffffffffffffff"),
    ("FP16", [1.0, -0.5], "003c00b8"),
    ("FP32", [1.0, -0.5], "0000803f000000bf"),
    ("FP64", [1.0, -0.5], "000000000000f03f000000000000e0bf"),
    ("BYTES", ["hi", "é"], "02000000686902000000c3a9"),
]


def binary(name: str, shape: tuple[int, ...], datatype: str, data: bytes) -> np.ndarray[Any, Any]:
    return array_of(Tensor(name, shape, datatype, None, Parameters(len(data))), memoryview(data))


@pytest.mark.parametrize(("datatype", "values", "data"), GOLDEN, ids=[case[0] for case in GOLDEN])
def test_every_datatype_goes_both_ways_in_both_forms(datatype: str, values: list[Any], data: str) -> None:
    about, packed_data = packed("t", datatype, [2], np.array(values, dtype=KINDS[datatype]))
    assert packed_data.hex() == data
    assert about == {
        "name": "t", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(packed_data)}
    }  # fmt: skip
    came = binary("t", (2,), datatype, packed_data)
    assert [each.decode() if isinstance(each, bytes) else each for each in came.tolist()] == values
    assert told("t", datatype, [2], came) == {"name": "t", "datatype": datatype, "shape": [2], "data": values}
    assert array_of(Tensor("t", (2,), datatype, values)).tolist() == values


def test_all_datatypes_are_golden() -> None:
    assert {case[0] for case in GOLDEN} == set(KINDS)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 2, 1), (1, 1, 6), (0,), (2, 0, 3), ()])
def test_any_shape_comes_flat_nested_and_as_bytes(shape: tuple[int, ...]) -> None:
    values = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    for data in {str(form): form for form in (values.ravel().tolist(), values.tolist() if shape else [0.0])}.values():
        again = array_of(Tensor("t", shape, "FP64", data))
        assert (again.shape, again.tolist()) == (shape, values.tolist())
    assert binary("t", shape, "FP64", values.tobytes()).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("t", (2,), "FP128", [1, 2]), "`FP128` is no datatype"),
        (Tensor("t", (-1,), "FP64", [1]), "the shape"),
        (Tensor("t", (1,) * 33, "FP64", [1]), "the shape"),
        (Tensor("t", (1 << 60, 1 << 60), "FP64", [1]), "neither flat nor nested"),
        (Tensor("t", (3,), "FP64", [1, 2]), "2 elements came"),
        (Tensor("t", (2, 2), "FP64", [[1, 2], [3]]), "neither flat nor nested"),
        (Tensor("t", (2, 2), "FP64", [[1, 2], 3, 4]), "neither flat nor nested"),
        (Tensor("t", (2,), "INT64", [1, 2.0]), "2.0 is a float, which is no INT64"),
        (Tensor("t", (2,), "INT64", [1, True]), "True is a bool"),
        (Tensor("t", (1,), "INT8", [300]), "does not fit INT8"),
        (Tensor("t", (1,), "UINT8", [-1]), "does not fit UINT8"),
        (Tensor("t", (1,), "FP64", [10**400]), "does not fit FP64"),
        (Tensor("t", (1,), "BOOL", [1]), "1 is an int"),
        (Tensor("t", (1,), "BYTES", [1]), "1 is an int"),
        (Tensor("t", (1,), "FP64", "1"), "its data is a str"),
        (Tensor("t", (1,), "FP64"), "neither `data` nor"),
    ],
    ids=range(16),
)
def test_what_is_no_tensor_is_refused_by_name(tensor: Tensor, message: str) -> None:
    with pytest.raises(TensorError, match="Tensor `t`: ") as refused:
        array_of(tensor)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [("FP64", (1,), b"1234567"), ("FP64", (2,), b"12345678"), ("BYTES", (1,), b"\x05\x00\x00\x00hi"),
     ("BYTES", (1,), b"\x00\x00"), ("BYTES", (2,), b"\x00\x00\x00\x00"), ("BYTES", (0,), b"\x00\x00\x00\x00")],
)  # fmt: skip
def test_bytes_of_another_size_are_refused(datatype: str, shape: tuple[int, ...], data: bytes) -> None:
    with pytest.raises(TensorError):
        binary("t", shape, datatype, data)


def test_bytes_are_dealt_to_the_tensors_that_ask_for_them() -> None:
    tensors = [Tensor("a", (1,), "INT8", None, Parameters(1)), Tensor("b", (1,), "INT8", [7]),
               Tensor("c", (2,), "INT8", None, Parameters(2))]  # fmt: skip
    assert [part if part is None else bytes(part) for part in split(tensors, b"xyz")] == [b"x", None, b"yz"]
    for rest in (b"xy", b"xyzz"):
        with pytest.raises(TensorError):
            split(tensors, rest)
    with pytest.raises(TensorError, match="beside"):
        split([Tensor("a", (1,), "INT8", [1], Parameters(1))], b"x")


SHAPES = st.lists(st.integers(-2, 4), max_size=4).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(shape=SHAPES, datatype=st.sampled_from([*KINDS, "x"]), data=JSON, rest=st.none() | st.binary(max_size=40))
def test_whatever_comes_is_a_tensor_of_its_shape_or_refused(
    shape: tuple[int, ...], datatype: str, data: Any, rest: bytes | None
) -> None:
    tensor = Tensor("t", shape, datatype, msgspec.json.decode(msgspec.json.encode(data)))
    try:
        found = array_of(tensor, None if rest is None else memoryview(rest))
    except TensorError:
        return
    assert found.shape == shape
    assert found.dtype == np.dtype(KINDS[datatype])


@pytest.mark.parametrize("shape", [(1 << 62, 0), (0, 1 << 70), (0, (1 << 63) - 1, 2)])
def test_a_shape_that_no_array_can_have_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TensorError, match="too large"):
        array_of(Tensor("x", shape, "FP64", []))
