"""What a protocol reads from a request, and what it is given to answer with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from mainspring.models.predictor import Prediction
from mainspring.models.signature import Columns


class Call(Struct, frozen=True):
    """Rows to be answered, as columns that were checked. `form` is what the protocol needs to know to answer."""

    columns: Columns
    rows: int
    form: Any = None


class Outcome(Struct, frozen=True):
    """The answers to a call, by row, under its id. `features` counts those that were read for it by status.

    `first` is the id of the first row's prediction, empty if they have none.
    """

    answers: Sequence[Prediction]
    id: str
    features: Mapping[str, int] | None = None
    first: str = ""
