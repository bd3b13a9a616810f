"""What models of boosted trees, alone or inside an estimator, were fitted to: categories of pandas, and several answers."""

from __future__ import annotations

import json
from typing import Any

from mainspring.artifacts.leaves import models_in
from mainspring.errors import InvalidError
from mainspring.models.signature import FLOATS, INTEGERS, Field, Signature

_NUMBERS_ONLY = ("xgboost", "lightgbm")


def library_of(model: Any) -> str:
    """The package that defines the model's class."""
    return type(model).__module__.partition(".")[0]


def expect_numbers(model: Any, signature: Signature) -> None:
    """Refuse columns that reach a bare model of boosted trees as texts, of which it takes none.

    Raises:
        InvalidError: there is one.
    """
    if library_of(model) in _NUMBERS_ONLY:
        for field in signature.inputs:
            if not _is_number(field):
                raise _no_categories(library_of(model), field)


def of_categories(model: Any, signature: Signature) -> InvalidError | None:
    """Why a model can't answer, if one of boosted trees in it was fitted on categories of pandas."""
    for each in models_in(model):
        named = _categories(each)
        if named is not None:
            fields = [field for field in signature.inputs if field.name in named]
            fields += [field for field in signature.inputs if not _is_number(field)]
            return _no_categories(library_of(each), fields[0] if fields else None)
    return None


def takes_categories(model: Any, *, by_name: bool = False) -> bool:
    """Whether a model of CatBoost, alone or inside an estimator, was fitted on categories, which it takes as texts.

    With `by_name`, whether that was on a table: of an array it numbers the columns.
    """
    fitted = [each for each in models_in(model) if library_of(each) == "catboost" and each.is_fitted()]
    if by_name:
        fitted = [each for each in fitted if each.feature_names_ != [str(n) for n in range(len(each.feature_names_))]]
    return any(each.get_cat_feature_indices() for each in fitted)


def gives_several(model: Any) -> bool:
    """Whether a model of XGBoost, alone or as the last step of a pipeline, gives several answers for each row."""
    steps = getattr(model, "steps", None)
    last = steps[-1][1] if isinstance(steps, list) and steps else model
    booster: Any = getattr(last, "_Booster", None)
    if library_of(booster) != "xgboost":
        return False
    return int(json.loads(booster.save_config())["learner"]["learner_model_param"]["num_target"]) > 1


def _no_categories(library: str, field: Field | None) -> InvalidError:
    hint = f"`{library}` is handed no categories of pandas here: fit it on their codes, as a column of numbers."
    if field is None:
        return InvalidError("model", library, "one that was fitted on columns of numbers or booleans", hint)
    kind = "category" if _is_number(field) else field.dtype
    return InvalidError(f"signature.{field.name}", kind, "a column of numbers or booleans", hint)


def _is_number(field: Field) -> bool:
    return field.dtype in FLOATS or field.dtype in INTEGERS or field.dtype == "bool"


def _categories(model: Any) -> list[str] | None:
    """The names of columns that were categories, as far as the model tells them; None if there were none."""
    booster: Any = getattr(model, "_Booster", None) if hasattr(model, "get_params") else model
    if library_of(booster) == "xgboost":
        pairs = zip(booster.feature_names or (), booster.feature_types or (), strict=False)
        return [name for name, kind in pairs if kind == "c"] or None
    return [] if getattr(booster, "pandas_categorical", None) else None
