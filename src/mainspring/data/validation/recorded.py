"""The report that a version was committed with, in the transaction of the version.

It stays the version's: what a later change that changes nothing was held to is not told of it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mainspring.data._store import DatasetStore
from mainspring.data.validation.report import Report
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace


def recording(store: DatasetStore, report: Report) -> Callable[[Transaction, DatasetVersion], None]:
    """What writes a report in the transaction of the version that it is about."""
    text = msgspec.json.encode(report, enc_hook=str).decode()
    return lambda tx, version: store.write_report(tx, version.id, text)


def find_report(version: DatasetVersion, workspace: Workspace | None = None) -> Report | None:
    """What the checks found that a version was committed with, or None if it was committed without.

    Rows that were set apart have it with their version, too; where all were, with that alone. Where the same content was
    committed again as a whole, it is the newest report. Times in it are text.
    """
    expect_version(version)
    text = DatasetStore((workspace or current_workspace()).database).report(version.id)
    return None if text is None else msgspec.json.decode(text, type=Report)
