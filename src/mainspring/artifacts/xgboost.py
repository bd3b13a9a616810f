"""The codec of XGBoost: boosters and the estimators around them, as UBJSON, which XGBoost writes the same for each refit."""

from __future__ import annotations

import json
from typing import Any

from mainspring.artifacts._models import ModelCodec, Parts
from mainspring.errors import CodecError

_BOOSTER = "_Booster"


class BoosterCodec(ModelCodec):
    """A `Booster`, or an estimator with its parameters and what fitting set on it; callbacks have no stored form."""

    name, recipe, library = "xgboost", 1, "xgboost"
    types = ("xgboost.core.Booster", "xgboost.sklearn.XGBModel")
    afterwards = ", or set it to None after the fit"  # the booster holds what answers need

    def take_apart(self, value: Any) -> Parts:
        """An estimator's state is its attributes; a booster has none."""
        booster = _booster(value)
        if booster is value:
            return Parts({}, bytes(booster.save_raw("ubj")))
        state = {key: item for key, item in sorted(vars(value).items()) if key != _BOOSTER}
        return Parts(state, b"" if booster is None else bytes(booster.save_raw("ubj")))

    def put_together(self, cls: type, state: dict[str, Any], payload: bytes) -> Any:
        """A booster read from the payload, inside an estimator made of its attributes."""
        import xgboost

        booster = xgboost.Booster(model_file=bytearray(payload)) if payload else None
        if issubclass(cls, xgboost.Booster):
            if booster is None:
                raise CodecError("The stored booster is empty.")
            return booster
        value = cls.__new__(cls)
        vars(value).update(state)
        if booster is not None:
            vars(value)[_BOOSTER] = booster
        return value

    def content(self, value: Any) -> Any:
        """The model as XGBoost's JSON."""
        booster = _booster(value)
        return None if booster is None else json.loads(bytes(booster.save_raw("json")))

    def details(self, value: Any) -> dict[str, Any]:
        """How many rounds, and the features."""
        booster = _booster(value)
        if booster is None:
            return {"fitted": False}
        return {"rounds": booster.num_boosted_rounds(), "features": list(booster.feature_names or ())[:200]}


def _booster(value: Any) -> Any:
    """The booster of an estimator, None before it is fitted; a booster itself."""
    return getattr(value, _BOOSTER, None) if hasattr(value, "get_params") else value
