"""Which definitions values bring along."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from mainspring.artifacts.brought import brought_by
from mainspring.evaluation import Metric


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Row:
    colour: object = None


ROW, COLOUR = f"{__name__}:Row", f"{__name__}:Colour"
FRAME, ARRAY = "polars.dataframe.frame:DataFrame", "numpy:ndarray"


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (3, ()),
        ([1, "a", {"b": None}], ()),
        (list(range(1000)), ()),
        (Row(), (ROW,)),
        ({"a": [(Row(Colour.RED), 1)]}, (COLOUR, ROW)),
        ({Colour.RED: 1}, (COLOUR,)),
        ([pl.DataFrame(), np.arange(3)], (ARRAY, FRAME)),
        (Metric("c", "binary", False, "costs:cost"), ("costs:cost",)),
    ],
)
def test_classes_are_found_wherever_they_stand(value: object, names: tuple[str, ...]) -> None:
    assert brought_by(value) == tuple(sorted(names))
