"""The servers that people have are measured beside ours, each in an environment of its own."""

from __future__ import annotations

import os
import re
import signal
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
    with subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks" / "bench_servers.py"), "--small"], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONWARNINGS": ""},
    ) as measuring:  # fmt: skip
        try:
            told, failed = measuring.communicate(timeout=1_500)
        except BaseException:
            measuring.send_signal(signal.SIGINT)  # it ends the server that it runs
            raise
    assert measuring.returncode == 0, told + failed
    measured = dict(re.findall(r"^(.+?) +([\d.]+) µs of CPU a request", told, re.MULTILINE))
    assert [*measured] == [
        "echo", "mainspring", "mainspring, ONNX", "mlflow models serve", "MLServer", "MLServer, batching", "BentoML",
        "BentoML, batching",
    ]  # fmt: skip
