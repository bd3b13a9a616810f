"""Counts, weights and draws of classes; the weights are scikit-learn's."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from mainspring.data import class_balance, class_weights, resample, sample_weights
from mainspring.errors import InvalidError, NotFoundError

CLASSES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=60)


def framed(values: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"y": values, "row": range(len(values))}, schema={"y": pl.String, "row": pl.Int64})


@given(CLASSES)
def test_the_balance_is_a_count(values: list[str]) -> None:
    found = class_balance(framed(values), "y")
    counts = Counter(values)
    assert {each.value: each.rows for each in found.classes} == counts
    assert [each.rows for each in found.classes] == sorted(counts.values(), reverse=True)
    assert found.rows == len(values)
    if values:
        assert found.ratio == max(counts.values()) / min(counts.values())
        shares = [count / len(values) for count in counts.values()]
        entropy = -sum(share * math.log(share) for share in shares)
        assert found.evenness == pytest.approx(entropy / math.log(len(counts)) if len(counts) > 1 else 1.0)


@given(CLASSES.filter(bool))
def test_weights_are_those_of_scikit_learn(values: list[str]) -> None:
    frame = framed(values)
    known = sorted(set(values))
    wanted = compute_class_weight("balanced", classes=np.array(known), y=np.array(values))
    assert class_weights(frame, "y") == pytest.approx(dict(zip(known, wanted, strict=True)))
    assert sample_weights(frame, "y").to_list() == pytest.approx(compute_sample_weight("balanced", values).tolist())


@given(CLASSES, st.sampled_from(["under", "over"]), st.integers(0, 9))
def test_draws_make_classes_even_and_keep_the_order(values: list[str], strategy: Any, seed: int) -> None:
    drawn = resample(framed(values), "y", strategy, seed=seed)
    counts, rows = Counter(values), Counter(drawn["row"])
    wanted = {"under": min, "over": max}[strategy](counts.values(), default=0)
    assert Counter(drawn["y"]) == dict.fromkeys(counts, wanted)
    assert drawn["row"].is_sorted()
    for value in counts:
        copies = [rows[row] for row, each in enumerate(values) if each == value]
        assert max(copies) - min(copies) <= 1
    if strategy == "over":
        assert set(rows) == set(range(len(values)))


def test_a_draw_can_be_said_for_each_class() -> None:
    frame = framed(["a"] * 6 + ["b"] * 2 + ["c"])
    drawn = resample(frame, "y", {"a": 3, "b": 5})
    assert Counter(drawn["y"]) == {"a": 3, "b": 5, "c": 1}
    assert Counter(resample(frame, "y", {"a": 0})["y"]) == {"b": 2, "c": 1}


def test_draws_differ_by_the_seed_alone() -> None:
    frame = framed(["a"] * 500 + ["b"] * 50)
    assert not resample(frame, "y", seed=1).equals(resample(frame, "y", seed=2))
    program = (
        "import polars as pl; from mainspring.data import resample\n"
        "print(resample(pl.DataFrame({'y': ['a'] * 500 + ['b'] * 50, 'row': range(550)}), 'y', seed=1)['row'].to_list())"
    )
    environment = {"PYTHONHASHSEED": "7"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(resample(frame, "y", seed=1)["row"].to_list())


def test_rows_without_a_class_are_counted_and_not_weighed() -> None:
    frame = pl.DataFrame({"y": [1, None, 1, 2]})
    assert "y: 2 classes of 4 rows, 1 row without one" in str(class_balance(frame, "y"))
    for call in (class_weights, sample_weights, resample):
        with pytest.raises(InvalidError, match="y: `1 null` is not a class in every row"):
            call(frame, "y")


def test_what_is_no_class_is_refused() -> None:
    with pytest.raises(InvalidError, match="1,001 values"):
        class_balance(pl.DataFrame({"y": range(1001)}), "y")
    with pytest.raises(NotFoundError, match="Nearest: late"):
        class_weights(pl.DataFrame({"late": [1]}), "lte")
    with pytest.raises(NotFoundError, match="`y` has no class `z`"):
        resample(framed(["a"]), "y", {"z": 1})
    with pytest.raises(InvalidError, match="a number of rows"):
        resample(framed(["a"]), "y", {"a": -1})
    with pytest.raises(InvalidError, match="`under`, `over`"):
        resample(framed(["a"]), "y", "both")  # type: ignore[arg-type]  # what is tested


def test_no_rows_have_no_classes() -> None:
    assert str(class_balance(framed([]), "y")) == "y: 0 classes of 0 rows"
    assert class_weights(framed([]), "y") == {}
    assert sample_weights(framed([]), "y").len() == 0
    assert resample(framed([]), "y").height == 0


def test_the_balance_is_shown_in_a_notebook() -> None:
    assert (
        "<td>&lt;b&gt;</td><td>2</td><td>66.7 %</td>" in class_balance(framed(["<b>", "a", "<b>"]), "y")._repr_html_()
    )
