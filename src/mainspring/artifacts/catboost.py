"""The codec of CatBoost, in its own binary format, `cbm`.

CatBoost gives each training a new identity and writes when it ended, how many threads there were, which files it wrote and
the history of its losses (of which reading loses the last digits): none of that is in the digest, which is over CatBoost's
JSON of the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from mainspring.artifacts._models import ModelCodec, Parts
from mainspring.store.scratch import Scratch

_LEFT_OUT = ("catboost_version_info", "model_guid", "output_options", "train_finish_time", "training")


class ModelsCodec(ModelCodec):
    """`CatBoost` and its classifier, regressor and ranker, with the parameters that they were made with."""

    name, recipe, library = "catboost", 1, "catboost"
    types = ("catboost.core.CatBoost",)

    def take_apart(self, value: Any) -> Parts:
        """The parameters are the state; the rest is in the payload."""
        state = {"params": dict(sorted(value._init_params.items()))}
        if not value.is_fitted():
            return Parts(state, b"", "not fitted")
        return Parts(state, _exported(value, "cbm"), msgspec.json.encode(self.content(value), order="sorted").decode())

    def put_together(self, cls: type, state: dict[str, Any], payload: bytes) -> Any:
        """A model with these parameters that reads the payload."""
        import catboost

        value = cls(dict(state["params"])) if cls is catboost.CatBoost else cls(**state["params"])
        if payload:
            value.load_model(blob=payload)
        return value

    def content(self, value: Any) -> Any:
        """CatBoost's JSON without what differs between two trainings of the same model."""
        if not value.is_fitted():
            return None
        tree = json.loads(_exported(value, "json"))
        info = {key: item for key, item in tree["model_info"].items() if key not in _LEFT_OUT}
        if isinstance(info.get("params"), dict):
            info["params"].pop("system_options", None)
        return {**tree, "model_info": info}

    def details(self, value: Any) -> dict[str, Any]:
        """How many trees, and the features."""
        if not value.is_fitted():
            return {"fitted": False}
        return {"trees": value.tree_count_, "features": [str(name) for name in value.feature_names_[:200]]}


def _exported(value: Any, form: str) -> bytes:
    """The model in a format; CatBoost writes files only."""
    scratch = Scratch()
    file = Path(scratch.path) / f"model.{form}"
    value.save_model(str(file), format=form)
    return file.read_bytes()
