"""One view of everything that a prediction came from."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from mainspring.clock import from_us, to_us
from mainspring.data import get_dataset_version
from mainspring.errors import MainspringError, MissingExtraError, NotFoundError, listed
from mainspring.ledger import Node
from mainspring.models import ModelStore, ModelVersion
from mainspring.serving.endpoint import EndpointStore
from mainspring.serving.explanation.origin import Origin, datasets_of, run_of, sources_of, walked
from mainspring.serving.explanation.reads import features_read
from mainspring.serving.explanation.record import Attribution, Binding, Explanation, ReadView, UsedDataset
from mainspring.serving.feedback.joining import known_labels
from mainspring.serving.predictions import get_prediction
from mainspring.serving.predictions.record import OUTSIDE, model_version_of
from mainspring.workspace import Workspace, current_workspace

_EVENTS_AT_ONCE = 1000
_ANSWERS_RTOL, _ANSWERS_ATOL = 1e-4, 1e-12  # so far may the same model among other rows be off
_GRAPH_ATOL = 1e-6  # so far may an ONNX graph be off, when it is made


def explain(prediction_id: str, *, attribution: bool = False, workspace: Workspace | None = None) -> Explanation:
    """Where a prediction came from: who bound what answered it, the model and the run that made it, the features that were
    read with what they were read from, and all of that down to source files and their digests.

    What isn't known is said in `gaps`; nothing of it is an error. With `attribution` also what each input added to the
    answer, by the extra `shap`; that loads the model, and where it can't be told the gaps say why.

    Raises:
        MissingExtraError: an attribution is asked for, and `shap`, or what the model runs with, is not installed.
        InvalidError: it is no id of a prediction.
        NotFoundError: it isn't in the log; the text says where was looked.
        StorageError: the log of predictions can't be read; where only labels can't, that is a gap.
    """
    workspace = workspace or current_workspace()
    row = get_prediction(prediction_id, workspace)
    binding = _binding(row, workspace)
    answered_by = model_version_of(row["version"], row["runtime"])
    model = ModelStore(workspace.database, workspace.ledger).find("v.id = ?", (answered_by,)) if answered_by else None
    service, features, views = features_read(row, workspace)
    read, unknown = _read_from(views, workspace)
    start = Node(row["id"], "prediction", f"prediction of {row['endpoint']}", None, to_us(row["at"]))
    model_id = model.id if model else None
    origin = walked(start, model_id, [(view, node) for node, own in read.items() for view in own], workspace)
    run = run_of(origin, model.id, model.run, workspace) if model else None
    datasets = datasets_of(origin, model_id, read)
    labels, unread = known_labels(row, workspace)
    gaps = [
        *unread, *_gaps_of_log(row, binding),
        *_gaps_of_model(row, model, run is not None, origin, datasets, workspace), *unknown,
    ]  # fmt: skip
    attributed, untold = _attributed(row, str(model), datasets, workspace) if attribution else (None, [])
    gaps += untold
    return Explanation(
        id=row["id"], at=row["at"], prediction=row, labels=tuple(labels),
        binding=binding, model=str(model) if model else "", model_id=model_id or "",
        model_digest=model.content_digest if model else "", run=run, features_service=service,
        features_at=row["features_at"], features=tuple(features), views=tuple(views), datasets=tuple(datasets),
        sources=tuple(sources_of(origin)), nodes=tuple(origin.nodes.values()), edges=tuple(origin.edges),
        removed=origin.removed, gaps=tuple(gaps),
        attribution=attributed,
    )  # fmt: skip


def _attributed(
    row: dict[str, Any], model: str, datasets: list[UsedDataset], workspace: Workspace
) -> tuple[Attribution | None, list[str]]:
    """The attribution, and whether it is of another answer than was logged; or why there is none.

    An extra that isn't installed is an error, which is mended by installing it.
    """
    from mainspring.serving.explanation.attribution import attributed  # imports what a model runs with

    try:
        found = attributed(row, datasets, workspace)
    except MissingExtraError:
        raise
    except MainspringError as error:
        return None, [f"How much each input moved the answer can't be told: {error}"]
    logged = row.get(f"output.{found.output}" if found.output else "output")
    if isinstance(logged, int | float) and is_same_answer(logged, found.answer, row["runtime"]):
        return found, []
    now = repr(found.answer)
    if logged is None:  # it was of another kind
        classes = {name.removeprefix("output."): each for name, each in row.items() if name.startswith("output.")}
        logged = f"one for each class, {classes!r}" if classes else repr(row.get("output"))
        now += f" for `{found.output}`" if found.output else ""
    again = f"The answer that was logged is {logged}, and {model} answers {now} to the same row now"
    return found, [f"{again}: how much each input moved the answer is told of the latter."]


def is_same_answer(logged: float, answer: float, runtime: str) -> bool:
    """Whether a model's answer now passes for the one that was logged, which a runtime gave.

    >>> is_same_answer(0.25, 0.250001, "native"), is_same_answer(1e-9, 2e-9, "native"), is_same_answer(1e-9, 2e-9, "onnx")
    (True, False, True)
    """
    least = _GRAPH_ATOL if runtime == "onnx" else _ANSWERS_ATOL
    return math.isclose(logged, answer, rel_tol=_ANSWERS_RTOL, abs_tol=least)


def _binding(row: dict[str, Any], workspace: Workspace) -> Binding | None:
    """What was bound when it was answered, by the event that told of it."""
    endpoint = EndpointStore(workspace.database).find(row["endpoint"])
    if endpoint is None:
        return None
    seq = 0
    while events := workspace.ledger.events(seq, subject=endpoint.id, limit=_EVENTS_AT_ONCE):
        for event in events:
            if event.payload.get("generation") == row["generation"]:
                told = event.payload
                return Binding(
                    endpoint=endpoint.name, generation=row["generation"], target=told.get("target", ""),
                    moved_at=from_us(event.at), actor=event.actor, verified=event.verified, note=told.get("note", ""),
                    redact=tuple(told.get("redact", ())),
                )  # fmt: skip
        seq = events[-1].seq
    return None


def _read_from(views: list[ReadView], workspace: Workspace) -> tuple[dict[str, list[ReadView]], list[str]]:
    """The views that were read, by the nodes of the dataset versions that the store reflected; and those that have none."""
    found: dict[str, list[ReadView]] = {}
    gaps = []
    for view in views:
        if not view.dataset_version:
            gaps.append(
                f"What `{view.view}` had read of the stream `{view.source}` are its events up to offset {view.offset:,}."
                if view.offset is not None
                else f"The online store had only what was pushed into `{view.view}`."
            )
            continue
        try:
            version = get_dataset_version(view.dataset_version, workspace)
        except NotFoundError as error:
            gaps.append(f"What `{view.view}` was read from is not known: {error}")
        else:
            found.setdefault(version.id, []).append(view)
    return found, gaps


def _gaps_of_log(row: dict[str, Any], binding: Binding | None) -> list[str]:
    if binding is None:
        return [f"The ledger knows no generation {row['generation']} of an endpoint `{row['endpoint']}`."]
    return [f"Never logged here: {listed(binding.redact)} (redacted)."] if binding.redact else []


def _gaps_of_model(
    row: dict[str, Any], model: ModelVersion | None, has_run: bool, origin: Origin, datasets: list[UsedDataset],
    workspace: Workspace,
) -> list[str]:  # fmt: skip
    if model is None and row["runtime"] != OUTSIDE:
        return [f"This workspace has no model version `{row['version']}`, which answered."]
    if model is None:
        service = f"`{row['endpoint']}` is a service that runs outside"
        return [f"{service}: what its version `{row['version']}` was made of is not recorded here."]
    gaps = []
    if model.deleted_at is not None:
        gaps.append(f"The model version {model} was deleted at {from_us(model.deleted_at):%Y-%m-%d %H:%M} UTC.")
    if model.encoded is not None:
        gone = [blob for blob in (model.encoded.blob, *model.encoded.blobs) if not workspace.blobs.exists(blob)]
        if gone:
            gaps.append(f"Bytes of the model version {model} are no longer in the blob store: {listed(gone)}.")
    if not has_run:
        gaps.append(f"No run made {model}: it was registered outside of one, so its code is not recorded.")
    if not any(each.trained for each in datasets):
        gaps.append(f"No version of a dataset is recorded from which {model} was made.")
    with suppress(StopIteration):
        name = next(origin.nodes[node].label for node in origin.removed)
        more = len(origin.removed) - 1
        gaps.append(f"Data was removed on the way: {name}{f' and {more:,} more' if more else ''}.")
    return gaps
