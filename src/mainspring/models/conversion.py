"""A version whose model is a pickle becomes one whose model is stored by a codec, with the same answers."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from mainspring.artifacts import load, save
from mainspring.artifacts.project import importing_from
from mainspring.artifacts.script import found_elsewhere
from mainspring.errors import InvalidError, NotAllowedError
from mainspring.ledger import current_task, is_replay
from mainspring.models.needs import measure_needs
from mainspring.models.pickled import CODEC, expect_loadable
from mainspring.models.predictor import Predictor, example_of, inputs_of
from mainspring.models.registry import load_model, model_store, named_version
from mainspring.models.version import ModelVersion
from mainspring.runs.environment import snapshot
from mainspring.secrets import redact
from mainspring.workspace import Workspace, current_workspace


def convert_model(
    ref: str | ModelVersion, *, input_example: list[dict[str, Any]] | None = None, note: str = "",
    workspace: Workspace | None = None,
) -> ModelVersion:  # fmt: skip
    """Store the model of a pickled version by the codec of its type, as a new version that is linked to the old.

    It is recorded only if what the codec gives back answers the version's example, or the records given, exactly as the
    pickle does; columns that it doesn't take are left out. Metrics and gates go with it.

    Raises:
        NotFoundError: no such version.
        NotAllowedError: nobody allowed its pickle; or this is a replay.
        InvalidError: it is no pickle, there are no records to try it on, or the answers differ (the first that does is named).
        CodecError: no codec takes the model, or no other process would find a definition that it holds.
    """
    workspace = workspace or current_workspace()
    version = named_version(ref, workspace)
    if is_replay():
        raise NotAllowedError("A replay registers nothing.")
    encoded, signature = expect_loadable(version, workspace.database)
    if encoded.codec != CODEC:
        raise InvalidError("model version", str(version), "a pickle to convert", f"It is stored by `{encoded.codec}`.")
    given = input_example or example_of(version, workspace.blobs)
    records = inputs_of(given, signature) or input_example
    if not records:
        told = f"`{version}` has no example: give some records, on the command line by --example FILE."
        raise InvalidError("input_example", None, "records to try both on", told)
    model = load_model(version, workspace)
    with importing_from(workspace.project.source_roots), found_elsewhere(model):
        content_digest, stored, _ = save(model, workspace.blobs)
        again = load(stored, workspace.blobs)
    old, new = (Predictor(each, signature, version.input_kind)(records) for each in (model, again))
    for row, (before, after) in enumerate(zip(old, new, strict=True)):
        if before != after:
            raise InvalidError("model", f"{before} → {after} in row {row}", "the same answers after the conversion")
    made = replace(
        version, id="", content_digest=content_digest, encoded=stored, files=None, refusal="", stage="None", run=None,
        input_example=workspace.blobs.put(msgspec.json.encode(records[:5])), note=redact(note), tags=dict(version.tags),
        source=f"converted from {version}", environment=workspace.blobs.put(msgspec.json.encode(snapshot())),
        needs=measure_needs(stored, workspace),
    )  # fmt: skip
    store = model_store(workspace)
    return store.add(
        made, also=lambda tx, new: store.ledger.edge(tx, new.id, "converted_from", version.id, current_task())
    )
