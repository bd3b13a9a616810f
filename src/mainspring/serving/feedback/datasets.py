"""Labels from datasets: of each version only what the one taken before didn't have.

The labels become a part, and the row that names it and the one that says how far the dataset was taken are one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import msgspec
import polars as pl

from mainspring import clock
from mainspring.data import DatasetVersion, dataset, get_dataset_version
from mainspring.data.tables.diff import scan_added
from mainspring.errors import ConflictError, NotFoundError
from mainspring.models import Problem
from mainspring.serving.endpoint import named_endpoint
from mainspring.serving.feedback._store import FeedbackPart, FeedbackParts
from mainspring.serving.feedback.checking import LabelCheck
from mainspring.serving.feedback.compacting import part_of
from mainspring.serving.feedback.intake import MOST_PROBLEMS, Taken, batched
from mainspring.serving.feedback.record import Labels
from mainspring.serving.feedback.tables import Table, columns_of, read_table
from mainspring.workspace import Workspace, current_workspace


def log_dataset(
    endpoint: str, name: str, *, columns: Mapping[str, str] | None = None, workspace: Workspace | None = None
) -> Taken:
    """Log the labels of a dataset's newest version: the rows that the version taken before, with these columns, didn't have.

    Rows are labels as those of a table are (`log_labels`). What doesn't say when it was known was so when the version was
    extracted. A row that goes takes no label back: a newer one corrects it. What is refused is so until its row changes.

    Raises:
        NotFoundError: no such endpoint or dataset.
        InvalidError: a column is missing; or rows are no labels of the endpoint: all others are logged.
        ConflictError: another process took the dataset meanwhile; nothing of this is kept.
    """
    workspace = workspace or current_workspace()
    check = LabelCheck(named_endpoint(endpoint, workspace), workspace)
    parts, version = FeedbackParts(workspace.database), dataset(name, workspace).latest()
    chosen = msgspec.json.encode(dict(sorted((columns or {}).items()))).decode()
    before = parts.taken(endpoint, version.dataset, chosen)
    if before == version.id:
        return Taken(0)
    version.expect("table")
    names = list(dict.fromkeys(columns_of(list(version.columns), check.key, columns or {}).values()))
    table = read_table(_new_rows(before, version, names, workspace), check, columns or {})
    labels, taken = _checked(check, table, version)
    made: list[FeedbackPart] = [part_of(labels, endpoint, str(version), workspace)] if taken.accepted else []
    with workspace.database.transaction() as tx:
        if parts.taken(endpoint, version.dataset, chosen) != before:
            raise ConflictError(f"Another process takes labels of `{endpoint}` from `{version.dataset}`. Try again.")
        for part in made:
            parts.put(tx, part)
        parts.take(tx, endpoint, version.dataset, chosen, version.id, clock.now_us())
    return taken.expect_all()


def _new_rows(before: str | None, version: DatasetVersion, names: list[str], workspace: Workspace) -> pl.LazyFrame:
    if before is not None:
        with suppress(NotFoundError):  # removed since: all that is there again changes nothing
            return scan_added(get_dataset_version(before, workspace), version, names)
    return version.scan().select(names)


def _checked(check: LabelCheck, table: Table, version: DatasetVersion) -> tuple[list[Labels], Taken]:
    labels: list[Labels] = []
    problems: list[Problem] = []
    accepted = refused = 0
    for batch in batched(table.records):
        found = check(batch, clock.now_us(), str(version), known_us=version.extracted_at)
        labels.append(found.labels)
        accepted, refused = accepted + len(found.labels.ids), refused + len(found.problems)
        problems += found.problems[: MOST_PROBLEMS - len(problems)]
    return [each for each in labels if each.ids], Taken(accepted, refused, table.empty, tuple(problems))
