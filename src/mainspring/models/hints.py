"""What a fitted scikit-learn model tells of the values of its columns: categories, ranges, and the thresholds of its trees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mainspring.models.signature import Signature

Known = dict[str, list[Any]]
_MOST = 200  # of each column
_LIMITS = ("data_min_", "data_max_", "mean_", "center_")


def hints_of(model: Any, signature: Signature) -> Known:
    """Values of each column, by its name; of other libraries' models none."""
    known: Known = {}
    for name, values in _told(model, [field.name for field in signature.inputs], True):
        known.setdefault(name, []).extend(values)
    return {name: values[:: len(values) // _MOST + 1] for name, values in known.items()}


def _told(model: Any, names: Sequence[str], as_given: bool) -> Iterator[tuple[str, list[Any]]]:
    """`as_given` says whether it gets the columns as they are, or what steps before it made of them."""
    if hasattr(model, "transformers_"):
        for _, step, columns in model.transformers_:
            yield from _told(step, _named(columns, names), as_given)
    elif hasattr(model, "steps"):
        for place, (_, step) in enumerate(model.steps):
            yield from _told(step, names, as_given and place == 0)
    elif getattr(model, "n_features_in_", None) == len(names):
        yield from _of_columns(model, names, as_given)


def _named(columns: Any, names: Sequence[str]) -> list[str]:
    if isinstance(columns, str | int) or not hasattr(columns, "__len__"):
        columns = [columns]
    found = [names[each] if isinstance(each, int) and not isinstance(each, bool) else each for each in columns]
    return [str(each) for each in found]


def _of_columns(model: Any, names: Sequence[str], as_given: bool) -> Iterator[tuple[str, list[Any]]]:
    for name, values in zip(names, getattr(model, "categories_", None) or (), strict=False):
        yield name, list(values)
    if not as_given:
        return
    for limit in _LIMITS:
        for name, value in zip(names, _listed(getattr(model, limit, None)), strict=False):
            yield name, [value]
    for name, mean, scale in zip(
        names, _listed(getattr(model, "mean_", None)), _listed(getattr(model, "scale_", None)), strict=False
    ):
        yield name, [mean - 3 * scale, mean + 3 * scale]
    for feature, threshold in _splits(model):
        yield names[feature], [threshold]


def _listed(values: Any) -> list[Any]:
    listed = values.tolist() if hasattr(values, "tolist") else []
    return listed if isinstance(listed, list) else []


def _splits(model: Any) -> Iterator[tuple[int, float]]:
    """The column and the threshold of each split."""
    for one in getattr(model, "_predictors", ()):
        for each in one:
            nodes = each.nodes[each.nodes["is_leaf"] == 0]
            yield from zip(nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist(), strict=True)
    fitted = getattr(model, "estimators_", [model])
    for each in fitted.ravel() if hasattr(fitted, "ravel") else fitted:
        tree = getattr(each, "tree_", None)
        if tree is not None:
            inner = tree.children_left >= 0
            yield from zip(tree.feature[inner].tolist(), tree.threshold[inner].tolist(), strict=True)
