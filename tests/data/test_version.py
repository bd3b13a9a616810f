"""Where a version is meant, what is none is named with what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.data import (
    HashSplit,
    check,
    copy_version,
    dataset,
    diff_trees,
    export_delta,
    export_dvc,
    export_parquet,
    find_report,
    split_dataset,
    split_of,
    tree_status,
    validate,
)
from mainspring.data.splits.recorded import count_parts
from mainspring.data.validation.images import image_table
from mainspring.errors import WrongTypeError
from mainspring.workspace import Workspace

ROWS = pl.DataFrame({"id": [1, 2, 3]})
TAKES: dict[str, Callable[[Any], object]] = {
    "split": lambda given: split_dataset(given, HashSplit("id")),
    "parts": lambda given: count_parts(given, HashSplit("id")),
    "split_of": split_of,
    "report": find_report,
    "diff": lambda given: dataset("t").latest().diff(given),
    "trees": lambda given: diff_trees(given, given),
    "status": lambda given: tree_status(".", given),
    "copy": lambda given: copy_version(given, dataset("t").workspace),
    "parquet": lambda given: export_parquet(given, "out.parquet"),
    "delta": lambda given: export_delta(given, "out"),
    "dvc": lambda given: export_dvc(given, "out"),
    "behind": lambda given: validate(ROWS, [check.unique("id")], behind=given),
}
OR_A_NAME: dict[str, Callable[[Any], object]] = {
    "in_dataset": lambda given: check.in_dataset("id", given),
    "against": lambda given: check.compare_previous("rows", against=given),
    "source": lambda given: dataset("u").commit(ROWS, source=given),
    "images": image_table,
}


@pytest.mark.parametrize("act", TAKES.values(), ids=TAKES)
def test_what_is_no_version_is_told_how_to_get_one(workspace: Workspace, act: Callable[[Any], object]) -> None:
    dataset("t").commit(ROWS)
    for given, such in (
        (dataset("t"), r"dataset\('t'\)\.latest\(\)"),
        ("t/1", r"get_dataset_version\('t/1'\)"),
        (7, r"dataset\(name\)\.latest\(\)"),
    ):
        with pytest.raises(WrongTypeError, match=f"expected a version, such as `{such}`"):
            act(given)


@pytest.mark.parametrize("act", OR_A_NAME.values(), ids=OR_A_NAME)
def test_a_handle_is_neither_a_version_nor_a_name(workspace: Workspace, act: Callable[[Any], object]) -> None:
    dataset("t").commit(ROWS)
    for given in (dataset("t"), 7):
        with pytest.raises(WrongTypeError, match=r"version, such as `dataset\('?(t|name)'?\)\.latest\(\)"):
            act(given)


def test_a_check_takes_a_version_as_it_takes_its_name(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("t").commit(ROWS)
    assert check.in_dataset("id", version) == check.in_dataset("id", "t/1")
    assert check.compare_previous("rows", against=version) == check.compare_previous("rows", against="t/1")
    assert validate(ROWS, [check.in_dataset("id", version)]).passed
