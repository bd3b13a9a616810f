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
