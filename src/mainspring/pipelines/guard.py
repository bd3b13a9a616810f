"""Runs a program that nobody is to outlive: with who asked for it, all ends that it has started, and the folder it works on.

    python guard.py FOLDER PROGRAM [ARGUMENT ...]

Its stdin is a pipe that is held open by who asked, so its end is theirs, however they end. Called by its path: it imports
nothing of this package, and nothing but what each Python has.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def guard(folder: str, command: list[str]) -> int:
    """The status with which the program ended."""
    ended = threading.Event()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        ended.set()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    status = process.wait()
    if ended.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return abs(status)


if __name__ == "__main__":
    sys.exit(guard(sys.argv[1], sys.argv[2:]))
