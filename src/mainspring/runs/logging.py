"""The functions that log to whichever run or step is active: `log_metric` and its like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.runs.files import checked_path
from mainspring.runs.inputs import DatasetInput
from mainspring.runs.limits import checked_text
from mainspring.runs.tracking import active_log


def log_metric(key: str, value: float, *, step: int = 0) -> None:
    """Keep a metric point of the run or step that is active here.

    Raises:
        InvalidError: no run is active, or name, step or value can't be kept.
        StorageError: points could not be written, as on a full disk; they wait and are tried again.
    """
    active_log("metric", key).log_metric(key, value, step=step)


def log_metrics(values: Mapping[str, float], *, step: int = 0) -> None:
    """Keep a point of each metric, or of none if one is refused; raises as `log_metric` does."""
    active_log("metrics", values).log_metrics(values, step=step)


def log_param(key: str, value: object) -> None:
    """Keep a parameter of the run or step that is active here, once.

    Raises:
        InvalidError: no run is active, or name or value can't be kept.
        ConflictError: it has another value.
    """
    active_log("parameter", key).log_param(key, value)


def log_tag(key: str, value: str) -> None:
    """Keep a tag of the run or step that is active here; raises as `log_metric` does."""
    active_log("tag", key).log_tag(key, value)


def log_note(text: str) -> None:
    """Keep a note about the run or step that is active here; it replaces the one before."""
    active_log("note", text).log_note(text)


def log_artifact(name: str, value: object) -> None:
    """Keep a value (a table, model, array, path, plain value …) as an output of the run or step that is active here.

    Raises:
        InvalidError: no run is active.
        CodecError: no codec takes the value.
        SecretError: it is, or holds, the value of a secret.
    """
    active_log("artifact", name).log_artifact(name, value)


def log_text(text: str, path: str | Path) -> None:
    """Keep a text as a file of the run, without secrets. `path` is relative, such as `notes/first.txt`.

    Raises:
        WrongTypeError: it is no text.
        InvalidError: no run is active, or the path is none.
    """
    from mainspring.secrets import redact

    log, place = active_log("file", path), _place(path)
    if not isinstance(text, str):
        raise WrongTypeError(f"text `{place}`", text, "text", "`log_artifact` keeps any value.")
    log.log_bytes(place, redact(text).encode("utf-8", "backslashreplace"))


def log_file(source: str | Path, path: str | Path = "") -> None:
    """Keep a file, or all files of a folder, under a path of the run, by default under its own name.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: no run is active, or the path is none.
    """
    log = active_log("file", source)
    if not isinstance(source, str | os.PathLike):
        raise WrongTypeError("file", source, "a path")
    source = Path(source)
    place = _place(path or source.name)
    if source.is_dir():
        for each in sorted(source.rglob("*")):
            if each.is_file():
                log.log_bytes(f"{place}/{each.relative_to(source).as_posix()}", each)
    elif source.is_file():
        log.log_bytes(place, source)
    else:
        raise NotFoundError("file", str(source))


def log_figure(figure: Any, path: str | Path) -> None:
    """Keep a figure of Matplotlib (`.png`, `.svg`, `.pdf`) or Plotly (`.html`, `.json`) as a file of the run.

    Raises:
        WrongTypeError: it is neither library's figure.
        InvalidError: no run is active, or the path ends in another way.
    """
    from mainspring.runs.figures import figure_bytes

    log, place = active_log("figure", path), _place(path)
    log.log_bytes(place, figure_bytes(figure, place))


def log_table(table: Any, path: str | Path) -> None:
    """Keep a table (a frame, a dict of columns, a list of rows) as a file: `.csv`, `.json` or `.parquet`.

    Raises:
        WrongTypeError: it is no table.
        InvalidError: no run is active, the path ends in another way, or the table can't be kept so.
    """
    from mainspring.runs.figures import table_bytes

    log, place = active_log("table", path), _place(path)
    log.log_bytes(place, table_bytes(table, place))


def log_dataset(
    data: Any, name: str, *, source: str = "", context: str = "", tags: Mapping[str, str] | None = None
) -> None:
    """Say that the run used a dataset: a value such as a frame, of which the content digest is kept, or its digest.

    Datasets of this workspace that a run reads are known without it.

    Raises:
        InvalidError: no run is active.
        CodecError: no codec takes the value.
    """
    from mainspring.artifacts import content_digest

    log = active_log("dataset", name)
    if not isinstance(tags or {}, Mapping):
        raise WrongTypeError("tags", tags, "a dict of texts")
    checked_text("source", source)
    if isinstance(data, bytes) or not data_is_digest(data):
        data = content_digest(data)
    told = dict(tags or {}) | ({"context": context} if context else {})
    log.log_dataset(DatasetInput(name, data, "value" if not source else source.partition(":")[0], source, tags=told))


def _place(path: object) -> str:
    """The path of a file in a run, which may be given as a `pathlib.Path`."""
    return checked_path(os.fspath(path) if isinstance(path, os.PathLike) else path)


def data_is_digest(data: object) -> bool:
    """Whether a value is a text that names a content.

    >>> data_is_digest("af1349b9"), data_is_digest([1, 2])
    (True, False)
    """
    if isinstance(data, str) and not data.isalnum():
        raise InvalidError("digest of a dataset", data, "letters and digits")
    return isinstance(data, str)
