"""The codec of LightGBM: boosters and the estimators around them, as LightGBM's text.

The number of threads, which LightGBM writes into the text whether it was given or is the machine's, is not in the digest.
"""

from __future__ import annotations

import re
from typing import Any

from mainspring.artifacts._models import ModelCodec, Parts
from mainspring.errors import CodecError

_BOOSTER, _ENCODER = "_Booster", "_le"
_THREADS = re.compile(r"^\[num_threads: \d+\]\n", re.MULTILINE)
_OWN = ("best_iteration", "best_score")  # what a booster holds beside its text


class BoosterCodec(ModelCodec):
    """A `Booster`, or an estimator with its parameters and what fitting set on it; functions have no stored form."""

    name, recipe, library = "lightgbm", 1, "lightgbm"
    types = ("lightgbm.basic.Booster", "lightgbm.sklearn.LGBMModel")

    def take_apart(self, value: Any) -> Parts:
        """All rounds, also those after the best; the encoder of an estimator's classes as the classes that it knows."""
        booster = _booster(value)
        state: dict[str, Any] = (
            {} if booster is None else {"booster": {name: _plain(getattr(booster, name)) for name in _OWN}}
        )
        if booster is not value:
            state |= {key: _plain(item) for key, item in sorted(vars(value).items()) if key != _BOOSTER}
            if _ENCODER in state:
                state[_ENCODER] = dict(vars(state[_ENCODER]))
        text = "" if booster is None else booster.model_to_string(num_iteration=-1)
        return Parts(state, text.encode(), _THREADS.sub("", text) or "not fitted")

    def put_together(self, cls: type, state: dict[str, Any], payload: bytes) -> Any:
        """A booster read from the text, inside an estimator made of its attributes."""
        import lightgbm

        booster = None
        if payload:
            booster = lightgbm.Booster(model_str=payload.decode())
            vars(booster).update(state.pop("booster"))
        if issubclass(cls, lightgbm.Booster):
            if booster is None:
                raise CodecError("The stored booster is empty.")
            return booster
        value = cls.__new__(cls)
        if _ENCODER in state:
            from sklearn.preprocessing import LabelEncoder

            encoder = LabelEncoder()
            vars(encoder).update(state.pop(_ENCODER))
            vars(value)[_ENCODER] = encoder
        vars(value).update(state)
        if booster is not None:
            vars(value)[_BOOSTER] = booster
        return value

    def content(self, value: Any) -> Any:
        """The trees as LightGBM's JSON."""
        booster = _booster(value)
        return None if booster is None else booster.dump_model(num_iteration=-1)

    def details(self, value: Any) -> dict[str, Any]:
        """How many trees, and the features."""
        booster = _booster(value)
        if booster is None:
            return {"fitted": False}
        return {"trees": booster.num_trees(), "features": booster.feature_name()[:200]}


def _booster(value: Any) -> Any:
    """The booster of an estimator, None before it is fitted; a booster itself."""
    return getattr(value, _BOOSTER, None) if hasattr(value, "get_params") else value


def _plain(value: Any) -> Any:
    """A value without `defaultdict`, which a tree has no form for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
