"""What was found when a version was exported as an ONNX graph, as it is kept with the version, and read without NumPy."""

from __future__ import annotations

import msgspec

from mainspring.errors import NotFoundError
from mainspring.models.version import InputKind, ModelVersion, exports_of
from mainspring.runs.files import RunFiles
from mainspring.workspace import Workspace, current_workspace

GRAPH, REPORT = "onnx/model.onnx", "onnx/parity.json"
_CODEC = "onnx"


class Timing(msgspec.Struct, frozen=True):
    """The seconds that one call on so many rows took, the best of three, with the records turned into a table."""

    rows: int
    native_s: float
    onnx_s: float


class OnnxExport(msgspec.Struct, frozen=True):
    """What was found when a version was held to its graph.

    `form` is what the graph takes, `rows` the number of real rows compared, `probes` that of rows made up besides, and
    `largest_error` the largest absolute difference of a number in all of them. From `native_faster_from` rows on the model
    itself answered faster; None if it never did.
    """

    version: str
    form: str
    input_kind: InputKind
    rows: int
    rtol: float
    atol: float
    largest_error: float
    size_bytes: int
    timings: tuple[Timing, ...]
    native_faster_from: int | None
    made_at: int
    probes: int = 0


def find_onnx_export(version: ModelVersion, workspace: Workspace | None = None) -> OnnxExport | None:
    """What was found when a version was exported last; None if it never was."""
    files = RunFiles(workspace or current_workspace())
    if REPORT not in files.walk(exports_of(version)):
        return None
    with files.open(exports_of(version), REPORT) as file:
        return msgspec.json.decode(file.read(), type=OnnxExport)


def expect_graph(version: ModelVersion, workspace: Workspace) -> InputKind:
    """The kind of table that a version's graph takes.

    Raises:
        NotFoundError: it was never exported, and is no graph itself; the text says how one is made.
    """
    found = find_onnx_export(version, workspace)
    if found is None and not is_graph(version):
        hint = f"`mainspring models onnx {version}` makes one, if its library has a converter."
        raise NotFoundError("ONNX graph of the model version", str(version), hint=hint)
    return found.input_kind if found and not is_graph(version) else version.input_kind


def is_graph(version: ModelVersion) -> bool:
    """Whether a version is a graph itself."""
    return version.encoded is not None and version.encoded.codec == _CODEC
