"""Registering an ONNX file: what it takes and gives is read from the graph, and no file beside it is ever opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mainspring.artifacts.onnx import OnnxModel, Port
from mainspring.errors import CodecError, InvalidError, MissingExtraError, NotFoundError
from mainspring.models.registration import register
from mainspring.models.signature import Field, Output, Signature
from mainspring.models.version import InputKind, ModelVersion
from mainspring.workspace import Workspace

_DTYPES = {"f4": "f32", "f8": "f64", "i8": "i64", "i4": "i32", "?": "bool", "O": "str"}
_CLASSES = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")


def register_onnx(
    path: Path | str,
    name: str,
    *,
    signature: Signature | None = None,
    output: Output | None = None,
    input_example: Any = None,
    workspace: Workspace | None = None,
    **more: Any,
) -> ModelVersion:
    """Record a version of a model that is an ONNX file; it is served by onnxruntime alone.

    A graph with one input takes an array, whose columns are called `0`, `1`, … unless a signature names them; one with more
    takes a column for each. A classifier answers with probabilities of its classes; `output` says otherwise. `more` is what
    `register` takes besides.

    Raises:
        NotFoundError: there is no such file.
        CodecError: it is no ONNX graph, or it wants files beside it.
        InvalidError: the graph's inputs or outputs are no columns and no answers, or it doesn't answer the example.
        MissingExtraError: `onnx` or `onnxruntime` is not installed.
    """
    if not Path(path).is_file():
        raise NotFoundError("ONNX file", str(path))
    model, classes = read_onnx(Path(path).read_bytes())
    kind, made = signature_of(model, classes, signature, output)
    if signature is not None and output is None:
        made = signature
    return register(
        model, name, signature=made, input_kind=kind, input_example=input_example, workspace=workspace, **more
    )


def read_onnx(data: bytes) -> tuple[OnnxModel, tuple[Any, ...]]:
    """A graph that was looked through, and the classes it tells apart, none if it is no classifier.

    Raises:
        CodecError: it is no ONNX graph, or it wants files beside it.
    """
    try:
        import onnx
        from onnx.external_data_helper import _get_all_tensors, uses_external_data
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx", "Registering an ONNX file") from error
    try:
        graph = onnx.load_model_from_string(data)
        onnx.checker.check_model(graph)
    except Exception as error:  # protobuf's, the checker's and Python's own have nothing in common
        raise CodecError(f"The file is no ONNX graph: {str(error)[:200]}") from error
    if any(uses_external_data(tensor) for tensor in _get_all_tensors(graph)):
        raise CodecError(
            "The graph keeps tensors in files beside it. Save it as one file: onnx.save(onnx.load(path), one)"
        )
    found = [
        tuple(onnx.helper.get_attribute_value(attribute))
        for node in graph.graph.node
        for attribute in node.attribute
        if attribute.name in _CLASSES
    ]
    named = next((each for each in found if each), ())
    return OnnxModel(data), tuple(each.decode() if isinstance(each, bytes) else each for each in named)


def signature_of(
    model: OnnxModel, classes: tuple[Any, ...], given: Signature | None, output: Output | None
) -> tuple[InputKind, Signature]:
    """The kind of table that a graph takes, and its signature.

    Raises:
        InvalidError: its inputs are no columns of values, or its output is none that can be told without saying.
    """
    gives = output or (given.output if given else _output(model, classes))
    answers = model.outputs[-1 if gives.kind in ("probability", "probabilities") else 0]
    is_open = all(port.shape and not isinstance(port.shape[0], int) for port in model.inputs)
    # Of a sequence no shape is told. One number for any number of rows is none for each.
    if answers.dtype is not None and (not answers.shape or (is_open and isinstance(answers.shape[0], int))):
        raise InvalidError(f"output {answers.name}", answers.shape, "one answer for each row")
    if len(model.inputs) == 1 and len(model.inputs[0].shape) == 2 and model.inputs[0].shape[1] != 1:
        (port,) = model.inputs
        if given is not None:
            return "numpy", Signature(given.inputs, gives)
        if not isinstance(port.shape[1], int):
            raise InvalidError(
                "signature", None, "the columns of the array", "Its width is open in the graph: give a Signature."
            )
        return "numpy", Signature(tuple(Field(str(place), _dtype(port)) for place in range(port.shape[1])), gives)
    for port in model.inputs:
        if len(port.shape) not in (1, 2) or (len(port.shape) == 2 and port.shape[1] != 1):
            raise InvalidError(f"input {port.name}", port.shape, "one value for each row, as [N] or [N, 1]")
    inputs = given.inputs if given is not None else tuple(Field(port.name, _dtype(port)) for port in model.inputs)
    return "columns", Signature(inputs, gives)


def _dtype(port: Port) -> str:
    if port.dtype is None:
        raise InvalidError(f"input {port.name}", port.type, "a tensor of numbers, texts or booleans")
    return _DTYPES[port.dtype]


def _output(model: OnnxModel, classes: tuple[Any, ...]) -> Output:
    first = model.outputs[0]
    if classes and len(model.outputs) > 1:
        return Output("probability" if len(classes) == 2 else "probabilities", classes)
    if len(first.shape) > 2 or (len(first.shape) == 2 and first.shape[1] != 1):
        hint = "Say what it is: output=Output('probabilities', classes)."
        raise InvalidError(f"output {first.name}", first.shape, "one answer for each row", hint)
    return Output("label", classes) if first.dtype in ("O", "i8", "?") else Output("number")
