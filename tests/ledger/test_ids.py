"""Ids of different processes differ, also of those that one was forked from."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.one_backend("no store is used")
FORKED = """
import os
from mainspring.ledger import new_id
new_id()
told, telling = os.pipe()
if not os.fork():
    os.write(telling, new_id().encode())
    os._exit(0)
os.wait()
print(os.read(told, 32).decode(), new_id())
"""


def test_a_forked_child_makes_ids_of_its_own() -> None:
    made = subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, text=True).stdout.split()
    assert [len(each) for each in made] == [32, 32]
    assert made[0][14:] != made[1][14:]
