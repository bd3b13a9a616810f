"""Whether a model itself answers or its ONNX graph: proposed from what both took when the graph was made, and never switched
per request.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, NamedTuple, get_args

from mainspring.errors import InvalidError, counted
from mainspring.models import ModelVersion, OnnxExport, Timing, expect_graph, find_onnx_export
from mainspring.workspace import Workspace

Runtime = Literal["native", "onnx"]
_CODEC = "onnx"
"""By which a model is stored that was registered as a graph."""
ONLINE_ROWS = 1
"""The rows of a request to be expected: where more wait, the batch is larger, but nobody waits for it then."""


class Proposal(NamedTuple):
    """A runtime, and why it is proposed."""

    runtime: Runtime
    reason: str


def proposed_runtime(version: ModelVersion, rows: int, workspace: Workspace) -> Proposal:
    """The runtime that answered so many rows faster when the version's graph was made; the model itself if there is none."""
    found = find_onnx_export(version, workspace)
    if found is None:
        is_graph = version.encoded is not None and version.encoded.codec == _CODEC
        return Proposal("native", "it is an ONNX graph itself" if is_graph else "there was no ONNX graph of it then")
    if find_spec("onnxruntime") is None:
        return Proposal("native", "onnxruntime is not installed here")
    is_native_faster = found.native_faster_from is not None and rows >= found.native_faster_from
    return Proposal("native" if is_native_faster else "onnx", _reason(found, rows))


def expect_runtime(version: ModelVersion, runtime: Runtime, workspace: Workspace) -> None:
    """Go on only with a runtime that a version has.

    Raises:
        InvalidError: there is no such runtime.
        NotFoundError: the version has no ONNX graph.
    """
    if runtime not in get_args(Runtime):
        raise InvalidError("runtime", runtime, "`native` or `onnx`")
    if runtime == "onnx":
        expect_graph(version, workspace)


def _reason(found: OnnxExport, rows: int) -> str:
    measured = _measured(found, rows)
    took = (
        f"{counted(measured.rows, 'row')} took the model {_told(measured.native_s)}, the graph {_told(measured.onnx_s)}"
    )
    if found.native_faster_from is None:
        return f"{took}; the model was faster at no size"
    return f"{took}; the model is faster from {counted(found.native_faster_from, 'row')} on"


def _measured(found: OnnxExport, rows: int) -> Timing:
    """The measured batch that is nearest to so many rows from below."""
    return max(
        (each for each in found.timings if each.rows <= rows), key=lambda each: each.rows, default=found.timings[0]
    )


def _told(seconds: float) -> str:
    """A time for people.

    >>> _told(0.0000834), _told(0.0123)
    ('83 µs', '12.3 ms')
    """
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"
