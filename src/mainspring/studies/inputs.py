"""The values that every trial is given: artifacts of the study's, so that workers find them and lineage names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mainspring.artifacts import load, save
from mainspring.artifacts.record import Artifact, ArtifactStore
from mainspring.secrets import refuse_output, refuse_value
from mainspring.workspace import Workspace


def describe_inputs(workspace: Workspace, inputs: Mapping[str, Any]) -> dict[str, Artifact]:
    """Write the values' blobs; their records are written with the study's.

    Raises:
        CodecError: no codec takes a value.
        SecretError: a value is, or holds, that of a secret.
    """
    store = ArtifactStore(workspace.database, workspace.ledger)
    found = {}
    for name, value in inputs.items():
        refuse_value(f"input `{name}`", name, value)
        refuse_output(f"input `{name}`", value)
        found[name] = store.describe(name, save(value, workspace.blobs), value)
    return found


def load_inputs(workspace: Workspace, artifacts: Mapping[str, str]) -> dict[str, Any]:
    """The values by name."""
    found = ArtifactStore(workspace.database, workspace.ledger).get_many(artifacts.values())
    return {name: load(found[artifact].encoded, workspace.blobs) for name, artifact in artifacts.items()}
