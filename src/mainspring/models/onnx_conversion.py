"""From models to ONNX graphs, by the converters of their libraries. Whether a graph answers as its model is not asked here."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import Any, NamedTuple

from mainspring.artifacts.onnx import OnnxModel
from mainspring.errors import CodecError, MissingExtraError, shorten
from mainspring.models.signature import FLOATS, INTEGERS, Field, Signature
from mainspring.models.version import InputKind

OPSET = {"": 17, "ai.onnx.ml": 3}  # what onnxruntime runs since 1.12
_CONVERTED = ("sklearn", "xgboost", "lightgbm")
_MODULE = "torch.nn.modules.module.Module"
_ONE_ARRAY = "input"
_WHOLE = ("Int64TensorType", "BooleanTensorType")
_NUMBERS = (*_WHOLE, "FloatTensorType")
_GRAPHS = (5, 10)  # the types of an attribute that holds one, or several
Attempt = tuple[str, InputKind, Callable[[], OnnxModel]]


def attempts(model: Any, signature: Signature, takes: InputKind) -> Iterator[Attempt]:
    """The ways in which a model may become a graph, the most exact first: what each is called, what its graph takes, and how.

    `takes` is the kind of table that the model itself takes.

    Raises:
        CodecError: there is no converter of models like it.
        MissingExtraError: the converter isn't installed.
    """
    library = type(model).__module__.partition(".")[0]
    if library == "catboost":
        yield "CatBoost's own", "numpy", lambda: _catboost(model)
        return
    if any(f"{each.__module__}.{each.__qualname__}" == _MODULE for each in type(model).__mro__):
        from mainspring.models import onnx_torch

        yield from onnx_torch.attempts(model, signature)
        return
    if library not in _CONVERTED:
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise CodecError(
            f"`{kind}` has no converter to ONNX here; models of scikit-learn, XGBoost, LightGBM and CatBoost, and modules "
            "of PyTorch have one. Make the graph with the library's own tools, and register it by "
            "`mainspring.models.register_onnx(FILE, NAME)`."
        )
    yield from ((way.form, way.kind, partial(_sklearn, model, way)) for way in _ways(signature, takes))


class _Way(NamedTuple):
    """A form of a graph, the kind of table it takes, and its inputs: their names, widths, and types within and without.

    `rounded` says of each column of one array whether it is rounded to 32 bits.
    """

    form: str
    kind: InputKind
    inputs: tuple[tuple[str, int, str, str], ...]
    rounded: tuple[bool, ...] = ()


def _ways(signature: Signature, takes: InputKind) -> Iterator[_Way]:
    """With doubles from the first node on; with whole numbers and booleans as they are, for what encodes them; with floats.

    What a table of the model would hold in 32 bits is rounded to them first.
    """
    fields, width = signature.inputs, len(signature.inputs)
    outer = [_tensor(each, "Float" if each.dtype == "f32" and takes != "numpy" else "Double") for each in fields]
    inner = ["DoubleTensorType" if kind in _NUMBERS else kind for kind in outer]
    floats = [_tensor(each, "Float") for each in fields]
    exact = [kind if kind in _WHOLE else made for kind, made in zip(outer, inner, strict=True)]
    is_numeric = all(field.dtype in FLOATS or field.dtype in INTEGERS for field in fields)
    names, ones = [each.name for each in fields], [1] * width
    if is_numeric:
        rounded = tuple(kind == "FloatTensorType" for kind in outer)
        array = (_ONE_ARRAY, width, "DoubleTensorType", "FloatTensorType" if all(rounded) else "DoubleTensorType")
        yield _Way("numpy of doubles", "numpy", (array,), rounded)
    yield _Way("columns of doubles", "columns", tuple(zip(names, ones, inner, outer, strict=True)))
    if exact != inner:
        form = "columns of doubles and whole numbers"
        yield _Way(form, "columns", tuple(zip(names, ones, exact, outer, strict=True)))
    if is_numeric:
        yield _Way("numpy of floats", "numpy", ((_ONE_ARRAY, width, "FloatTensorType", "FloatTensorType"),))
    yield _Way("columns of floats", "columns", tuple(zip(names, ones, floats, floats, strict=True)))


def _sklearn(model: Any, way: _Way) -> OnnxModel:
    try:
        from skl2onnx import convert_sklearn  # type: ignore[import-untyped]  # skl2onnx has no stubs
        from skl2onnx.common import data_types  # type: ignore[import-untyped]  # skl2onnx has no stubs
    except ImportError as error:
        raise MissingExtraError("skl2onnx", "onnx", "Exporting a scikit-learn model to ONNX") from error
    from mainspring.models.onnx_trees import settle

    last = _last(model)
    own, declared = _converters(last)
    inputs = [(name, getattr(data_types, inner)([None, width])) for name, width, inner, _ in way.inputs]
    with warnings.catch_warnings(), _naming_the_part(model):
        warnings.simplefilter("ignore")
        made = convert_sklearn(
            model, initial_types=inputs, target_opset=OPSET,
            custom_conversion_functions=own, custom_shape_calculators=declared,
            options={id(last): {"zipmap": False} if _maps(last) else {}},
        )  # fmt: skip
    settle(made)
    if any(way.rounded) and not all(way.rounded):
        _round_columns(made.graph, way.rounded)
    for place, (_, width, inner, outer) in enumerate(way.inputs):
        if inner != outer:
            _cast_input(made.graph, place, getattr(data_types, outer)([None, width]))
    _name_inputs(made.graph, [name for name, _ in inputs])
    if getattr(getattr(model, "classes_", None), "dtype", "") == "bool":
        _cast_labels(made.graph)
    return OnnxModel(made.SerializeToString())


@contextmanager
def _naming_the_part(model: Any) -> Iterator[None]:
    """Say of which estimator the converter's own error is, which it doesn't tell itself."""
    try:
        yield
    except (ImportError, MemoryError, CodecError):
        raise
    except Exception as error:  # skl2onnx raises anything
        handled = [frame.f_locals.get("operator") for frame, _ in walk_tb(error.__traceback__)]
        parts = [part for each in handled if (part := getattr(each, "raw_operator", None)) is not None]
        name = type(parts[-1] if parts else model).__qualname__
        text = shorten(" ".join(str(error).split()), 250)
        raise CodecError(f"skl2onnx has no graph of `{name}`: {text}") from error


def _converters(last: Any) -> tuple[dict[type, Any], dict[type, Any]]:
    """What makes nodes of estimators, and what declares the outputs of the one that answers, by their types."""
    from skl2onnx._supported_operators import sklearn_operator_name_map  # type: ignore[import-untyped]  # skl2onnx has no stubs

    from mainspring.models import onnx_forests, onnx_lightgbm, onnx_linear, onnx_steps, onnx_vectors, onnx_xgboost
    from mainspring.models.onnx_nodes import declare_doubles
    from mainspring.models.onnx_trees import declare

    boosted = onnx_lightgbm.converters() | onnx_xgboost.converters()
    own = onnx_forests.converters() | onnx_steps.converters() | onnx_linear.converters() | onnx_vectors.converters()
    known = {type(last): declare_doubles} if type(last) in sklearn_operator_name_map else {}
    return own | boosted, known | dict.fromkeys(boosted, declare)


def _last(model: Any) -> Any:
    """What answers: of a pipeline its last step."""
    return _last(model.steps[-1][1]) if hasattr(model, "steps") else model


def _maps(model: Any) -> bool:
    """Whether skl2onnx makes a map of the scores of each row, unless it is told otherwise."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import get_converter  # type: ignore[import-untyped]  # skl2onnx has no stubs

    known = sklearn_operator_name_map.get(type(model))
    return known is not None and "zipmap" in (get_converter(known).get_allowed_options() or ())


