"""Steps before a model as nodes of ONNX, where skl2onnx's own are of 32 bits or none."""

from __future__ import annotations

from typing import Any

import numpy as np

from mainspring.errors import CodecError
from mainspring.models.onnx_nodes import Nodes

# onnxruntime goes by `en_US.UTF-8` where none is named, which containers rarely have; this one every Linux has.
_LOCALE = "C.UTF-8"
_WORDS, _WORDS_OF_RE2 = r"(?u)\b\w\w+\b", r"[\p{L}\p{N}_]{2,}"  # skl2onnx makes the former words of ASCII alone


def converters() -> dict[type, Any]:
    """What makes nodes of each kind of step, in the way in which skl2onnx calls it."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    steps = {SimpleImputer: _imputed, OneHotEncoder: _spread, OrdinalEncoder: _ordered}
    return steps | {CountVectorizer: _worded, TfidfVectorizer: _worded}


def by_library(scope: Any, operator: Any, container: Any) -> None:
    """Leave an operator to the converter that skl2onnx has of its kind, or of the part of it that this one stands for."""
    from skl2onnx._supported_operators import sklearn_operator_name_map  # type: ignore[import-untyped]  # skl2onnx has no stubs
    from skl2onnx.common._registration import get_converter  # type: ignore[import-untyped]  # skl2onnx has no stubs

    whole = sklearn_operator_name_map[type(operator.raw_operator)]
    get_converter(operator.type if operator.type in sklearn_operator_name_map.values() else whole)(
        scope, operator, container
    )


def _worded(scope: Any, operator: Any, container: Any) -> None:
    """Counts of words as skl2onnx makes them, but that letters and words are those of all languages, on every machine."""
    model = operator.raw_operator
    if model.analyzer == "word" and model.ngram_range[1] > 1 and model.get_stop_words():
        raise CodecError(
            "A graph can't leave out stop words within several words: `ngram_range=(1, 1)` or no `stop_words`."
        )
    is_usual = model.analyzer == "word" and model.token_pattern == _WORDS
    container.options = dict(container.options or {}) | {
        id(model): {"locale": _LOCALE} | ({"tokenexp": _WORDS_OF_RE2} if is_usual else {})
    }
    by_library(scope, operator, container)


def _imputed(scope: Any, operator: Any, container: Any) -> None:
    """Numbers that are missing; of texts, which are never null in a graph, nothing is, unless a text stands for it.

    Indicators and columns without any value are left to skl2onnx.
    """
    model = operator.raw_operator
    if _imputes_nulls_of_texts(operator):
        texts = [each.full_name for each in operator.inputs]
        output, name = operator.outputs[0].full_name, scope.get_unique_operator_name("Concat")
        container.add_node("Concat", texts, output, name=name, axis=1)
        return
    fills = np.asarray(model.statistics_)
    if fills.dtype.kind not in "iuf" or np.isnan(fills).any() or model.add_indicator:
        by_library(scope, operator, container)
        return
    nodes = Nodes(scope, operator, container)
    if isinstance(model.missing_values, float) and np.isnan(model.missing_values):
        missing = nodes.add("IsNaN", [nodes.rows])
    else:
        missing = nodes.add("Equal", [nodes.rows, nodes.known(float(model.missing_values))])
    nodes.give(0, nodes.add("Where", [missing, nodes.known(fills.astype(np.float64)), nodes.rows]))


def _imputes_nulls_of_texts(operator: Any) -> bool:
    model = operator.raw_operator
    is_text = all(type(each.type).__name__ == "StringTensorType" for each in operator.inputs)
    is_kept = all(isinstance(fill, str) for fill in model.statistics_) and not model.add_indicator
    return is_text and is_kept and not isinstance(model.missing_values, str)


def _spread(scope: Any, operator: Any, container: Any) -> None:
    """One-hot columns of numbers, which skl2onnx cuts to whole ones; its own of texts and of rare categories."""
    model = operator.raw_operator
    if not _encodes_numbers(operator):
        by_library(scope, operator, container)
        return
    nodes = Nodes(scope, operator, container)
    dropped = model.drop_idx_ if model.drop_idx_ is not None else [None] * len(model.categories_)
    parts = [
        _matches(nodes, column, categories if left_out is None else np.delete(categories, left_out))
        for column, (categories, left_out) in enumerate(zip(model.categories_, dropped, strict=True))
    ]
    whole = parts[0] if len(parts) == 1 else nodes.add("Concat", parts, axis=1)
    nodes.give(0, nodes.add("Cast", [whole], to=nodes.types.DOUBLE))


def _ordered(scope: Any, operator: Any, container: Any) -> None:
    """The places of numbers among their categories."""
    model = operator.raw_operator
    codes = [model.encoded_missing_value, model.unknown_value if model.handle_unknown == "use_encoded_value" else -1]
    is_whole = type(operator.outputs[0].type).__name__ == "Int64TensorType"
    if not _encodes_numbers(operator) or (is_whole and np.isnan(codes).any()):
        by_library(scope, operator, container)
        return
    nodes = Nodes(scope, operator, container)
    missing, unknown = (nodes.known(np.array([[code]], np.float64)) for code in codes)
    parts = []
    for column, categories in enumerate(model.categories_):
        found = nodes.add("Cast", [_matches(nodes, column, categories)], to=nodes.types.DOUBLE)
        known = nodes.add("ReduceMax", [found], axes=[1], keepdims=1)
        place = nodes.add("Cast", [nodes.add("ArgMax", [found], axis=1, keepdims=1)], to=nodes.types.DOUBLE)
        code = nodes.add("Where", [nodes.add("Cast", [known], to=nodes.types.BOOL), place, unknown])
        if np.isnan(categories[-1]):
            code = nodes.add("Where", [nodes.add("IsNaN", [_column(nodes, column)]), missing, code])
        parts.append(code)
    nodes.give(0, parts[0] if len(parts) == 1 else nodes.add("Concat", parts, axis=1))


def _encodes_numbers(operator: Any) -> bool:
    model = operator.raw_operator
    is_rare = getattr(model, "_infrequent_enabled", False)
    return not is_rare and all(len(each) and each.dtype.kind in "fiu" for each in model.categories_)


def _column(nodes: Nodes, place: int) -> str:
    return nodes.add("Gather", [nodes.rows, nodes.known([place])], axis=1)


def _matches(nodes: Nodes, place: int, categories: Any) -> str:
    """Whether a column is each of the categories: [N, categories]; the last may be that it is missing."""
    column, numbers = _column(nodes, place), categories[~np.isnan(categories)]
    found = nodes.add("Equal", [column, nodes.known(numbers.astype(np.float64))])
    if len(numbers) == len(categories):
        return found
    return nodes.add("Concat", [found, nodes.add("IsNaN", [column])], axis=1)
