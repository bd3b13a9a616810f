"""The values that every trial is given: artifacts of the study's, so that workers find them and lineage names them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mainspring.artifacts import save
from mainspring.artifacts.folders import paths_below, paths_folder
from mainspring.artifacts.record import Artifact, ArtifactStore
from mainspring.errors import WrongTypeError
from mainspring.pipelines.graph import Stored
from mainspring.pipelines.values import Values
from mainspring.secrets import refuse_output, refuse_value
from mainspring.store.own_work import at_own_work
from mainspring.store.scratch import Scratch
from mainspring.workspace import Workspace


def checked_inputs(inputs: Any) -> dict[str, Any]:
    """The inputs as a dict of its own.

    Raises:
        WrongTypeError: they are no values by name.
    """
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping) or any(not isinstance(name, str) for name in inputs):
        raise WrongTypeError("inputs", inputs, "a dict of values by the names of the objective's parameters")
    return dict(inputs)


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


class Inputs:
    """A study's inputs, by the artifacts' ids; each trial is given its own, as a step is. Use as a context manager."""

    def __init__(self, workspace: Workspace, artifacts: Mapping[str, str]) -> None:
        self._artifacts = artifacts
        self._values = Values(ArtifactStore(workspace.database, workspace.ledger), workspace.blobs)
        self._inside = ExitStack()

    def __enter__(self) -> Inputs:
        self._inside.enter_context(self._values.keeping())
        return self

    def __exit__(self, *_: object) -> None:
        self._inside.close()

    @contextmanager
    def given(self, run: str) -> Iterator[dict[str, Any]]:
        """The values of one trial by name: shared with others if they are immutable. Their files go with the block.

        Raises:
            CorruptBlobError, NotFoundError: the bytes are damaged or gone.
        """
        with ExitStack() as inside:
            if self._artifacts:
                folder = (paths_folder() or inside.enter_context(Scratch())) / run
                inside.callback(_remove, folder)
                inside.enter_context(paths_below(folder))
            yield {name: self._values.value(Stored(artifact)) for name, artifact in self._artifacts.items()}


def _remove(folder: Path) -> None:
    with at_own_work():
        shutil.rmtree(folder, ignore_errors=True)