def _cast_input(graph: Any, place: int, outer: Any) -> None:
    """Let a graph take another type of numbers, which its first node makes doubles."""
    from onnx import TensorProto, helper

    port, known = graph.input[place], set(_renamed(graph, {}))
    name, within = port.name, _fresh(f"{port.name}_double", known)
    _renamed(graph, {name: within})
    port.name, port.type.tensor_type.elem_type = name, outer.to_onnx_type().tensor_type.elem_type
    graph.node.insert(0, helper.make_node("Cast", [name], [within], to=TensorProto.DOUBLE, name=within))


def _cast_labels(graph: Any) -> None:
    """Let a graph give false and true, of which the converters make 0 and 1."""
    from onnx import TensorProto, helper

    port = graph.output[0]
    name, within = port.name, _fresh(f"{port.name}_whole", set(_renamed(graph, {})))
    _renamed(graph, {name: within})
    port.name, port.type.tensor_type.elem_type = name, TensorProto.BOOL
    graph.node.append(helper.make_node("Cast", [within], [name], to=TensorProto.BOOL, name=within))


def _round_columns(graph: Any, rounded: Sequence[bool]) -> None:
    """Round these columns of the array that a graph takes to 32 bits."""
    from onnx import TensorProto, helper

    known = set(_renamed(graph, {}))
    name = graph.input[0].name
    short, wide, which, within = (_fresh(f"{name}_{each}", known) for each in ("short", "wide", "which", "rounded"))
    _renamed(graph, {name: within})
    graph.input[0].name = name
    graph.initializer.append(helper.make_tensor(which, TensorProto.BOOL, [len(rounded)], list(rounded)))
    nodes = (
        helper.make_node("Cast", [name], [short], to=TensorProto.FLOAT, name=short),
        helper.make_node("Cast", [short], [wide], to=TensorProto.DOUBLE, name=wide),
        helper.make_node("Where", [which, wide, name], [within], name=within),
    )
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)


