"""Nodes of a graph that is being made, after one another on the input of one estimator, for converters of our own."""

from __future__ import annotations

from typing import Any

import numpy as np

from mainspring.errors import CodecError


def are_texts(classes: Any) -> bool:
    """Whether the names of classes are texts in a graph; all others are whole numbers."""
    return classes.dtype.kind in "UO"


def declare_doubles(operator: Any) -> None:
    """Say of which types an estimator's outputs are, as skl2onnx does; its floats are doubles where it takes doubles.

    By itself skl2onnx looks at the first column, also where that is made of texts.
    """
    from skl2onnx._supported_operators import sklearn_operator_name_map  # type: ignore[import-untyped]  # skl2onnx has no stubs
    from skl2onnx.common import data_types  # type: ignore[import-untyped]  # skl2onnx has no stubs
    from skl2onnx.common._registration import get_shape_calculator  # type: ignore[import-untyped]  # skl2onnx has no stubs

    get_shape_calculator(sklearn_operator_name_map[type(operator.raw_operator)])(operator)
    if isinstance(operator.inputs[0].type, data_types.DoubleTensorType):
        for output in operator.outputs:
            if isinstance(output.type, data_types.FloatTensorType):
                output.type = data_types.DoubleTensorType(output.type.shape)


class Nodes:
    """Nodes on the columns of an operator's inputs, `rows`, which are doubles; its outputs are given at last."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from onnx import TensorProto

        self.scope, self.operator, self.container, self.types = scope, operator, container, TensorProto
        columns = [self._as_doubles(each) for each in operator.inputs]
        self.rows = columns[0] if len(columns) == 1 else self.add("Concat", columns, axis=1)

    def _as_doubles(self, given: Any) -> str:
        from skl2onnx.common.data_types import DoubleTensorType  # type: ignore[import-untyped]  # skl2onnx has no stubs

        name: str = given.full_name
        return name if isinstance(given.type, DoubleTensorType) else self.add("Cast", [name], to=self.types.DOUBLE)

    def add(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """A node; gives the name of its output."""
        name = output or self.scope.get_unique_variable_name(f"made_{kind.lower()}")
        attributes.setdefault("name", self.scope.get_unique_operator_name(kind))
        self.container.add_node(kind, inputs, name, **attributes)
        return name

    def known(self, values: Any) -> str:
        """A constant of doubles, floats, whole numbers, booleans or texts."""
        array = np.asarray(values)
        name: str = self.scope.get_unique_variable_name("made_constant")
        kinds = {"f8": self.types.DOUBLE, "f4": self.types.FLOAT, "i8": self.types.INT64, "b1": self.types.BOOL}
        kind = kinds.get(array.dtype.str[1:], self.types.STRING)
        flat = [str(each).encode() if kind == self.types.STRING else each for each in array.ravel().tolist()]
        self.container.add_initializer(name, kind, list(array.shape), flat)
        return name

    def give(self, place: int, name: str) -> None:
        """Make a value the operator's output, in the type in which it was declared."""
        from skl2onnx.common.data_types import guess_proto_type

        output = self.operator.outputs[place]
        self.add("Cast", [name], output.full_name, to=guess_proto_type(output.type))

    def give_classes(self, places: str) -> None:
        """Make the names of these classes the operator's first output."""
        classes = self.operator.raw_operator.classes_
        if classes.dtype.kind not in "iubfUO" or (classes.dtype.kind == "f" and (classes % 1).any()):
            raise CodecError(f"Classes of the type {classes.dtype} have no form in ONNX.")
        known = self.known(classes if are_texts(classes) else classes.astype(np.int64))
        self.add("Gather", [known, places], self.operator.outputs[0].full_name, axis=0)
