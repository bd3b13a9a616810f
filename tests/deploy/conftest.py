"""A workspace with an endpoint on a graph, which is built once for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.models import export_onnx, register, update_version
from mainspring.serving import bind
from mainspring.workspace import Workspace, using

ROWS = pl.DataFrame({"x": [1.0, 2.0], "y": [0.5, 1.0]})


def with_endpoint(folder: Path) -> None:
    """A workspace in a folder, with the endpoint `lines`, which doubles `x`."""
    folder.mkdir(parents=True, exist_ok=True)
    with Workspace.open(folder) as opened, using(opened):
        register(LinearRegression().fit(ROWS, [2.0, 4.0]), "line", input_example=ROWS)
        update_version("line/1", licence="MIT")
        export_onnx("line/1")
        bind("lines", "line@production", version="line/1", runtime="onnx")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("project")
    with_endpoint(folder)
    with Workspace.open(folder) as opened, using(opened):
        yield opened