def _fresh(name: str, known: set[str]) -> str:
    return next(each for n in itertools.count() if (each := f"{name}_{n}") not in known)


def _name_inputs(graph: Any, names: list[str]) -> None:
    """Give the inputs of a graph these names, in their order; the converter makes identifiers of them.

    What is called by one of them already gets another name.
    """
    known = set(_renamed(graph, {})) | set(names)
    given = {each.name: name for each, name in zip(graph.input, names, strict=True)}
    for taken in known.intersection(names) - set(given):
        given[taken] = _fresh(taken, known)
        known.add(given[taken])
    _renamed(graph, given)


def _renamed(graph: Any, given: dict[str, str]) -> list[str]:
    """Rename values wherever they stand in a graph and those within it, all at once; gives the names."""
    found: list[str] = []
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = given.get(value.name, value.name)
        found.append(value.name)
    for node in graph.node:
        for ports in (node.input, node.output):
            ports[:] = [given.get(name, name) for name in ports]
            found += ports
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.type in _GRAPHS else ():
                found += _renamed(inner, given)
    return found


def is_text(field: Field) -> bool:
    """Whether a graph takes texts for it."""
    return field.dtype in ("str", "cat") or field.dtype.startswith("enum")


def _tensor(field: Field, tensor: str) -> str:
    if field.dtype in FLOATS or (field.dtype in INTEGERS and field.nullable):
        return f"{tensor}TensorType"
    if field.dtype in INTEGERS:
        return "Int64TensorType"
    if is_text(field):
        return "StringTensorType"
    if field.dtype == "bool":
        return "BooleanTensorType"
    raise CodecError(f"The column `{field.name}` is {field.dtype}, for which an ONNX graph has no type.")


def _catboost(model: Any) -> OnnxModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            model.save_model(str(path), format="onnx")
        except Exception as error:
            raise CodecError(f"CatBoost can't export the model: {shorten(str(error), 200)}") from error
        return OnnxModel(path.read_bytes())
