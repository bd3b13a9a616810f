"""How much each input moved one answer: the logged row, the version's own predictor, and rows to compare it with.

Invariant: `base` and the sum of `values` are the answer, in the answer's own unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mainspring.artifacts import load
from mainspring.artifacts.project import importing_from
from mainspring.artifacts.record import Artifact, ArtifactStore
from mainspring.data import as_polars, get_dataset_version
from mainspring.errors import InvalidError, MainspringError, NotFoundError, counted
from mainspring.models import ModelStore, ModelVersion, Predictor, example_of, inputs_of
from mainspring.models.predictor import expect_none
from mainspring.serving.explanation.record import Attribution, UsedDataset
from mainspring.serving.predictions.record import model_version_of
from mainspring.workspace import Workspace

_ROWS = 50
_LARGEST_BYTES = 256 * 2**20
"""Of a larger artifact no rows are taken, since it is read as a whole."""


def attributed(row: Mapping[str, Any], datasets: Sequence[UsedDataset], workspace: Workspace) -> Attribution:
    """The attribution of a logged row, by the native model of its version, with the `shap` extra.

    Raises:
        MissingExtraError: `shap` is not installed.
        NotFoundError: the version is gone; a column of the row was never logged; or there are no rows to compare it with.
        InvalidError: the model answers with classes, which are no numbers.
        StorageError: the model's bytes are gone or damaged.
    """
    from mainspring.serving.explanation.attribution_shap import shap_values

    answered_by = model_version_of(row["version"], row["runtime"])
    if not answered_by:
        raise NotFoundError("model version", row["version"], hint="It is one of a service that runs outside.")
    version = ModelStore(workspace.database, workspace.ledger).version(answered_by)
    with importing_from(workspace.project.source_roots):
        predictor = Predictor.load(version, workspace.blobs, workspace=workspace)
    inputs = [field.name for field in predictor.signature.inputs]
    columns, problems = predictor.check([_record(row, inputs)])
    expect_none(problems, 1)
    rows, background = _background(version, inputs, datasets, predictor, workspace)
    (answer,) = predictor.answer(columns, 1)
    output = max(answer, key=lambda name: answer[name]) if isinstance(answer, dict) else ""
    if isinstance(answer, str) or predictor.signature.output.kind not in ("number", "probability", "probabilities"):
        raise InvalidError(
            "output", predictor.signature.output.kind, "a number or probabilities, which can be added up"
        )
    values, base, method = shap_values(predictor, columns, rows, output)
    whole = float(answer[output] if isinstance(answer, dict) else answer)
    told = dict(zip(inputs, values, strict=True))
    return Attribution(values=told, base=base, answer=whole, output=output, method=method, background=background)


def _record(row: Mapping[str, Any], inputs: Sequence[str]) -> dict[str, Any]:
    """What the model took of a logged row: what was asked, or read where the request held nothing."""
    found = {}
    for name in inputs:
        given, read = f"input.{name}", f"feature.{name}"
        if given not in row and read not in row:
            hint = "It is never logged (redact), so what it did can't be told."
            raise NotFoundError("input", name, hint=hint, owner=f"The logged row of {row['id']}")
        found[name] = row[read] if row.get(given) is None and read in row else row[given]
    return found


def _background(
    version: ModelVersion, inputs: Sequence[str], datasets: Sequence[UsedDataset], predictor: Predictor,
    workspace: Workspace,
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """Rows as columns, and what they are: some of the dataset that the model was made from, or of the table that the task took
    which made it, if that has all inputs; else the input example.
    """
    for used in datasets:
        if used.trained and used.removed_at is None:
            dataset = get_dataset_version(used.id, workspace)
            if dataset.kind == "table" and {*inputs} <= {*dataset.scan().collect_schema().names()}:
                every = max(dataset.rows // _ROWS, 1)
                found = dataset.scan().select(inputs).gather_every(every).head(_ROWS).collect().to_dicts()
                columns, problems = predictor.check(found)
                if found and not problems:
                    return dict(columns), f"{counted(len(found), 'row')} of {used.version}"
    for table in _tables(version, workspace):
        try:
            frame = as_polars(load(table.encoded, workspace.blobs), drop_index=True)
        except (MainspringError, ValueError, TypeError):  # its bytes were removed since, or a column is of no one type
            continue
        if {*inputs} <= {*frame.columns}:
            every = max(frame.height // _ROWS, 1)
            found = frame.select(inputs).gather_every(every).head(_ROWS).fill_nan(None).to_dicts()
            columns, problems = predictor.check(found)
            if found and not problems:
                return dict(columns), f"{counted(len(found), 'row')} of the table `{table.name}` of its run"
    example = inputs_of(example_of(version, workspace.blobs), predictor.signature)[:_ROWS]
    columns, problems = predictor.check(example)
    if not example or problems:
        raise NotFoundError(
            "input example", str(version), hint="Register the version with one: its answer is compared with those rows."
        )
    return dict(columns), f"{counted(len(example), 'row')} of the input example"


def _tables(version: ModelVersion, workspace: Workspace) -> list[Artifact]:
    """The tables that were handed to the task that fitted the model, then to the one that registered it, largest first."""
    ledger, store = workspace.ledger, ArtifactStore(workspace.database, workspace.ledger)
    handed = ledger.nodes(_used(_makers([version.id], workspace), workspace)).values()
    models = [node.id for node in handed if node.content_digest == version.content_digest]
    fitted = store.get_many(_used(_makers(models, workspace), workspace))
    registered = store.get_many(node.id for node in handed if node.id not in fitted)
    return [
        table
        for found in (fitted, registered)
        for table in sorted(found.values(), key=lambda each: (-each.encoded.size_bytes, each.id))
        if table.preview.kind == "table" and table.encoded.size_bytes <= _LARGEST_BYTES
    ]


def _makers(made: Sequence[str], workspace: Workspace) -> list[str]:
    return [edge.dst for edge in workspace.ledger.edges(made) if edge.role == "made_by"]


def _used(tasks: Sequence[str], workspace: Workspace) -> list[str]:
    return [edge.dst for edge in workspace.ledger.edges(tasks) if edge.role.startswith("uses:")]
