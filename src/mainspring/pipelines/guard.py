"""Runs a program that nobody is to outlive: with who asked for it, all ends that it has started, and the folder it works on.

    python guard.py FOLDER PROGRAM [ARGUMENT ...]

Its stdin is a pipe that is held open by who asked, so its end is theirs, however they end. It tells on stdout the number of
the process that it has started, which who asked ends if this one is killed; what that prints goes to stderr. Called by its
path: it imports nothing of this package, and nothing but what each Python has.
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
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)

    def end_all() -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        ended.set()
        end_all()

    threading.Thread(target=watch, daemon=True).start()
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), b"%d" % process.pid)
    status = process.wait()
    end_all()
    if ended.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return abs(status)


if __name__ == "__main__":
    sys.exit(guard(sys.argv[1], sys.argv[2:]))
