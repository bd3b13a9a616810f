"""The card and the difference of versions are made of facts; what people add changes no content."""

from __future__ import annotations

import pytest

from mainspring.data import dataset
from mainspring.errors import InvalidError, NotFoundError
from mainspring.models import diff_versions, extend_card, get_model_version, model_card, update_version
from mainspring.runs import start_run
from mainspring.workspace import Workspace
from tests.models.conftest import Registers

pytestmark = pytest.mark.one_backend("made of records that have their own suites on both")


def test_two_versions_differ_in_what_made_them(registered: Registers, workspace: Workspace) -> None:
    import polars as pl

    one = dataset("lines").commit(pl.DataFrame({"x": [1.0]}))
    two = dataset("lines").commit(pl.DataFrame({"x": [2.0]}))
    for slope, data in ((2.0, one), (3.0, two)):
        with start_run("train", params={"slope": slope, "kind": "line"}):
            registered(slope, trained_on=[data], metrics={"mae": slope / 10})
    found = {(each.section, each.name): (each.old, each.new) for each in diff_versions("line/1", "line/2").differences}
    assert found["metrics", "mae"] == ("0.2", "0.3")
    assert found["parameters", "slope"] == ("2", "3")
    assert found["data", "lines/1"][1] is None
    assert found["data", "lines/2"][0] is None
    assert ("model", "content") in found
    assert not {("parameters", "kind"), ("takes", "x"), ("environment", "python")} & found.keys()
    assert not diff_versions("line/1", "line/1")
    with pytest.raises(NotFoundError):
        diff_versions("line/1", "line/9")


def test_people_extend_a_card_and_the_content_stays(registered: Registers, workspace: Workspace) -> None:
    slices = {"slices": [{"slice": "carrier", "value": "UA|x", "rows": 3, "metrics": {"mae": 0.25, "r2": None}}]}
    version = registered(evaluation=slices, metrics={"mae": 0.2})
    update_version(version, description="Predicts *lines*.", licence="MIT")
    extend_card(version, "Intended use", "Only <lines>.\n\n- and no curves")
    card = extend_card("line", "Caveats", "None known.")
    text, page = card.to_markdown(), card.to_html()
    assert "## Intended use\n\nOnly <lines>.\n\n- and no curves" in text
    assert r"| carrier = UA\|x | mae 0.25 |" in text
    assert "*Not stated.*" in text
    assert "Only &lt;lines&gt;." in page
    assert "<script" not in page
    assert get_model_version(version).content_digest == version.content_digest
    assert extend_card(version, "Caveats", "").notes == card.notes[:1]
    assert model_card(version).facts["model"]["licence"] == "MIT"
    written = [event for event in workspace.ledger.events(subject=version.id) if event.kind == "model_version.card"]
    assert [event.payload["text"] for event in written][1:] == ["None known.", ""]
    for title in ("", "a\nb", "x" * 101):
        with pytest.raises(InvalidError, match="a title of"):
            extend_card(version, title, "x")
