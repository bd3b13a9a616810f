"""The evaluation that a model version was registered with."""

from __future__ import annotations

import msgspec

from mainspring.evaluation.evaluation import Evaluation
from mainspring.models import ModelVersion, get_model_version
from mainspring.workspace import Workspace


def recorded_evaluation(ref: str | ModelVersion, *, workspace: Workspace | None = None) -> Evaluation | None:
    """The evaluation that a model version was registered with, to compare a challenger with; None if there was none.

    Raises:
        WrongTypeError, InvalidError: it is no reference, or an empty one.
        NotFoundError: no such version; the nearest names are given.
    """
    found = get_model_version(ref, workspace).evaluation
    return None if found is None else msgspec.convert(found, Evaluation)
