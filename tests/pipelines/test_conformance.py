"""Every runner keeps the contract of runners."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from mainspring.testing.runners import RunnerContract
from mainspring.testing.workspaces import Lab


class TestInline(RunnerContract):
    runner = "inline"
    isolates = False


@pytest.mark.one_backend(
    "its worker reaches the state by URL, whichever it is; a pool of two is held to the other", name="postgres"
)
class TestPoolOfOne(RunnerContract):
    runner = "pool"
    jobs = 1


@pytest.mark.one_backend("its workers reach the state by URL, whichever it is; a pool of one is held to the other")
class TestPoolOfTwo(RunnerContract):
    runner = "pool"
    jobs = 2
    zoo = "few"


@pytest.mark.one_backend(
    "its workers reach the state by URL, whichever it is; machines share this one", name="postgres"
)
class TestDetached(RunnerContract):
    runner = "detached"
    jobs = 2
    zoo = "few"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


@pytest.mark.parametrize("busy", ["time.sleep(60)", "ctypes.PyDLL(None).sleep(60)"])
@pytest.mark.one_backend("whether a process ends with another is the kernel's affair")
def test_workers_of_a_killed_engine_are_gone_at_once(lab: Lab, busy: str) -> None:
    marker = lab.root.parent / "pid"
    lab.write(
        f"""
        import ctypes, os, time

        @ms.step
        def work(marker: str):
            with open(marker + ".new", "w") as file:
                file.write(str(os.getpid()))
            os.rename(marker + ".new", marker)
            {busy}

        @ms.pipeline
        def main(marker: str):
            return work(marker)
        """
    )
    engine = lab.start(f"from flow import main; main.run(marker={str(marker)!r}, options={{'runner': 'pool'}})")
    while not marker.exists():
        assert engine.poll() is None, engine.communicate()
        time.sleep(0.01)
    worker = int(marker.read_text())
    assert alive(worker)
    engine.send_signal(signal.SIGKILL)
    engine.communicate()
    until = time.monotonic() + 2
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(worker)


def test_a_detached_worker_knows_two_urls_and_no_folder_of_the_project(lab: Lab) -> None:
    lab.write(
        """
        import os, sys

        @ms.step
        def look(root: str):
            known = [f"{name}={value}" for name, value in os.environ.items() if root in value]
            return [os.getcwd(), sorted(known), [path for path in sys.path if root in path]]

        @ms.pipeline
        def main(root: str):
            return look(root)
        """
    )
    folder, known, paths = lab.run(runner="detached", params={"root": str(lab.root.parent)}).value
    assert not folder.startswith(str(lab.root.parent))
    assert {line.partition("=")[0] for line in known} <= {"MAINSPRING_DATABASE", "MAINSPRING_BLOBS"}
    assert paths == []
    assert not os.path.exists(folder)
