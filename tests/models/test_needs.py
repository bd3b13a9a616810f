"""What a model needs is measured when it is registered: what C code allocates counts, what libraries need doesn't."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mainspring.artifacts import save
from mainspring.models import allow_pickle, diff_versions, get_model_version, model_card, register_folder
from mainspring.models.needs import measure_needs
from mainspring.workspace import Workspace
from tests.models.conftest import Registers
from tests.models.mlflow_folders import LATE, TABLE, folder, native_folder

NUMBERS = 3_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc says what it has allocated")
def test_the_memory_is_what_loading_allocates_although_as_much_was_just_freed(workspace: Workspace) -> None:
    _, encoded, _ = save({"weights": np.arange(NUMBERS, dtype=np.float64)}, workspace.blobs)
    needs = measure_needs(encoded, workspace)
    assert needs.memory_bytes is not None
    assert 0.9 < needs.memory_bytes / (8 * NUMBERS) < 1.5


def test_a_version_keeps_its_needs_and_two_versions_do_not_differ_by_them(
    registered: Registers, workspace: Workspace
) -> None:
    version = registered()
    assert version.needs is not None
    assert version.encoded is not None
    assert version.needs.size_bytes == version.encoded.size_bytes
    assert version.needs.load_s is not None
    assert version.needs.load_s > 0
    assert get_model_version("line/1", workspace).needs == version.needs
    registered(3.0)
    assert all(each.section != "needs" for each in diff_versions("line/1", "line/2").differences)
    assert "load_s" in model_card("line/1").facts["needs"]


def test_a_folder_that_is_loaded_here_is_measured_and_another_says_why_not(
    workspace: Workspace, tmp_path: Path
) -> None:
    model = LogisticRegression().fit(TABLE, LATE)
    loaded = register_folder(folder(tmp_path / "loaded", model), "late")
    assert loaded.encoded is not None
    assert loaded.needs is not None
    assert loaded.needs.size_bytes == loaded.encoded.size_bytes
    assert loaded.needs.load_s is not None
    assert loaded.needs.load_s > 0

    pickled = register_folder(folder(tmp_path / "pickled", model, "pickle"), "pickled")
    assert pickled.needs is not None
    assert (pickled.needs.load_s, pickled.needs.unmeasured) == (None, pickled.refusal)
    assert pickled.needs.size_bytes == sum(each.stat().st_size for each in (tmp_path / "pickled").iterdir())
    assert "unmeasured" in model_card(pickled).facts["needs"]
    allowed = allow_pickle(pickled, note="mine").needs
    assert allowed is not None
    assert allowed.load_s is not None
    assert allowed.unmeasured == ""

    net = register_folder(native_folder(tmp_path / "net", "pytorch", "model.pth", b"x"), "net")
    assert net.needs is not None
    assert net.needs.unmeasured == net.refusal
