"""What an image needs is what its endpoint and those whom it needs declare, whatever else is installed here."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
from typing import Any

import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mainspring.deploy import needs
from mainspring.deploy.needs import needs_of
from mainspring.deploy.traced import Narrowed
from mainspring.deploy.trial import Traced
from mainspring.errors import MainspringError
from mainspring.models import register
from mainspring.serving import bind
from mainspring.serving.sealed import Sealed, seal
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("what is sealed has a suite on each")
TABLE = pl.DataFrame({"x": [1.0, 60.0, 3.0, 80.0], "y": [1.0, 2.0, 3.0, 1.0]})


def sealed(project: Workspace, name: str, model: Any) -> Sealed:
    register(model.fit(TABLE, [0, 1, 0, 1]), name, input_example=TABLE)
    bind(name, f"{name}@production", version=f"{name}/1")
    return seal(name, project)


@pytest.mark.journey
def test_a_native_model_brings_what_is_declared_and_not_what_is_installed_beside(project: Workspace) -> None:
    """scikit-learn imports pytest and pandas where it finds them, Polars pyarrow."""
    found = needs_of(sealed(project, "scaled", make_pipeline(StandardScaler(), LogisticRegression())), project)
    assert {"scikit-learn", "scipy", "joblib", "polars", "skops", "uvicorn"} <= found.distributions.keys()
    assert not {"pytest", "pandas", "pyarrow", "psutil", "pip"} & found.distributions.keys()
    assert not [path for path in found.imported if path.startswith(("pytest/", "_pytest/", "pandas/"))]


@pytest.mark.soak  # it is served three times
def test_what_a_model_says_is_missing_is_brought(project: Workspace) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).set_output(transform="pandas")
    found = needs_of(sealed(project, "framed", model), project)
    assert {"pandas", "python-dateutil"} <= found.distributions.keys()
    assert not {"pytest", "pyarrow"} & found.distributions.keys()


@pytest.mark.parametrize("said", ["ImportError: this requires pandas to be installed", "it took longer than 300 s"])
def test_what_is_missing_is_taken_if_it_is_told_and_else_refused_by_name(
    project: Workspace, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def imported(_sealed: Sealed, _workspace: Workspace, hidden: Any = ()) -> Traced:
        if "pandas" in hidden:
            raise MainspringError(said)
        beside = {} if "pytest" in hidden else {"pytest": str(pytest.__file__)}
        return Traced(beside | {"pandas": str(pl.__file__), "numpy": str(pl.__file__)})

    monkeypatch.setattr(needs, "traced_of", imported)
    if "pandas" in said:
        found = needs_of(seal("lines", project), project).distributions
        assert {"pandas", "numpy", "python-dateutil"} <= found.keys()
        assert "pytest" not in found
    else:
        with pytest.raises(MainspringError, match=r"^It doesn't answer without pandas, .* longer than 300 s"):
            needs_of(seal("lines", project), project)


def test_what_is_hidden_is_neither_found_nor_listed() -> None:
    finder = Narrowed(importlib.machinery.PathFinder, frozenset({"pandas"}))
    assert finder.find_spec("pandas") is None
    assert finder.find_spec("polars") is not None
    context = importlib.metadata.DistributionFinder.Context()
    names = {each.name for each in finder.find_distributions(context)}
    assert "polars" in names
    assert "pandas" not in names
