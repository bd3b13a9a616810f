"""An ingest in a process of its own that kills itself at its n-th call of a Python function, wherever that is."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def main(root: str, database: str, blobs: str, name: str, at: int) -> None:
    """Ingest the folder `raw`; prints how many calls it took, if it came to its end."""
    from mainspring.data.ingestion import Limits, ingest, streams
    from mainspring.workspace import Workspace, using

    streams.BLOCK_BYTES = streams._READ_BYTES = 100
    workspace = Workspace.open(Path(root), overrides={"database": database, "blobs": blobs})
    ingest(Path(root) / "warm", to=f"warm_{os.getpid()}", workspace=workspace)  # what is imported late is so by now
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)

    with using(workspace):
        sys.setprofile(count)
        ingest(Path(root) / "raw", to=name, limits=Limits(rows=20))
        sys.setprofile(None)
    sys.stdout.write(f"{calls}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
