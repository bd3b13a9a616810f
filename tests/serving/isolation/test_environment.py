"""A model has a process of its own where its library is another release than here, unless that can't be had and one is here."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import polars as pl
import pytest
from msgspec.structs import replace
from sklearn.linear_model import LinearRegression

from mainspring.errors import RebuildError
from mainspring.models import ModelVersion, register
from mainspring.models.libraries import distributions_needed, release_differences
from mainspring.runs.environment import installed, snapshot
from mainspring.serving import bind
from mainspring.serving.isolation import isolation_of
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("the version is changed here, and no store is read but for its blobs")
TABLE = pl.DataFrame({"a": [0.0, 1.0]})


def registered_with(workspace: Workspace, **versions: str) -> ModelVersion:
    """A version as if these distributions had been there when it was registered."""
    version = register(LinearRegression().fit(TABLE, [0.0, 1.0]), "line", input_example=TABLE)
    here = snapshot()
    names = {name.replace("_", "-"): each for name, each in versions.items()}
    lock = replace(here, distributions=here.distributions | names)
    return replace(version, environment=workspace.blobs.put(msgspec.json.encode(lock)))


@pytest.mark.parametrize(
    ("versions", "differs"),
    [({}, []), ({"scikit_learn": "0.1.0"}, ["scikit-learn"]), ({"rich": "0.1"}, []), ({"numpy": "0.1"}, [])],
)
def test_the_release_of_the_library_matters_and_nothing_else(
    workspace: Workspace, versions: dict[str, str], differs: list[str]
) -> None:
    version, here = registered_with(workspace, **versions), installed()
    lock = replace(
        snapshot(), distributions=snapshot().distributions | {k.replace("_", "-"): v for k, v in versions.items()}
    )
    assert [each.name for each in release_differences(version, lock, here, workspace.blobs)] == differs
    patched = ".".join([*here.versions["scikit-learn"].split(".")[:2], "999"])
    other = replace(lock, distributions=snapshot().distributions | {"scikit-learn": patched})
    assert release_differences(version, other, here, workspace.blobs) == []
    assert {"scikit-learn", "skops", "polars"} <= distributions_needed(version, lock, here, workspace.blobs)


def test_a_release_that_can_not_be_had_is_a_warning_unless_the_endpoint_is_isolated(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    version = registered_with(workspace, scikit_learn="0.1.0")
    endpoint = bind("lines", "line@production", version="line/1")
    with caplog.at_level(logging.WARNING):
        assert isolation_of(endpoint, version, workspace) is None
    assert "scikit-learn 0.1.0 (here " in caplog.text
    with pytest.raises(RebuildError, match="can't be had"):
        isolation_of(replace(endpoint, isolated=True), version, workspace)
    assert isolation_of(replace(endpoint, runtime="onnx"), version, workspace) is None


def test_an_environment_that_fits_is_this_python(workspace: Workspace) -> None:
    version = registered_with(workspace)
    endpoint = bind("lines", "line@production", version="line/1")
    assert isolation_of(endpoint, version, workspace) is None
    found = isolation_of(replace(endpoint, memory_mb=2), version, workspace)
    assert found is not None
    assert (found.interpreter.paths, found.memory_bytes) == (None, 2 << 20)
