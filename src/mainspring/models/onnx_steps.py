"""Steps before a model as nodes of ONNX, where skl2onnx's own are of 32 bits or none."""

from __future__ import annotations

from typing import Any

import numpy as np

from mainspring.models.onnx_nodes import Nodes


def converters() -> dict[type, Any]:
    """What makes nodes of each kind of step, in the way in which skl2onnx calls it."""
    from sklearn.impute import SimpleImputer

    return {SimpleImputer: _imputed}


def _imputed(scope: Any, operator: Any, container: Any) -> None:
    """Numbers that are missing; texts, indicators and columns without any value are left to skl2onnx."""
    from skl2onnx._supported_operators import sklearn_operator_name_map  # type: ignore[import-untyped]  # skl2onnx has no stubs
    from skl2onnx.common._registration import get_converter  # type: ignore[import-untyped]  # skl2onnx has no stubs

    model = operator.raw_operator
    fills = np.asarray(model.statistics_)
    if fills.dtype.kind not in "iuf" or np.isnan(fills).any() or model.add_indicator:
        get_converter(sklearn_operator_name_map[type(model)])(scope, operator, container)
        return
    nodes = Nodes(scope, operator, container)
    if isinstance(model.missing_values, float) and np.isnan(model.missing_values):
        missing = nodes.add("IsNaN", [nodes.rows])
    else:
        missing = nodes.add("Equal", [nodes.rows, nodes.known(float(model.missing_values))])
    nodes.give(0, nodes.add("Where", [missing, nodes.known(fills.astype(np.float64)), nodes.rows]))
