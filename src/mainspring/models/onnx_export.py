"""A version as an ONNX graph that was held to the model on real rows and made-up ones, and how fast both are.

Invariant: a graph is kept with a version only if every row was answered alike within the tolerance that is recorded with it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.artifacts.onnx import OnnxModel
from mainspring.errors import CodecError, InvalidError, MainspringError, NotAllowedError, shorten
from mainspring.ledger import is_replay
from mainspring.models.onnx_conversion import attempts, is_text
from mainspring.models.onnx_report import GRAPH, REPORT, OnnxExport, Timing, expect_graph, is_graph
from mainspring.models.parity import Parity
from mainspring.models.predictor import Predictor, example_of, inputs_of
from mainspring.models.probes import probes
from mainspring.models.registration import is_training
from mainspring.models.registry import get_model_version, load_model, model_store
from mainspring.models.signature import Signature
from mainspring.models.version import InputKind, ModelVersion, expect_model, exports_of
from mainspring.runs.files import RunFile, RunFiles
from mainspring.workspace import Workspace, current_workspace

_MOST_ROWS = 1_000
_BATCHES = (1, 8, 64, 512, 4_096)
_CALLS = 3
_SLOW_S = 0.2


def export_onnx(
    ref: str | ModelVersion, *, rows: Any = None, rtol: float = 1e-5, atol: float = 1e-6, workspace: Workspace | None = None
) -> OnnxExport:  # fmt: skip
    """Make an ONNX graph of a version, hold it to the model, and keep both it and what was found with the version.

    Compared are the version's example, up to 1,000 rows of the datasets that it was trained on, as far as they have its
    columns, and `rows`: records or a table. Besides some thousands are made up by a fixed seed: values within their range and
    beyond, continuous, rounded and whole, unknown texts, nulls where they are allowed, and both sides of where the model's
    answer jumps; of them those that it refuses don't count. Every number may differ by `atol + rtol · |native|`, labels not
    at all.

    Raises:
        NotFoundError: no such version.
        InvalidError: there are no rows to compare, or every graph answers some of them otherwise; the worst row is given.
        CodecError: the model's library has no converter, or it can't convert this model.
        MissingExtraError: a converter or onnxruntime is not installed.
        NotAllowedError: the version is not loaded here; or this is a replay.
    """
    workspace = workspace or current_workspace()
    version = get_model_version(ref, workspace)
    if is_replay():
        raise NotAllowedError("A replay exports nothing.")
    _, signature = expect_model(version)
    loaded = load_model(version, workspace)
    # A search answers by the best of what it fitted.
    model = getattr(loaded, "best_estimator_", loaded)
    native = Predictor(loaded, signature, version.input_kind)
    records = _records(version, signature, rows, native, workspace)
    made, answers = probes(model, native, records)
    compared = Parity([*records, *made], [*native(records), *answers], len(records), rtol, atol)
    form, kind, graph, error = _converted(model, native, compared)
    timings = tuple(_timed(native, Predictor(graph, signature, kind), records))
    found = OnnxExport(
        str(version), form, kind, len(records), rtol, atol, error, len(graph.data), timings, _crossing(timings),
        clock.now_us(), len(made),
    )  # fmt: skip
    _keep(version, graph, found, workspace)
    return found


def load_onnx(version: str | ModelVersion, workspace: Workspace | None = None) -> Predictor:
    """The predictor of the graph of a version, or of a reference's, which needs neither the model's library nor Polars.

    Raises:
        NotFoundError: it was never exported, and is no graph itself.
    """
    workspace = workspace or current_workspace()
    version = version if isinstance(version, ModelVersion) else get_model_version(version, workspace)
    _, signature = expect_model(version)
    kind = expect_graph(version, workspace)
    if is_graph(version):
        return Predictor.load(version, workspace.blobs)
    with RunFiles(workspace).open(exports_of(version), GRAPH) as file:
        return Predictor(OnnxModel(file.read()), signature, kind)


def _keep(version: ModelVersion, graph: OnnxModel, found: OnnxExport, workspace: Workspace) -> None:
    store, kept = model_store(workspace), RunFiles(workspace)
    contents = {GRAPH: graph.data, REPORT: msgspec.json.encode(found)}
    files = [RunFile(path, False, len(data), workspace.blobs.put(data)) for path, data in contents.items()]
    with store.database.transaction() as tx:
        store.version(version.id)
        kept.name(tx, exports_of(version), files)
        told = {
            "version": str(version),
            "largest_error": found.largest_error,
            "rows": found.rows,
            "probes": found.probes,
        }
        store.ledger.append(tx, "model_version.exported", version.id, told)


def _records(
    version: ModelVersion, signature: Signature, given: Any, native: Predictor, workspace: Workspace
) -> list[dict[str, Any]]:
    """Real rows that the model takes."""
    found = list(inputs_of(example_of(version, workspace.blobs), signature))
    if isinstance(given, list):
        found += given
    elif given is not None:
        found += _rows_of(given, signature)
    for dataset in _trained_on(version, workspace):
        found += _rows_of(dataset, signature)
    kept = [record for record in found if not native.check([record])[1]]
    if not kept:
        expected = "rows on which to compare the graph with the model"
        raise InvalidError(
            "rows", None, expected, "The version has no example and no training dataset with its columns."
        )
    return kept


def _trained_on(version: ModelVersion, workspace: Workspace) -> list[Any]:
    from mainspring.data import get_dataset_version

    walked = workspace.ledger.walk(version.id, follow=lambda edge: edge.role != "follows")
    nodes = workspace.ledger.nodes({edge.dst for edge in walked}).values()
    wanted = {field.name for field in version.signature.inputs} if version.signature else set()
    found = []
    for node in nodes:
        if node.kind == "dataset_version":
            try:
                dataset = get_dataset_version(node.label, workspace=workspace)
            except MainspringError:  # removed since: other rows have to do
                continue
            if wanted <= {name for name, _ in dataset.schema}:
                found.append(dataset.to_polars())
    return found


def _rows_of(table: Any, signature: Signature) -> list[dict[str, Any]]:
    from mainspring.data import as_polars

    frame = as_polars(table, drop_index=True)
    names = [field.name for field in signature.inputs]
    spread = frame.select(names).gather_every(max(1, frame.height // _MOST_ROWS)).head(_MOST_ROWS)
    rows: list[dict[str, Any]] = spread.fill_nan(None).to_dicts()
    return rows


def _converted(model: Any, native: Predictor, compared: Parity) -> tuple[str, InputKind, OnnxModel, float]:
    """The first graph that answers alike, and how far it is off at most."""
    tried: dict[str, list[str]] = {}
    worst: tuple[str, str, str] | None = None
    for form, kind, convert in attempts(model, native.signature, native.input_kind):
        try:
            graph = convert()
            given = Predictor(graph, native.signature, kind)(compared.rows)
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # converters and onnxruntime raise anything; all of it is told below
            tried.setdefault(shorten(" ".join(str(error).split()), 450), []).append(form)
            continue
        largest, place = compared.off(given)
        if place is None:
            return form, kind, graph, largest
        worst = worst or (*compared.told(place, given[place]), compared.rounding(place, given[place], form))
    hint = _of_nulls(native.signature)
    if worst:
        within = f"the model's answer within {compared.atol} + {compared.rtol} · |native|"
        told = (
            f"{worst[1]} Nothing was kept.{worst[2]}{hint}{compared.own_fault(native, is_training=is_training(model))}"
        )
        raise InvalidError("graph", worst[0], within, told)
    said = " · ".join(f"{reason} (as {', '.join(forms)})" for reason, forms in tried.items())
    raise CodecError(f"`{type(model).__qualname__}` can't be converted to ONNX. {said}{hint}")


def _of_nulls(signature: Signature) -> str:
    """What to do if a text may be null, which no graph takes; nothing if none may."""
    names = [f"`{field.name}`" for field in signature.inputs if field.nullable and is_text(field)]
    if not names:
        return ""
    return (
        f" A graph has no null among texts: give {', '.join(names)} a text for what is missing before the model is fitted "
        "(`SimpleImputer(missing_values=...)` fills that), or a signature without nulls if none will come."
    )


def _timed(native: Predictor, graph: Predictor, records: list[dict[str, Any]]) -> list[Timing]:
    found = []
    for rows in _BATCHES:
        repeated = (records * (rows // len(records) + 1))[:rows]
        columns, _ = native.check(repeated)
        found.append(Timing(rows, *(_call_s(each, columns, rows) for each in (native, graph))))
        if max(found[-1].native_s, found[-1].onnx_s) > _SLOW_S:
            break
    return found


def _call_s(predictor: Predictor, columns: Any, rows: int) -> float:
    taken = []
    for _ in range(_CALLS):
        began = time.perf_counter()
        predictor.answer(columns, rows)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _crossing(timings: Sequence[Timing]) -> int | None:
    """The smallest batch from which on the model itself is faster; None if it isn't at the largest."""
    found = None
    for timing in reversed(timings):
        if timing.native_s >= timing.onnx_s:
            break
        found = timing.rows
    return found
