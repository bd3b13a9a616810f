"""A workspace on each pair of backends, and small versions in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from mainspring.artifacts.project import importing_from
from mainspring.models import Field, ModelVersion, Signature, register
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, using


class Registers(Protocol):
    """Registers a line of a slope as a version of a model."""

    def __call__(self, slope: float = 2.0, name: str = "line", **more: Any) -> ModelVersion: ...


@pytest.fixture
def workspace(backend: Backend, tmp_path: Path) -> Iterator[Workspace]:
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    # A run that an earlier test made in this process leaves its project's folders behind.
    with Workspace.open(tmp_path, overrides=where) as opened, using(opened), importing_from(()):
        yield opened


@pytest.fixture
def registered(workspace: Workspace) -> Registers:
    import numpy as np
    from sklearn.linear_model import LinearRegression

    def register_line(slope: float = 2.0, name: str = "line", **more: Any) -> ModelVersion:
        model = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, slope]))
        return register(model, name, signature=Signature((Field("x", "f64"),)), **more)

    return register_line
