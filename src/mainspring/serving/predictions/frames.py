"""Records of predictions as a table: a row for each, `input.NAME`, `feature.NAME`, `status.NAME`, `event_at.NAME`, `output`.

The same records give the same table, live or compacted. Values that their declared type can't hold stay texts, and make texts
of the others, by which labels join as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

import polars as pl

from mainspring.data.tables.type_names import named_type
from mainspring.errors import NotFoundError, WrongTypeError
from mainspring.models import ModelStore, expect_model
from mainspring.serving.predictions.ids import ids_from
from mainspring.serving.predictions.keys import holding, key_texts, texts_of
from mainspring.serving.predictions.record import Logged, model_version_of
from mainspring.workspace import Workspace

AT = pl.Datetime("us", "UTC")
SCHEMA: dict[str, Any] = {
    "id": pl.String, "at": AT, "request_id": pl.String, "endpoint": pl.String, "generation": pl.Int64,
    "version": pl.String, "role": pl.String, "runtime": pl.String, "route_key": pl.String, "latency_us": pl.Int64,
    "features_service": pl.String, "features_at": AT, "features_views": pl.List(pl.String),
    "features_watermarks": pl.List(pl.Binary),
}  # fmt: skip
_OF_FEATURES = {"service": "service", "at": "at_us", "views": "views", "watermarks": "watermarks"}
_OF_RECORD = {
    "at": "at_us", "request_id": "request_id", "endpoint": "endpoint", "generation": "generation", "version": "version",
    "role": "role", "runtime": "runtime", "route_key": "route_key", "latency_us": "latency_us",
}  # fmt: skip
_ALIKE = {
    "endpoint", "generation", "version", "role", "runtime", "features_service", "features_at", "features_views",
    "features_watermarks",
}  # fmt: skip


class Rows:
    """The rows of one version's records, gathered column by column, so that the records need not be held.

    Records come in the order of their ids. The same ones give the same table, however they were cut into calls of `add`.
    """

    def __init__(self) -> None:
        self.count = 0
        self._ids: list[str] = []
        self._repeats: list[int] = []
        self._shared: dict[str, list[Any]] = {name: [] for name in SCHEMA if name != "id"}
        self._own: dict[str, list[Any]] = {}

    def add(self, records: Sequence[Logged]) -> None:
        """Gather the rows of more records."""
        for _, alike in groupby(records, _form):
            self._add(list(alike))

    def frame(self, types: Mapping[str, str]) -> pl.DataFrame:
        """The rows as a table; `types` are those of the version's inputs, by name."""
        places = None if self.count == len(self._repeats) else _places(self._repeats)
        columns = [pl.Series("id", self._ids, dtype=SCHEMA["id"])]
        for name, values in self._shared.items():
            made = _column(name, values)
            columns.append(made if places is None else made.gather(places))
        return pl.DataFrame([*columns, *(_typed(name, values, types) for name, values in self._own.items())])

    def _add(self, records: list[Logged]) -> None:
        """Gather records that have the same columns."""
        repeats = [record.rows for record in records]
        rows = sum(repeats)
        if rows == len(records):
            self._ids += [record.id for record in records]
        else:
            self._ids += chain.from_iterable([ids_from(record.id, record.rows) for record in records])
        self._repeats += repeats
        for name, of in _OF_RECORD.items():
            self._shared[name] += map(attrgetter(of), records)
        features = [record.features for record in records]
        for name, of in _OF_FEATURES.items():
            self._shared[f"features_{name}"] += [each and getattr(each, of) for each in features]
        for name, values in _own(records).items():
            if name not in self._own:
                self._own[name] = [None] * self.count
            self._own[name] += values
        self.count += rows
        for values in self._own.values():
            if len(values) < self.count:
                values.extend([None] * (self.count - len(values)))


def frame_of(records: Sequence[Logged], types: Mapping[str, str]) -> pl.DataFrame:
    """The rows of one version's records; `types` are those of its inputs, by name."""
    rows = Rows()
    rows.add(records)
    return rows.frame(types)


def types_of(version: str, runtime: str, workspace: Workspace) -> dict[str, str]:
    """The types of a version's inputs, by name; none if it is gone, or of a service that runs outside."""
    model_version = model_version_of(version, runtime)
    if not model_version:
        return {}
    try:
        found = ModelStore(workspace.database, workspace.ledger).version(model_version)
    except NotFoundError:
        return {}
    return {field.name: field.dtype for field in expect_model(found)[1].inputs}


def _form(record: Logged) -> tuple[Any, ...]:
    """What decides which columns a record has."""
    first, features = record.outputs[0], record.features
    return (*record.inputs, None, features and features.names, tuple(first) if isinstance(first, dict) else None)


def _own(records: list[Logged]) -> dict[str, list[Any]]:
    """The columns that a version has of its own, of records that have the same."""
    first = records[0]
    found = {f"input.{name}": list(chain.from_iterable([r.inputs[name] for r in records])) for name in first.inputs}
    if first.features is not None:
        for kind, of in (("feature", "values"), ("status", "statuses"), ("event_at", "event_us")):
            rows = chain.from_iterable([getattr(record.features, of) for record in records])
            for name, values in zip(first.features.names, zip(*rows, strict=True), strict=True):
                found[f"{kind}.{name}"] = list(values)
    outputs = list(chain.from_iterable([record.outputs for record in records]))
    if isinstance(first.outputs[0], dict):
        return found | {f"output.{name}": [each[name] for each in outputs] for name in first.outputs[0]}
    return found | {"output": outputs}


def _places(repeats: list[int]) -> pl.Series:
    """For each row, the place of its record."""
    import numpy as np

    return pl.Series(np.repeat(np.arange(len(repeats)), repeats))


