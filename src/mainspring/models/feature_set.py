"""What a model is registered with when a feature service gives some of its inputs, and whether the two fit.

Features lie above models, so what they are is told by whoever is given as `register(features=…)`.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from mainspring.errors import InvalidError, close_names
from mainspring.models.signature import FLOATS, INTEGERS, Signature
from mainspring.workspace import Workspace

_WHOLE = {"int": (128, True), **INTEGERS}
_TEXTS = ("str", "cat")


class FeatureSet(msgspec.Struct, frozen=True):
    """A version of a feature service: its features and the columns of a request, each with its type.

    `rows` is a table that it made for training, if there is one: with it the model can have no input from elsewhere.
    """

    service_id: str
    service: str
    features: dict[str, str]
    request: dict[str, str]
    rows: Any = None


class GivesFeatures(Protocol):
    """A version of a feature service, or what was made with it."""

    def feature_set(self, workspace: Workspace) -> FeatureSet:
        """What a model gets by it."""
        ...


def expect_fit(signature: Signature, given: FeatureSet) -> None:
    """Refuse a service that doesn't give what the model takes.

    Raises:
        InvalidError: none of the model's inputs is a feature of it, one has another type, or one was not in the training
            set; they are named.
    """
    inputs = {field.name: field.dtype for field in signature.inputs}
    if not given.features.keys() & inputs.keys():
        said = f"The model takes {', '.join(inputs)}; it gives {', '.join(given.features)}."
        raise InvalidError("features", given.service, "a service with inputs of the model", said)
    known = given.features | given.request
    if given.rows is not None:
        columns = list(given.rows.columns)
        if missing := [name for name in inputs if name not in columns]:
            near = close_names(missing[0], columns)
            hint = f"Nearest: {near[0]}." if near else "Compute it in the service, so that serving has it, too."
            raise InvalidError("signature", ", ".join(missing), f"in the training set of {given.service}", hint)
    wrong = [name for name, dtype in inputs.items() if name in known and not _passes(known[name], dtype)]
    if wrong:
        taken, gives = (", ".join(f"{name}: {types[name]}" for name in wrong) for types in (inputs, known))
        raise InvalidError("signature", taken, f"what {given.service} gives: {gives}")


def _passes(given: str, wanted: str) -> bool:
    """Whether values of a type are the model's without a loss: a whole number is a float, a text a category."""
    if given == wanted:
        return True
    if wanted in FLOATS:
        return given in FLOATS or given in _WHOLE
    if wanted in INTEGERS and given in _WHOLE:
        (bits, signed), (held, minus) = INTEGERS[wanted], _WHOLE[given]
        return given == "int" or (bits >= held and signed == minus) or (signed and bits > held)
    if wanted.startswith(_TEXTS):
        return given.startswith((*_TEXTS, "enum"))
    if wanted.startswith("datetime") and given.startswith("datetime"):
        return _zone(given) == _zone(wanted)
    return given == "bytes" and wanted == "bin"


def _zone(dtype: str) -> str:
    """The time zone in `datetime[us, UTC]` or `datetime[UTC]`; empty if there is none."""
    last = dtype.removeprefix("datetime").strip("[]").rpartition(",")[2].strip()
    return "" if last in ("ns", "us", "ms") else last
