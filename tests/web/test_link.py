"""How the process of a worker ends that has said all it had to say."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = """
import atexit, socket, sys, threading
from mainspring.web import link
from mainspring.web.siblings import Siblings

ours, theirs = socket.socketpair()
made = link.Link(ours, Siblings(None, 0), 60.0)
link._END_S = float(sys.argv[1])
atexit.register(print, "closed")
if sys.argv[2] == "hangs":
    threading.Thread(target=threading.Event().wait).start()
print("drained", end=" ")
made.end(int(sys.argv[3]))
sys.exit(int(sys.argv[3]))
"""


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize(("end_s", "how", "told"), [("0.2", "hangs", "drained "), ("60", "ends", "drained closed\n")])
def test_what_has_ended_leaves_quietly_with_its_own_status(end_s: str, how: str, told: str, status: int) -> None:
    asked = [sys.executable, "-c", CHILD, end_s, how, str(status)]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=50, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (status, told, "")
