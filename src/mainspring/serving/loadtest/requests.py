"""What is sent: records as whole requests, made before the first one is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from mainspring.errors import InvalidError, NotFoundError, UnavailableError, close_names, shorten
from mainspring.foreign import read_foreign
from mainspring.serving.loadtest.logged import Batch, logged_batches
from mainspring.serving.loadtest.target import Target, model_path
from mainspring.serving.protocols.paths import PREDICT
from mainspring.workspace import Workspace

Protocol = Literal["records", "oip"]
_MOST_RECORDS = 1_000
_JSON = b"Content-Type: application/json\r\n"


class Records(list[Any]):
    """Records to be sent, the first of `total`, None if that isn't known.

    Of those of a log, `requests` are the requests that they came in, with the rows of each.
    """

    def __init__(
        self, records: Iterable[Any] = (), requests: Sequence[Batch] = (), *, total: int | None = None
    ) -> None:
        super().__init__(records)
        self.requests, self.total = requests, total

    @property
    def rows(self) -> int:
        """The rows of each request as they are sent if nothing is said; 0 if not all have as many."""
        counts = {len(each.records) for each in self.requests} or {1}
        return counts.pop() if len(counts) == 1 else 0


def records_of(
    target: Target, *, file: Path | str | None = None, dataset: str = "", logged: bool = False,
    since: datetime | None = None, until: datetime | None = None, workspace: Workspace | None = None,
) -> Records:  # fmt: skip
    """The records of a file of JSON lines, of a dataset (of the columns that the endpoint takes), or the endpoint's example.

    Of a dataset and a file the first 1,000. If they are `logged`, the newest 1,000 rows that callers sent to the endpoint, from
    `since` up to before `until`, in the order in which they came, by the workspace's log of its predictions.

    Raises:
        NotFoundError: there is no such file, dataset or endpoint.
        InvalidError: a line is no JSON, there are no records, or a column is missing.
        UnavailableError: the server doesn't say what it takes.
        StorageError: the log can't be read.
    """
    if logged:
        return _logged(target, since, until, workspace)
    found = _lines(Path(file)) if file else _rows(target, dataset, workspace) if dataset else Records(_example(target))
    if not found:
        raise InvalidError("records", file or dataset or str(target), "a source of at least one record")
    return found


def posts(
    target: Target, records: Sequence[Any], *, protocol: Protocol = "records", rows: int | None = None
) -> list[bytes]:
    """Whole requests of so many rows each; records come by turns. To an address with a path each goes as it is.

    If no number is said, those of a log are the requests that they came in, with their route keys; others have one row.

    Raises:
        InvalidError: a record isn't what the protocol can send.
        UnavailableError: the server doesn't say what it takes.
    """
    if target.path:
        bodies = [msgspec.json.encode(record) for record in records]
        return [target.head(target.path, len(body), _JSON) + body for body in bodies]
    requests = records.requests if isinstance(records, Records) and rows is None else ()
    batches = requests or [Batch(batch) for batch in _batches(records, rows or 1)]
    if protocol == "records":
        path = f"{PREDICT}/{quote(target.endpoint, safe='')}"
        bodies = [msgspec.json.encode({"records": batch.records}) for batch in batches]
        return [
            target.head(path, len(body), _JSON + _route(batch)) + body
            for batch, body in zip(batches, bodies, strict=True)
        ]
    said = target.get(model_path(target.endpoint))
    return [_inference(target, said["inputs"], batch) for batch in batches]


def _batches(records: Sequence[Any], rows: int) -> list[list[Any]]:
    count = max(len(records) // rows, 1)
    return [[records[(start * rows + row) % len(records)] for row in range(rows)] for start in range(count)]


def _route(request: Batch) -> bytes:
    """The header of a route key; one that no header can have brought has none."""
    key = request.route_key
    return f"X-Route-Key: {key}\r\n".encode("latin-1", "replace") if key and key.isprintable() else b""


def _logged(target: Target, since: datetime | None, until: datetime | None, workspace: Workspace | None) -> Records:
    if target.path:
        raise InvalidError("logged", str(target), "an address without a path, whose server has the endpoint's name")
    requests = logged_batches(_described(target), since, until, most=_MOST_RECORDS, workspace=workspace)
    return Records([record for each in requests for record in each.records], requests)


def _inference(target: Target, inputs: Sequence[dict[str, Any]], request: Batch) -> bytes:
    """A request of the Open Inference Protocol with binary tensors, one for each column."""
    from mainspring.serving.protocols.tensors import packed

    abouts, parts, batch = [], [], request.records
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
    return target.head(f"{model_path(target.endpoint)}/infer", len(body), more + _route(request)) + body


def _element(value: Any, datatype: str) -> Any:
    if value is None and datatype.startswith("FP"):
        return float("nan")
    return value if datatype != "BYTES" or isinstance(value, str) else msgspec.to_builtins(value)


def _example(target: Target) -> list[Any]:
    if target.path:
        raise InvalidError("records", None, "a file of JSON lines, as the address has a path")
    found: list[Any] = _described(target).get("example", {}).get("records", [])
    return found


def _described(target: Target) -> dict[str, Any]:
    """What the server says of the endpoint."""
    said = target.get("/")
    told = said.get("endpoints", [said]) if isinstance(said, dict) else []
    known = {
        each["endpoint"]: each for each in told if isinstance(each, dict) and isinstance(each.get("endpoint"), str)
    }
    if not known:
        raise UnavailableError(str(target), "it doesn't say what its endpoints take: send other records")
    if target.endpoint not in known:
        near = close_names(target.endpoint, list(known))
        raise NotFoundError("endpoint", target.endpoint, near, owner=str(target))
    found: dict[str, Any] = known[target.endpoint]
    return found


def _lines(file: Path) -> Records:
    if not file.is_file():
        raise NotFoundError("file", str(file))
    found: list[Any] = []
    total = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            # What isn't sent is only counted: a line that is no list is one record, whatever it holds.
            is_counted = len(found) >= _MOST_RECORDS and not line.lstrip().startswith(b"[")
            try:
                value = [] if not line.strip() else [None] if is_counted else read_foreign(line)
            except ValueError as error:
                raise InvalidError(f"{file}, line {number}", shorten(line, 80), "JSON") from error
            records = value if isinstance(value, list) else [value]
            found += records[: _MOST_RECORDS - len(found)]
            total += len(records)
    return Records(found, total=total)


def _rows(target: Target, name: str, workspace: Workspace | None) -> Records:
    from mainspring.data import get_dataset_version

    taken = [each["name"] for each in target.get(model_path(target.endpoint))["inputs"]]
    version = get_dataset_version(name, workspace)
    frame = version.scan().head(_MOST_RECORDS)
    missing = [column for column in taken if column not in frame.collect_schema()]
    if missing:
        raise InvalidError("dataset", name, f"a dataset with the columns {', '.join(missing)}")
    return Records(frame.select(taken).collect().to_dicts(), total=version.rows)
