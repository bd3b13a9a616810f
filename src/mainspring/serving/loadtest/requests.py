"""What is sent: records as whole requests, made before the first one is due."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from mainspring.errors import InvalidError, NotFoundError, shorten
from mainspring.foreign import read_foreign
from mainspring.serving.loadtest.target import Target, model_path
from mainspring.serving.protocols.paths import PREDICT
from mainspring.workspace import Workspace

Protocol = Literal["records", "oip"]
_MOST_RECORDS = 1_000
_JSON = b"Content-Type: application/json\r\n"


def records_of(
    target: Target, *, file: Path | str | None = None, dataset: str = "", workspace: Workspace | None = None
) -> list[Any]:
    """The records of a file of JSON lines, of a dataset (of the columns that the endpoint takes), or the endpoint's example.

    Of a dataset and a file the first 1,000.

    Raises:
        NotFoundError: there is no such file or dataset.
        InvalidError: a line is no JSON, there are no records, or a column is missing.
    """
    found = _lines(Path(file)) if file else _rows(target, dataset, workspace) if dataset else _example(target)
    if not found:
        raise InvalidError("records", file or dataset or str(target), "a source of at least one record")
    return found


def posts(target: Target, records: Sequence[Any], *, protocol: Protocol = "records", rows: int = 1) -> list[bytes]:
    """Whole requests of so many rows each; records come by turns. To an address with a path each goes as it is.

    Raises:
        InvalidError: a record isn't what the protocol can send.
        UnavailableError: the server doesn't say what it takes.
    """
    if target.path:
        bodies = [msgspec.json.encode(record) for record in records]
        return [target.head(target.path, len(body), _JSON) + body for body in bodies]
    count = max(len(records) // rows, 1)
    batches = [[records[(start * rows + row) % len(records)] for row in range(rows)] for start in range(count)]
    if protocol == "records":
        path = f"{PREDICT}/{quote(target.endpoint, safe='')}"
        bodies = [msgspec.json.encode({"records": batch}) for batch in batches]
        return [target.head(path, len(body), _JSON) + body for body in bodies]
    said = target.get(model_path(target.endpoint))
    return [_inference(target, said["inputs"], batch) for batch in batches]


def _inference(target: Target, inputs: Sequence[dict[str, Any]], batch: Sequence[Any]) -> bytes:
    """A request of the Open Inference Protocol with binary tensors, one for each column."""
    from mainspring.serving.protocols.tensors import packed

    abouts, parts = [], []
    for each in inputs:
        name, datatype = each["name"], each["datatype"]
        try:
            values = [_element(record[name], datatype) for record in batch]
            about, data = packed(name, datatype, [len(batch), *[1] * (len(each["shape"]) - 1)], values)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidError(f"records.{name}", shorten(batch, 200), f"records with a {datatype} in each") from error
        abouts.append(about)
        parts.append(data)
    text = msgspec.json.encode({"inputs": abouts, "parameters": {"binary_data_output": True}})
    body = text + b"".join(parts)
    more = b"Inference-Header-Content-Length: %d\r\nContent-Type: application/octet-stream\r\n" % len(text)
    return target.head(f"{model_path(target.endpoint)}/infer", len(body), more) + body


def _element(value: Any, datatype: str) -> Any:
    if value is None and datatype.startswith("FP"):
        return float("nan")
    return value if datatype != "BYTES" or isinstance(value, str) else msgspec.to_builtins(value)


def _example(target: Target) -> list[Any]:
    if target.path:
        raise InvalidError("records", None, "a file of JSON lines, as the address has a path")
    said = target.get("/")
    told = said.get("endpoints", [said]) if isinstance(said, dict) else []
    named: dict[str, Any] = next((each for each in told if each.get("endpoint") == target.endpoint), {})
    found: list[Any] = named.get("example", {}).get("records", [])
    return found


def _lines(file: Path) -> list[Any]:
    if not file.is_file():
        raise NotFoundError("file", str(file))
    found: list[Any] = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = read_foreign(line) if line.strip() else []
            except ValueError as error:
                raise InvalidError(f"{file}, line {number}", shorten(line, 80), "JSON") from error
            found += value if isinstance(value, list) else [value]
            if len(found) >= _MOST_RECORDS:
                break
    return found[:_MOST_RECORDS]


def _rows(target: Target, name: str, workspace: Workspace | None) -> list[Any]:
    from mainspring.data import get_dataset_version

    taken = [each["name"] for each in target.get(model_path(target.endpoint))["inputs"]]
    frame = get_dataset_version(name, workspace).scan().head(_MOST_RECORDS)
    missing = [column for column in taken if column not in frame.collect_schema()]
    if missing:
        raise InvalidError("dataset", name, f"a dataset with the columns {', '.join(missing)}")
    rows: list[Any] = frame.select(taken).collect().to_dicts()
    return rows
