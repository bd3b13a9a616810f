"""The predictions of an endpoint that have the key of one of them: other rows cost their decoding, and no table."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import msgspec
import polars as pl

from mainspring.serving.parts import read_records, scan_part, uncompacted
from mainspring.serving.predictions._store import PredictionParts
from mainspring.serving.predictions.frames import typed_column, types_of
from mainspring.serving.predictions.ids import id_at
from mainspring.serving.predictions.keys import NARROW, text_of
from mainspring.serving.predictions.log import predictions_folder
from mainspring.serving.predictions.record import LOADTEST, Head
from mainspring.workspace import Workspace

_SCHEMA: dict[str, Any] = {"id": pl.String, "at": pl.Int64, "role": pl.String, "version": pl.String}


class _Asked(Head, frozen=True, array_like=True):
    """A record as far as its inputs: what follows them is not decoded."""

    runtime: str
    route_key: str
    latency_us: int | None
    inputs: dict[str, Any]


_INTEGER = re.compile(r"-?[0-9]{1,16}")
_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|nan|-?inf|true|false|.+T.+Z", re.IGNORECASE)
_LEAST_BYTES = 3
_decode = msgspec.msgpack.Decoder(_Asked).decode


def key_of(row: Mapping[str, Any], names: Sequence[str], types: Mapping[str, str]) -> dict[str, str | None]:
    """The key of a prediction as texts, by which labels join; `types` are those of its version's inputs."""
    if not names:
        return {}
    columns = [typed_column(name, [row.get(f"input.{name}")], types.get(name, "")) for name in names]
    frame = pl.DataFrame(columns)
    return frame.select(text_of(name, frame.schema) for name in names).row(0, named=True)


def forms_of(row: Mapping[str, Any], key: Mapping[str, str], types: Mapping[str, str]) -> Sequence[bytes]:
    """The forms that one value of a prediction's key may have in a record, one of which is in every record that has the key.

    None at all if that can't be told, or if they are so short that most records hold them by chance. `types` are those of the
    version's inputs.
    """
    found = [_forms(row.get(f"input.{name}"), text) for name, text in key.items() if types.get(name) not in NARROW]
    return max(found, key=lambda forms: min(map(len, forms), default=0), default=())


def _forms(value: Any, text: str) -> Sequence[bytes]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ()  # what JSON has no type for is written in several ways
    if isinstance(value, str) and value != text:
        return ()  # and so is a duration or a decimal
    if _INTEGER.fullmatch(text) and abs(int(text)) < 1 << 53:
        forms = [text.encode(), *map(msgspec.msgpack.encode, (int(text), float(text)))]
    elif isinstance(value, str) and not _NUMBER.fullmatch(text):
        # with their lengths: `user 12` is not in what holds `user 123`
        forms = [msgspec.msgpack.encode(each) for each in (text, *_bytes_of(text))]
    else:
        return ()
    return forms if min(map(len, forms)) >= _LEAST_BYTES else ()


def _bytes_of(text: str) -> Sequence[bytes]:
    """The bytes that have a text as their key, if some have."""
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        return ()
    return (found,) if base64.b64encode(found).decode() == text else ()


def alike(
    endpoint: str, key: Mapping[str, str], any_of: Sequence[bytes], since_us: int, until_us: int, workspace: Workspace
) -> pl.DataFrame:  # fmt: skip
    """The predictions with a key, from one instant up to before another, without those of load tests.

    `any_of` are the forms of one of its values in the log, where `forms_of` knows them. The answer is `id`, `at` in µs,
    `role`, `version` and `key.NAME`.

    Raises:
        StorageError: the log can't be read.
    """

    def wanted(data: bytes) -> _Asked | None:
        record = _decode(data)
        if record.endpoint != endpoint or record.role == LOADTEST or not since_us <= record.at_us < until_us:
            return None
        own = {name: record.inputs.get(name, [None] * record.rows) for name in key}
        return msgspec.structs.replace(record, inputs=own)

    live = read_records(predictions_folder(workspace), wanted, any_of)
    parts = PredictionParts(workspace.database).of(endpoint, since_us, until_us)
    by_version: dict[tuple[str, str], list[_Asked]] = {}
    for record in uncompacted(live, parts):
        by_version.setdefault((record.version, record.runtime), []).append(record)
    found = [_in_records(own, key, types_of(*version, workspace)) for version, own in by_version.items()]
    at = pl.col("at")
    for part in parts:
        frame = scan_part(part, workspace)
        schema = frame.collect_schema()
        if all(f"input.{name}" in schema for name in key):
            same = [text_of(f"input.{name}", schema) == text for name, text in key.items()]
            told = frame.filter(*same, pl.col("role") != LOADTEST).with_columns(at.to_physical()).select(*_SCHEMA)
            found.append(told.filter(at >= since_us, at < until_us).collect())
    whole = pl.concat([pl.DataFrame(schema=_SCHEMA), *found])
    return whole.with_columns(pl.lit(text).alias(f"key.{name}") for name, text in key.items())


def _in_records(records: Sequence[_Asked], key: Mapping[str, str], types: Mapping[str, str]) -> pl.DataFrame:
    """The rows of one version's records that have a key."""
    columns = pl.DataFrame(
        [
            typed_column(name, list(chain.from_iterable([each.inputs[name] for each in records])), types.get(name, ""))
            for name in key
        ]
    )
    is_same = pl.all_horizontal(text_of(name, columns.schema) == text for name, text in key.items())
    places = columns.select(is_same.arg_true()).to_series()
    ends = pl.Series(list(accumulate(each.rows for each in records)), dtype=pl.Int64)
    rows = []
    for place, number in zip(places, ends.search_sorted(places, side="right"), strict=True):
        record = records[number]
        start = ends[number] - record.rows
        rows.append((id_at(record.id, place - start), record.at_us, record.role, record.version))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")
