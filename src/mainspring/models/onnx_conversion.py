"""From models to ONNX graphs, by the converters of their libraries. Whether a graph answers as its model is not asked here."""

from __future__ import annotations

import itertools
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mainspring.artifacts.onnx import OnnxModel
from mainspring.errors import CodecError, MissingExtraError, shorten
from mainspring.models.signature import FLOATS, INTEGERS, Field, Signature
from mainspring.models.version import InputKind

OPSET = {"": 17, "ai.onnx.ml": 3}  # what onnxruntime runs since 1.12
_ONE_ARRAY = "input"
_DEEPEST = 8
_GRAPHS = (5, 10)  # the types of an attribute that holds one, or several
Attempt = tuple[str, InputKind, Callable[[], OnnxModel]]


def attempts(model: Any, signature: Signature) -> Iterator[Attempt]:
    """The ways in which a model may become a graph, the most exact first: what each is called, what its graph takes, and how.

    Raises:
        CodecError: there is no converter of models like it.
        MissingExtraError: the converter isn't installed.
    """
    library = type(model).__module__.partition(".")[0]
    if library == "catboost":
        yield "CatBoost's own", "numpy", lambda: _catboost(model)
        return
    if library != "sklearn":
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        raise CodecError(
            f"`{kind}` has no converter to ONNX here; models of scikit-learn and of CatBoost have one. Make the "
            "graph with the library's own tools (torch.onnx, onnxmltools), and register it by "
            "`mainspring.models.register_onnx(FILE, NAME)`."
        )
    is_numeric = all(field.dtype in FLOATS or field.dtype in INTEGERS for field in signature.inputs)
    for tensor in ("Double", "Float"):
        shapes: tuple[InputKind, ...] = ("numpy", "columns") if is_numeric else ("columns",)
        for kind in shapes:
            yield f"{kind} of {tensor.lower()}s", kind, _sklearn(model, signature, kind, tensor)


def _sklearn(model: Any, signature: Signature, kind: InputKind, tensor: str) -> Callable[[], OnnxModel]:
    def convert() -> OnnxModel:
        try:
            from skl2onnx import convert_sklearn  # type: ignore[import-untyped]  # skl2onnx has no stubs
            from skl2onnx.common import data_types  # type: ignore[import-untyped]  # skl2onnx has no stubs
        except ImportError as error:
            raise MissingExtraError("skl2onnx", "onnx", "Exporting a scikit-learn model to ONNX") from error
        _expect_finite(model)
        if kind == "numpy":
            array = getattr(data_types, f"{tensor}TensorType")
            inputs = [(_ONE_ARRAY, array([None, len(signature.inputs)]))]
        else:
            inputs = [(each.name, getattr(data_types, _tensor(each, tensor))([None, 1])) for each in signature.inputs]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = convert_sklearn(
                model, initial_types=inputs, target_opset=OPSET, custom_conversion_functions=_boosting(),
                options={id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None,
            )  # fmt: skip
        _name_inputs(made.graph, [name for name, _ in inputs])
        return OnnxModel(made.SerializeToString())

    return convert


def _name_inputs(graph: Any, names: list[str]) -> None:
    """Give the inputs of a graph these names, in their order; the converter makes identifiers of them.

    What is called by one of them already gets another name.
    """
    known = set(_renamed(graph, {})) | set(names)
    given = {each.name: name for each, name in zip(graph.input, names, strict=True)}
    for taken in known.intersection(names) - set(given):
        given[taken] = next(name for n in itertools.count() if (name := f"{taken}_{n}") not in known)
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


def _expect_finite(model: Any, depth: int = 0) -> None:
    """Refuse trees that split off what is missing: skl2onnx 1.20 looks for the next number after infinity without end."""
    thresholds = getattr(getattr(model, "tree_", None), "threshold", None)
    if thresholds is not None and not all(map(math.isfinite, thresholds.tolist())):
        raise CodecError("A tree splits missing values from all others, which the converter can't express.")
    if depth < _DEEPEST and hasattr(model, "__dict__"):
        for part in _parts(list(vars(model).values())):
            _expect_finite(part, depth + 1)


def _parts(value: Any) -> Iterator[Any]:
    """The estimators and trees in the attributes of one, also in lists, steps and arrays of them."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)
    elif getattr(getattr(value, "dtype", None), "hasobject", False) is True:
        yield from _parts(value.ravel().tolist())
    elif not isinstance(value, type) and (hasattr(value, "get_params") or hasattr(value, "tree_")):
        yield value


def _tensor(field: Field, tensor: str) -> str:
    if field.dtype in FLOATS or (field.dtype in INTEGERS and field.nullable):
        return f"{tensor}TensorType"
    if field.dtype in INTEGERS:
        return "Int64TensorType"
    if field.dtype in ("str", "cat") or field.dtype.startswith("enum"):
        return "StringTensorType"
    if field.dtype == "bool":
        return "BooleanTensorType"
    raise CodecError(f"The column `{field.name}` is {field.dtype}, for which an ONNX graph has no type.")


def _boosting() -> dict[type, Any]:
    """Converters of histogram boosting whose attributes are plain numbers.

    skl2onnx 1.20 hands on NumPy's booleans and numbers, which protobuf 5 and later don't take.
    """
    from skl2onnx._supported_operators import sklearn_operator_name_map  # type: ignore[import-untyped]  # skl2onnx has no stubs
    from skl2onnx.common._registration import get_converter  # type: ignore[import-untyped]  # skl2onnx has no stubs
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    def plainly(kind: type) -> Any:
        convert = get_converter(sklearn_operator_name_map[kind])
        return lambda scope, operator, container: convert(scope, operator, _Plain(container))

    return {kind: plainly(kind) for kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor)}


class _Plain:
    """A container of nodes that gets attributes of Python's own kinds."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *args: Any, **attributes: Any) -> Any:
        """As the container's, with plain numbers in lists."""
        plain = {
            name: [_plain(item) for item in value] if isinstance(value, list) else value
            for name, value in attributes.items()
        }
        return self._container.add_node(*args, **plain)


def _plain(item: Any) -> Any:
    value = item.item() if hasattr(item, "item") else item
    return int(value) if isinstance(value, bool) else value


def _catboost(model: Any) -> OnnxModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            model.save_model(str(path), format="onnx")
        except Exception as error:
            raise CodecError(f"CatBoost can't export the model: {shorten(str(error), 200)}") from error
        return OnnxModel(path.read_bytes())
