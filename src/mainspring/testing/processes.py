"""Real processes for contract tests: a crowd that starts at one instant, or one that can be killed, stopped, continued.

A crowd is forked from one fresh interpreter, so that a hundred processes cost a third of a second.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

_MODULE = "mainspring.testing.processes"
_DRIVERS = {"postgresql": "mainspring.store.postgres", "redis": "mainspring.store.redis"}


class Child:
    """A process that runs one function, which talks in lines; killed at the end of the block."""

    def __init__(self, target: str, *args: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, "0", target, json.dumps(args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def read(self) -> str:
        """Its next line; empty when it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; a SIGKILL is waited for."""
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def crowd(count: int, target: str, *args: Any) -> None:
    """Call `module:function` with an index and the arguments, in `count` processes at one instant.

    Raises:
        AssertionError: one of them failed; with what they printed.
    """
    command = [sys.executable, "-m", _MODULE, str(count), target, json.dumps(args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def start_server(program: str, folder: Path, **settings: str) -> tuple[subprocess.Popen[str], str]:
    """A process that runs a program in a folder, and the first line that it prints: the address that it answers at."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=folder, env=os.environ | settings, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address, process.communicate()[1]
    return process, address


def _main(count: int, target: str, args: list[Any]) -> int:
    module, _, name = target.partition(":")
    function = getattr(import_module(module), name)
    if not count:
        function(*args)
        return 0
    _import_drivers(args)
    waiting, start = os.pipe()
    pids = []
    for index in range(count):
        pid = os.fork()
        if not pid:
            os.close(start)
            os.read(waiting, 1)  # until everybody is there
            os._exit(_tried(function, index, args))
        pids.append(pid)
    os.close(start)
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in pids)


def _import_drivers(args: list[Any]) -> None:
    """What the URLs among the arguments are opened with, imported once: each of a crowd would take a fifth of a second."""
    for scheme in {arg.partition("://")[0] for arg in args if isinstance(arg, str)}:
        if scheme in _DRIVERS:
            import_module(_DRIVERS[scheme])


def _tried(function: Callable[..., None], index: int, args: list[Any]) -> int:
    try:
        function(index, *args)
    except BaseException:  # noqa: BLE001  # it is reported, and the process ends here
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
