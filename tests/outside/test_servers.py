"""The servers that people have are measured beside ours, each in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.house.source import ROOT
from tests.outside.environments import environment

NAMES = ("mlflow-3.17", "mlserver", "bentoml")


@pytest.mark.timeout(1_800)
def test_every_server_answers_and_is_measured() -> None:
    for name in NAMES:
        environment(name)
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "bench_servers.py"), "--small"], text=True, capture_output=True, check=False,
        env=os.environ | {"PYTHONWARNINGS": ""}, timeout=1_500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    measured = dict(re.findall(r"^(.+?) +([\d.]+) µs of CPU a request", done.stdout, re.MULTILINE))
    assert [*measured] == [
        "echo", "mainspring", "mainspring, ONNX", "mlflow models serve", "MLServer", "MLServer, batching", "BentoML",
        "BentoML, batching",
    ]  # fmt: skip
