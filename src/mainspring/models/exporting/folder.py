"""Exporting a version: the folder is written beside its place, its program is tried on rows, and it is moved.

Invariant: what stands in the place is whole, holds nothing of the project, and answered the version's example and rows that
were made up as the version does.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

from mainspring.artifacts import load
from mainspring.errors import CodecError, ExistsError, InvalidError, shorten
from mainspring.models.card import model_card
from mainspring.models.exporting.mlflow import mlflow_files
from mainspring.models.exporting.pins import Pins, pins_of
from mainspring.models.exporting.portable import Portable, graph, portable
from mainspring.models.flavours import read_model
from mainspring.models.mlmodel import EXPORTED, FILE, read_mlmodel
from mainspring.models.onnx_export import load_onnx
from mainspring.models.parity import Parity
from mainspring.models.predictor import Predictor, example_of, inputs_of
from mainspring.models.probes import few_probes
from mainspring.models.registration import is_training
from mainspring.models.registry import get_model_version, load_model
from mainspring.models.signature import Signature
from mainspring.models.version import InputKind, ModelVersion, expect_model
from mainspring.runs.files import RunFile
from mainspring.store.local import LocalBlobs
from mainspring.workspace import Workspace, current_workspace

ExportForm = Literal["folder", "mlflow", "onnx"]
_PROGRAM, _SAID, _DIGESTS = "predict.py", "model.json", "SHA256SUMS"
_RTOL, _ATOL = 1e-6, 1e-7  # threads of a library may add in another order each time
_ALONE = """
import runpy, sys
program, folder, *hidden = sys.argv[1:]
sys.argv[1:], sys.modules["mainspring"] = [folder], None
sys.path[:] = [each for each in sys.path if each not in hidden]
runpy.run_path(program, run_name="__main__")
"""
_USE = {
    "folder": "`python predict.py < records.jsonl`, or `from predict import load`. `pip install -r requirements.txt` first.",
    "mlflow": '`mlflow.pyfunc.load_model(".")`, or `mlflow models serve -m .`.',
}


class ModelExport(msgspec.Struct, frozen=True):
    """What was exported and where: the format of the model's file, and the files' SHA-256.

    It was tried on `tried_rows` of the version's example, and on `probes` that were made up.
    """

    version: str
    form: ExportForm
    path: str
    format: str
    tried_rows: int
    files: dict[str, str]
    probes: int = 0


def export_model(
    ref: str | ModelVersion, folder: Path | str, *, form: ExportForm = "folder", workspace: Workspace | None = None
) -> ModelExport:
    """Write a version as a folder that answers without Mainspring.

    It holds the model in its library's own format, `predict.py` (`load()`, `predict(records)`, JSON lines on the command
    line) with what the model takes and gives, the pins of what it needs, the card and digests. The form `onnx` holds the
    graph that was held to the model (`export_onnx`), `mlflow` a model that `mlflow.pyfunc.load_model` loads. The folder
    stands there when it is whole and has answered as the version does, or not at all: the version's example, and some hundred
    rows that its signature allows, made up by a fixed seed. Of those that the version refuses none count.

    Raises:
        NotFoundError: no such version, or it has no graph.
        ExistsError: the folder is there and not empty.
        CodecError: the model holds definitions of the project, has no form that others read, or doesn't answer alike.
        NotAllowedError: the version isn't loaded here, or is a pickle that nobody allowed.
        InvalidError: a column has a type that MLflow has none for.
        StorageError: the folder can't be written.
    """
    from mainspring.data.interchange.exported import in_place_of

    workspace, target = workspace or current_workspace(), Path(folder).absolute()
    if form not in _USE and form != "onnx":
        raise InvalidError("form", form, "`folder`, `mlflow` or `onnx`")
    is_empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty:
        raise ExistsError("file or folder", str(target), "Name a folder that is empty or not there.")
    version = get_model_version(ref, workspace)
    _, signature = expect_model(version)
    model, kind, native = _chosen(version, signature, form, workspace)
    pins = pins_of(
        version, workspace, model.modules, kind, written_by=model.format if model.written_here else ""
    )  # fmt: skip
    records = inputs_of(example_of(version, workspace.blobs), signature)
    files = _files(version, signature, model, kind, pins, form, records, workspace)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    files[_DIGESTS] = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
    with in_place_of(target, overwrite=is_empty, suffix="") as unfinished:
        for name, data in files.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        program = f"code/{EXPORTED}.py" if form == "mlflow" else _PROGRAM
        rows = [*records, *few_probes(native.model, native, records)]
        expected = Parity(rows, native(rows), len(records), _RTOL, _ATOL)
        given = _answered(unfinished, program, rows, model, workspace)
        _expect_alike(expected, given, native)
        if form == "mlflow" and not model.code:  # whose definitions this process has from the project
            _try_flavour(unfinished, expected, native, workspace)
    made = len(rows) - len(records)
    return ModelExport(str(version), form, str(target), model.format, len(records), digests, made)


def _try_flavour(folder: Path, expected: Parity, native: Predictor, workspace: Workspace) -> None:
    """Open the file as the flavour of MLflow does that is said for it, by what reads such folders; raises `CodecError`."""
    said = read_mlmodel((folder / FILE).read_bytes())
    named = [each for each in said.flavours if each != "python_function"]
    if not named:
        return
    with TemporaryDirectory() as apart:
        blobs = LocalBlobs(Path(apart))
        files = {
            each.name: RunFile(each.name, False, each.stat().st_size, blobs.put(each))
            for each in folder.iterdir() if each.is_file()
        }  # fmt: skip
        found, refusal = read_model(said, files, workspace, blobs)
        if found is None:
            raise CodecError(f"By MLflow's flavour `{named[0]}` the exported model doesn't load: {refusal}")
        opened = Predictor(load(found.encoded, blobs), native.signature, native.input_kind)
        _expect_alike(expected, opened(expected.rows), native, f" by MLflow's flavour `{named[0]}`")


def _expect_alike(expected: Parity, given: Sequence[Any], native: Predictor, how: str = "") -> None:
    """Hold what was exported to what it was made of; raises `CodecError`."""
    _, place = expected.off(given)
    if place is not None:
        told = ". ".join(expected.told(place, given[place])) + expected.own_fault(
            native, is_training=is_training(native.model)
        )
        raise CodecError(f"The exported model answers otherwise{how}: {told}")


def _chosen(
    version: ModelVersion, signature: Signature, form: ExportForm, workspace: Workspace
) -> tuple[Portable, InputKind, Predictor]:
    """What goes along, the kind of table that it takes, and what it has to answer like."""
    if form == "onnx":
        found = load_onnx(version, workspace)
        return graph(found.model), found.input_kind, found
    native = Predictor(load_model(version, workspace), signature, version.input_kind)
    return portable(version, native.model, workspace), version.input_kind, native


def _files(
    version: ModelVersion, signature: Signature, model: Portable, kind: InputKind, pins: Pins, form: ExportForm,
    records: Sequence[Mapping[str, Any]], workspace: Workspace,
) -> dict[str, bytes]:  # fmt: skip
    """Every file but the digests, by its path."""
    said = {
        "model_version": str(version), "content_digest": version.content_digest, "licence": version.licence,
        "python": pins.python, "file": model.file, "sha256": hashlib.sha256(model.data).hexdigest(),
        "format": model.format, "settings": model.settings, "input_kind": kind, "code": model.defines,
        "inputs": [msgspec.structs.asdict(field) for field in signature.inputs],
        "output": msgspec.structs.asdict(signature.output),
    }  # fmt: skip
    program = (resources("mainspring.models.exporting") / _PROGRAM).read_bytes()
    whence = "when it was registered" if pins.recorded else "where it was exported, as none were recorded"
    readme = model_card(version, workspace=workspace).to_markdown() + (
        f"\n## How to use this folder\n\n{_USE['mlflow' if form == 'mlflow' else 'folder']} `requirements.txt` pins what was "
        f"installed {whence}, with Python {pins.python}. `sha256sum -c {_DIGESTS}` checks the files.\n"
    )
    files = {
        **{f"code/{path}": data for path, data in model.code.items()},
        model.file: model.data,
        _SAID: msgspec.json.format(msgspec.json.encode(said)),
        "README.md": readme.encode(),
        "requirements.txt": "".join(f"{line}\n" for line in pins.lines()).encode(),
    }
    if form != "mlflow":
        return files | {_PROGRAM: program}
    return files | {f"code/{EXPORTED}.py": program} | mlflow_files(version, signature, model, pins, records)


def _answered(
    folder: Path, program: str, rows: Sequence[Mapping[str, Any]], model: Portable, workspace: Workspace
) -> list[Any]:
    """What was exported answers to rows; raises `CodecError`."""
    try:
        if model.code:
            return _answered_alone(folder, program, rows, workspace)
        answers: list[Any] = run_path(str(folder / program))["load"](folder).predict(rows)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each library has its own
        text = str(error) if isinstance(error, CodecError) else shorten(f"{type(error).__name__}: {error}", 300)
        raise CodecError(f"The exported model doesn't answer rows that the version answers: {text}") from error
    return answers


def _answered_alone(
    folder: Path, program: str, records: Sequence[Mapping[str, Any]], workspace: Workspace
) -> list[Any]:
    """The answers of a process that has neither Mainspring nor the project: both are loaded in this one."""
    hidden = [str(each.resolve()) for each in (*workspace.project.source_roots, workspace.project.root)]
    # `-B`: no bytecode is left in the folder.
    command = [sys.executable, "-IB", "-c", _ALONE, str(folder / program), str(folder), *hidden]
    # As many threads as here: others may add in another order.
    torch = sys.modules.get("torch")
    threads = {} if torch is None else {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    lines = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    done = subprocess.run(command, input=lines, capture_output=True, check=False, env={**os.environ, **threads})
    if done.returncode:
        raise CodecError(shorten(done.stderr.decode(errors="replace").strip().rpartition("\n")[2], 300))
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]
