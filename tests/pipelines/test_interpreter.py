"""A recorded environment is built again as it was, once, or an error says in a line what can't be had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from mainspring.errors import RebuildError
from mainspring.pipelines import interpreter
from mainspring.pipelines.interpreter import FOLDER, rebuilt_interpreter
from mainspring.runs.environment import Environment, snapshot

SLOW_BUILD = """
import os, subprocess, sys

def get_requires_for_build_wheel(config_settings=None):
    own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open({told!r}, "w").write(f"{{os.getpid()}} {{own.pid}}")
    own.wait()
"""
NAME, VERSION = "mainspring-toy", "1.5"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel, which is all that pip knows of."""
    info = f"mainspring_toy-{VERSION}.dist-info"
    files = {
        "mainspring_toy.py": f"version = {VERSION!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(tmp_path / f"mainspring_toy-{VERSION}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def recorded(**distributions: str) -> Environment:
    names = {name.replace("_", "-"): version for name, version in distributions.items()}
    return replace(snapshot(), distributions=names)


def test_an_environment_has_what_was_recorded_and_mainspring_as_it_stands_here_and_is_built_once(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = recorded(mainspring_toy=VERSION, mainspring="0.0.1")
    made = rebuilt_interpreter(there, index)
    script = (
        "import importlib.metadata as m, mainspring_toy as t, mainspring; print(t.version, m.version('mainspring'))"
    )
    told = subprocess.run([made.program, "-c", script], capture_output=True, text=True, check=True, cwd=index)
    here = snapshot().distributions["mainspring"]
    assert told.stdout.split() == [VERSION, here]
    assert snapshot(made.paths).distributions == {NAME: VERSION, "mainspring": here}
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert rebuilt_interpreter(there, index) == made
    assert len(list((index / FOLDER).iterdir())) == 1


def test_what_this_python_is_told_to_find_elsewhere_does_not_count_as_installed(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = index / "elsewhere"
    with zipfile.ZipFile(next(index.glob("*.whl"))) as wheel:
        wheel.extractall(elsewhere)
    for name in ("pip.py", "venv.py"):
        (index / name).write_text("raise ImportError('the one of the current folder')\n")
    monkeypatch.chdir(index)
    for name, value in {"PYTHONPATH": str(elsewhere), "PYTHONHOME": "/nowhere", "PYTHONPLATLIBDIR": "nowhere"}.items():
        with monkeypatch.context() as only:
            only.setenv(name, value)
            made = rebuilt_interpreter(recorded(mainspring_toy=VERSION), index / name)
        assert snapshot(made.paths).distributions.keys() == {NAME, "mainspring"}, name


def test_what_pip_cannot_get_is_named_and_nothing_is_left(index: Path) -> None:
    with pytest.raises(RebuildError, match="`mainspring-toy==9` can't be had") as caught:
        rebuilt_interpreter(recorded(mainspring_toy="9"), index)
    assert "\n" not in str(caught.value)
    assert list((index / FOLDER).iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_who_ends_while_an_environment_is_made_leaves_neither_pip_nor_a_part_of_it(
    index: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The distribution is one that is built, by a build that goes on for long and starts a process of its own."""
    source = index / "slow"
    (source / "mainspring_slow").mkdir(parents=True)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "slow"\nbackend-path = ["."]\n'
    )
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mainspring-slow\nVersion: 1\n")
    (source / "slow.py").write_text(SLOW_BUILD.format(told=str(index / "pids")))
    with tarfile.open(index / "mainspring_slow-1.tar.gz", "w:gz") as packed:
        packed.add(source, "mainspring_slow-1")
    script = (
        "import sys; from pathlib import Path; from msgspec.structs import replace\n"
        "from mainspring.pipelines.interpreter import rebuilt_interpreter\n"
        "from mainspring.runs.environment import snapshot\n"
        "there = replace(snapshot(), distributions={'mainspring-slow': '1'})\n"
        "rebuilt_interpreter(there, Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(index)], stderr=subprocess.DEVNULL)
    while not (index / "pids").exists() or len((index / "pids").read_text().split()) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    assert len(list((index / FOLDER).iterdir())) == 1
    process.send_signal(number)
    process.wait(20)
    until = time.monotonic() + 10
    pids = [int(each) for each in (index / "pids").read_text().split()]
    while time.monotonic() < until and (any(map(is_running, pids)) or list((index / FOLDER).iterdir())):
        time.sleep(0.02)
    assert [is_running(each) for each in pids] == [False, False]
    assert list((index / FOLDER).iterdir()) == []


STARTS = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
Path({told!r} + ".new").write_text(f"{{os.getppid()}} {{os.getpid()}} {{child.pid}}")
os.rename({told!r} + ".new", {told!r})
time.sleep(300)
"""


@pytest.mark.parametrize("killed", [0, 1], ids=["the guard", "what it runs"])
def test_what_is_killed_while_an_environment_is_made_leaves_nothing_and_holds_up_nobody(
    tmp_path: Path, killed: int
) -> None:
    told = tmp_path / "pids"
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(interpreter._called, tmp_path / "made", "-c", STARTS.format(told=str(told)))
        while not told.exists():
            assert not asked.done()
            time.sleep(0.02)
        pids = [int(each) for each in told.read_text().split()]
        os.kill(pids[killed], signal.SIGKILL)
        try:
            with pytest.raises(RebuildError):
                asked.result(20)
            until = time.monotonic() + 10
            while time.monotonic() < until and any(map(is_running, pids)):
                time.sleep(0.02)
            assert [is_running(each) for each in pids] == [False, False, False]
        finally:
            for pid in filter(is_running, pids):
                os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    return bool(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def test_another_python_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(RebuildError, match=r"cpython 3\.7 can't be had"):
        rebuilt_interpreter(replace(snapshot(), python="3.7.1"), tmp_path)


def test_the_pip_that_is_missing_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(RebuildError, match="ensurepip"):
        rebuilt_interpreter(recorded(mainspring_toy=VERSION), tmp_path)
