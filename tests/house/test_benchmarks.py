"""The benchmarks run, once and small, so that they can't rot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT, python_files, relative

BENCHMARKS = [path for path in python_files("benchmarks") if path.name.startswith("bench_")]


@pytest.mark.journey
@pytest.mark.parametrize("script", BENCHMARKS, ids=relative)
def test_a_benchmark_runs_and_prints_a_ratio(script: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(script), "--small"], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


def test_every_script_is_a_benchmark_that_make_bench_finds() -> None:
    assert [relative(path) for path in python_files("benchmarks") if not path.name.startswith(("bench_", "_"))] == []
    assert "benchmarks/bench_*.py" in (ROOT / "Makefile").read_text()
