"""Datasets that a run used: those that were told, and those that it read from this workspace, which lineage knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.ledger import Ledger, Node
from mainspring.runs._schema import MIGRATIONS
from mainspring.runs.limits import checked_name, checked_text
from mainspring.store import Database, Transaction, batches

NATIVE = "mainspring"
"""The source type of a dataset version of this workspace."""
_DIGEST_CHARACTERS = 100


class DatasetInput(msgspec.Struct, frozen=True):
    """A dataset as a run saw it. `source` is where it lies, `schema` and `profile` are JSON or empty."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = {}


_FIELDS = DatasetInput.__struct_fields__


def checked_input(given: DatasetInput) -> DatasetInput:
    """A dataset that can be recorded, as it came.

    Raises:
        WrongTypeError, InvalidError: a name or text can't be kept.
    """
    checked_name("name of a dataset", given.name)
    checked_name("digest of a dataset", given.digest, _DIGEST_CHARACTERS)
    for place in ("source_type", "source"):
        checked_text(f"{place} of the dataset `{given.name}`", getattr(given, place))
    return given


class RunInputs:
    """The datasets that runs of a workspace used."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        database.migrate("runs", MIGRATIONS)

    def log_inputs(self, tx: Transaction, run_id: str, inputs: Iterable[DatasetInput], *, merge: bool = True) -> None:
        """Record datasets as used; one that is there already, by name and digest, gets the new tags besides its own.

        Without `merge` it stays as it was first told, as MLflow has it.

        Raises:
            InvalidError: a name or text can't be kept.
        """
        marks = ", ".join("?" * (len(_FIELDS) + 3))
        (last,) = tx.query_one("SELECT MAX(at) FROM run_input WHERE run = ?", (run_id,)) or (None,)
        # Each has a time of its own, by which they keep the order in which they were told.
        for at, given in enumerate(inputs, max(clock.now_us(), (last or 0) + 1)):
            checked_input(given)
            row = tx.query_one(
                "SELECT tags FROM run_input WHERE run = ? AND name = ? AND digest = ?",
                (run_id, given.name, given.digest),
            )
            if row and not merge:
                continue
            tags = (msgspec.json.decode(row[0]) if row else {}) | given.tags
            values = [getattr(given, name) for name in _FIELDS if name != "tags"]
            context = tags.get("mlflow.data.context") or tags.get("context") or ""
            tx.execute(
                f"INSERT INTO run_input VALUES ({marks}) ON CONFLICT (run, name, digest) DO UPDATE"
                " SET tags = excluded.tags, context = excluded.context",
                [run_id, *values, msgspec.json.encode(tags).decode(), context, at],
            )

    def inputs(self, run_id: str) -> list[DatasetInput]:
        """What a run used: first what was told, in its order, then what it read from this workspace."""
        return self.inputs_of([run_id])[run_id]

    def inputs_of(self, run_ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
        """What each of these runs used, as `inputs` has it."""
        found: dict[str, list[DatasetInput]] = {run_id: [] for run_id in run_ids}
        for batch, marks in batches(run_ids):
            rows = self.database.query(
                f"SELECT run, {', '.join(_FIELDS)} FROM run_input WHERE run IN ({marks}) ORDER BY run, at, name, digest",
                batch,
            )
            for run, *row in rows:
                found[run].append(_input(row))
        read = [edge for edge in self.ledger.edges(run_ids) if edge.role == "reads"]
        nodes = self.ledger.nodes(edge.dst for edge in read)
        for edge in read:
            if edge.dst in nodes and nodes[edge.dst].kind == "dataset_version":
                found[edge.src].append(_native(nodes[edge.dst]))
        return found


def _native(node: Node) -> DatasetInput:
    """A dataset version of this workspace."""
    name = node.label.rpartition("/")[0] or node.label
    return DatasetInput(name, node.content_digest or node.id, NATIVE, node.label)


def _input(row: Sequence[Any]) -> DatasetInput:
    name, digest, source_type, source, schema, profile, tags = row
    return DatasetInput(name, digest, source_type, source, schema, profile, msgspec.json.decode(tags))
