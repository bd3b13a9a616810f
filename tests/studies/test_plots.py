"""Plots are pages that need nothing else, the same for the same study."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import mainspring as ms
from mainspring.errors import InvalidError, NotFoundError
from mainspring.studies import Study, study
from mainspring.testing.workspaces import Lab

pytestmark = pytest.mark.one_backend("what is drawn is read by the store, which the tests of studies hold on both")


def searched(lab: Lab, trials: int = 12) -> Study:
    def loss(rate: float, depth: int, kind: str, bag: Any) -> float:
        return abs(rate - 0.05) + depth / 100 + len(kind) + (bag is None)

    space: dict[str, Any] = {
        "rate": ms.log_float(1e-3, 0.3), "depth": ms.ints(1, 9), "kind": ms.choices("a$", "<bb>"), "bag": ms.choices(None, 1),
    }  # fmt: skip
    return study(
        "a <b>", loss, space=space, direction="minimize", sampler="random", trials=trials, workspace=lab.workspace
    )


@pytest.mark.parametrize("kind", ["history", "importance", "parallel"])
def test_a_plot_is_a_page_of_its_own(lab: Lab, kind: str, tmp_path: Path) -> None:
    drawn = searched(lab).plot(kind)
    page = drawn.save(tmp_path / "plot.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<title>a &lt;b&gt;" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert drawn.save(tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert searched(lab).plot(kind).svg == drawn.svg


def test_what_can_not_be_drawn_is_named(lab: Lab, tmp_path: Path) -> None:
    found = searched(lab, trials=1)
    with pytest.raises(InvalidError, match="one of history, importance, parallel"):
        found.plot("slices")
    with pytest.raises(InvalidError, match="metric: `auc`"):
        found.plot(metric="auc")
    with pytest.raises(NotFoundError, match="two complete trials"):
        found.plot("importance")
    with pytest.raises(InvalidError, match="ends in"):
        found.plot().save(tmp_path / "plot.pdf")
