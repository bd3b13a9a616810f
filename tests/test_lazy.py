"""Lazy exports: a name is what its package says it is, in whatever order things are imported."""

from __future__ import annotations

import subprocess
import sys


def test_an_exported_name_is_never_hidden_by_its_module() -> None:
    program = (
        "import mainspring.data.dataset; from mainspring.data import get_dataset_version, dataset;"
        " assert callable(dataset), dataset;"
        " import mainspring.pipelines.step; from mainspring.pipelines import step; assert callable(step), step"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_subpackage_is_exported_as_itself() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import mainspring as ms; print(ms.streams.__name__, ms.streams.send.__name__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == ["mainspring.streams", "send"]
