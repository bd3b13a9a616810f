"""Columns that get a wider type, or come, in a version of its own, so that rows that have them fit behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mainspring import clock
from mainspring.data.commit import commit_draft
from mainspring.data.version import DatasetVersion
from mainspring.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl


def widen(name: str, types: Mapping[str, pl.DataType], workspace: Workspace, *, note: str = "") -> DatasetVersion:
    """Give the newest version of a table these columns and types, which hold its values; new columns are null.

    A version that has them already is given as it is. Raises as `commit_draft` does, and `InvalidError` if a value has no
    place in the type that its column is to have.
    """
    from mainspring.data.tables.widening import WidenedDraft

    draft = WidenedDraft(name, workspace.blobs, types)
    try:
        return commit_draft(workspace, name, draft, behind=True, note=note, extracted_us=clock.now_us())
    finally:
        draft.close()