def _column(name: str, values: list[Any]) -> pl.Series:
    """A column that rows of a record share; of what is alike in most records, each value is made once."""
    if name not in _ALIKE:
        return pl.Series(name, values, dtype=SCHEMA[name])
    distinct = {value: place for place, value in enumerate(dict.fromkeys(values))}
    told = [list(value) if isinstance(value, tuple) else value for value in distinct]
    made = pl.Series(name, told, dtype=SCHEMA[name])
    return made.gather(pl.Series([distinct[value] for value in values], dtype=pl.UInt32))


def _typed(name: str, values: list[Any], types: Mapping[str, str]) -> pl.Series:
    kind, _, own = name.partition(".")
    if kind == "event_at":
        return pl.Series(name, values, dtype=AT)
    return (
        typed_column(name, values, types.get(own, "")) if kind in ("input", "feature") else plain_column(name, values)
    )


def typed_column(name: str, values: Sequence[Any], declared: str = "") -> pl.Series:
    """Values of the declared type if it holds them all, else of the one that they have; if that is none, their texts as keys.

    So a value stands for the same key whatever stands beside it.
    """
    if declared:
        made = _declared(name, values, declared)
        if made is not None:
            return made
        if not named_type(declared, name).is_nested():
            return _told(name, values, _texts(name, values, declared))
    made = plain_column(name, values)
    if len(set(map(type, values)) - {type(None)}) > 1:
        texts = key_texts(name, values)
        if not texts_of(made).equals(texts):
            return _told(name, values, texts)
    return made


def plain_column(name: str, values: Sequence[Any]) -> pl.Series:
    """Values of the type that they have in common, or else as texts."""
    made = _made(name, values, None)
    return _told(name, values, pl.Series([None] * len(values), dtype=pl.String)) if made is None else made


def _declared(name: str, values: Sequence[Any], declared: str) -> pl.Series | None:
    """Values of a type; None if it doesn't hold them all."""
    dtype = named_type("str" if declared == "uuid" else declared, name)
    if dtype.is_nested() and "duration" in declared:  # which are ISO 8601 in the log, and Polars reads none
        from mainspring.features.definitions.frames import typed_frame

        try:
            return typed_frame({name: (declared, values)}).to_series()
        except WrongTypeError:
            return None
    made = _made(name, _held(values, declared), dtype)
    return made if made is not None and made.dtype == dtype else None


def _held(values: Sequence[Any], declared: str) -> Sequence[Any]:
    hold = holding(declared)
    return values if hold is None else [None if each is None else hold(each) for each in values]


def _made(name: str, values: Sequence[Any], dtype: Any) -> pl.Series | None:
    """A column that holds all of these values; None if there is none."""
    made = _lossy(name, values, dtype)
    if made is None or made.null_count() != values.count(None):
        return None
    if dtype is None and made.dtype.is_nested():  # within which a null may stand for what it can't hold, or a text
        found = made.to_list()
        return made if found == values or all(map(_is_same, found, values)) else None
    return made


def _is_same(found: Any, given: Any) -> bool:
    """Whether a value is what was given. Structs have nulls for what a mapping lacks."""
    if isinstance(given, list | tuple):
        return isinstance(found, list) and len(found) == len(given) and all(map(_is_same, found, given))
    if isinstance(given, dict):
        return isinstance(found, dict) and all(_is_same(found.get(name), each) for name, each in given.items())
    return bool(found == given or (found != found and given != given))


def _lossy(name: str, values: Sequence[Any], dtype: Any) -> pl.Series | None:
    """A column with nulls for the values that it can't hold; None if there is none."""
    with suppress(pl.exceptions.PolarsError, TypeError):  # values that have no type in common, or not this one
        made = pl.Series(name, values, dtype=dtype, strict=False)
        return made if _has_form(made.dtype) else None
    return None


def _has_form(dtype: Any) -> bool:
    """Whether Parquet has a form for a type: it has none for Python's objects, nor for a struct without fields."""
    if isinstance(dtype, pl.Struct):
        return bool(dtype.fields) and all(_has_form(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _has_form(dtype.inner)
    return not isinstance(dtype, pl.Object)


def _texts(name: str, values: Sequence[Any], declared: str) -> pl.Series:
    """The texts of values as keys: those of the declared type where it holds them.

    Values of one kind are tried at once, as Polars reads those of several kinds by the first of them.
    """
    dtype, held = named_type("str" if declared == "uuid" else declared, name), _held(values, declared)
    fitting = pl.Series(name, [None] * len(values), dtype=pl.String)
    for kind in set(map(type, held)) - {type(None)}:
        made = _lossy(name, [each if type(each) is kind else None for each in held], dtype)
        if made is not None and made.dtype == dtype:
            fitting = texts_of(made).zip_with(made.is_not_null(), fitting)
    left = [value if text is None else None for value, text in zip(values, fitting, strict=True)]
    return fitting.zip_with(fitting.is_not_null(), key_texts(name, left))


def told(column: pl.Series) -> pl.Series:
    """A column of inputs as the texts that its values have where they stand beside values of other kinds."""
    return _told(column.name, column.to_list(), texts_of(column))


def _told(name: str, values: Sequence[Any], texts: pl.Series) -> pl.Series:
    """These texts, and where there is none, the values as Python tells them."""
    told = [
        str(_without_nulls(value)) if text is None and value is not None else text
        for value, text in zip(values, texts, strict=True)
    ]
    return pl.Series(name, told, dtype=pl.String)


def _without_nulls(value: Any) -> Any:
    """A value without what its mappings have as null: a struct that it was kept in may have had more fields."""
    if isinstance(value, list | tuple):
        return [_without_nulls(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return value
