"""What holds for every test: fixed seeds, no settings of the machine, no network but the loopback."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["mainspring.testing.plugin"]

LOOPBACK = ("127.", "::1", "localhost")

settings.register_profile(
    "law", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.register_profile(
    "soak", parent=settings.get_profile("law"), derandomize=False, max_examples=5_000, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "law"))

for name in [name for name in os.environ if name.startswith("MAINSPRING_") and name != "MAINSPRING_TEST_OUTSIDE"]:
    del os.environ[name]
os.environ["NO_COLOR"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that import onnxruntime themselves
os.environ.pop("COLUMNS", None)  # pytest imports readline, which tells workers the size of a terminal that isn't there
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # bytecode is stamped with a second; tests edit a module twice in one


def _stay_inside(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = str(args[1][0])
        if not host.startswith(LOOPBACK):
            raise PermissionError(f"a test tried to reach `{host}`; only tests in tests/outside may leave this machine")


if "MAINSPRING_TEST_OUTSIDE" not in os.environ:
    sys.addaudithook(_stay_inside)
    # On the loopback nobody shows a certificate: to read those of all the world takes each client of HTTP 25 ms.
    os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("nobody.pem"))

# A shell that starts the tests in the background has them, and what they start, ignore interrupts.
for number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

MAY_MOUNT = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and count as deselected, what has to mount a disk where that is not allowed."""
    left_out = [] if MAY_MOUNT else [item for item in items if "small_disk" in getattr(item, "fixturenames", ())]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the tests as pytest rewrote them: to do it anew takes each worker 10 s. While tests run, no bytecode is kept."""
    sys.dont_write_bytecode = False
    gc.disable()  # what is collected and imported stays to the end: to look through it again and again is a fifth of this
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = True
        gc.enable()
        gc.collect()
        gc.freeze()  # thousands of collected tests, which every full collection of garbage would walk: 7 % of a run


def pytest_unconfigure() -> None:
    """Libraries that look at exit whether all of theirs was collected find it so."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _environment_kept() -> Iterator[None]:
    """What a command that is called in this process sets, such as numbers of threads, is not there for other tests."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    # No more than what differs: threads of libraries read the environment while it is written, without a lock.
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte: a test can fill it, or take its write permission away, also as root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
