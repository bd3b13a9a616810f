"""Models of each library that has a codec are registered, bound, and answer over HTTP what they answer in Python."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import catboost
import httpx
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from mainspring.artifacts.project import importing_from
from mainspring.models import register
from mainspring.serving import bind
from mainspring.serving.app import ServingApp
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("models are read through the doors that have their own suites")
ROWS = pd.DataFrame({"a": np.arange(40) % 7 / 7.0, "b": np.arange(40) % 5 / 5.0})


NET = """
import torch

class Slope(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.line = torch.nn.Linear(width, 1)

    def predict(self, rows):
        with torch.no_grad():
            return self.line(torch.as_tensor(rows, dtype=torch.float32)).numpy()[:, 0]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    (tmp_path / "slopes.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    with Workspace.open(tmp_path) as workspace, using(workspace), importing_from([tmp_path]):
        yield workspace
    sys.modules.pop("slopes", None)


def fitted(model: Any) -> Any:
    return model.fit(ROWS, ROWS["a"] > 0.4)


MODELS: dict[str, Callable[[], Any]] = {
    "xgboost": lambda: fitted(xgboost.XGBClassifier(n_estimators=2, n_jobs=1)),
    "lightgbm": lambda: fitted(lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1)),
    "catboost": lambda: fitted(
        catboost.CatBoostClassifier(iterations=2, thread_count=1, verbose=False, allow_writing_files=False)
    ),
    "torch": lambda: import_module("slopes").Slope(2),
}


@pytest.mark.parametrize("library", MODELS)
def test_a_model_answers_over_http_what_it_answers_in_python(library: str, project: Workspace) -> None:
    model = MODELS[library]()
    version = register(model, "model", input_example=ROWS.head(2), input_kind="numpy" if library == "torch" else None)
    bind("endpoint", "model@production", version=str(version))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(ServingApp(project, "endpoint"))  # type: ignore[arg-type]  # raw ASGI
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/predict", json={"records": ROWS.head(5).to_dict("records")})

    answer = asyncio.run(ask())
    rows = ROWS.head(5)
    expected = (
        model.predict_proba(rows)[:, 1] if hasattr(model, "predict_proba") else model.predict(rows.to_numpy(copy=True))
    )
    assert answer.json()["predictions"] == pytest.approx(expected.tolist(), rel=1e-6)
