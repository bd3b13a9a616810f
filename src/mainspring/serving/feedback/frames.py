"""Records of labels as a table: a row for each, `key.NAME` for its key as text, and `label`, live and compacted alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from mainspring.serving.feedback.record import Labels
from mainspring.serving.predictions.frames import AT, plain_column
from mainspring.serving.predictions.keys import key_texts, text_of

SCHEMA: dict[str, Any] = {
    "id": pl.String, "prediction": pl.String, "event_at": AT, "known_at": AT, "logged_at": AT, "source": pl.String,
}  # fmt: skip
LABEL = "label"


def frame_of(records: Sequence[Labels]) -> pl.DataFrame:
    """The labels of some records of one endpoint."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA}
    keys: dict[str, list[Any]] = {}
    values: list[Any] = []
    for record in records:
        rows = len(record.ids)
        for name, own in record.keys.items():
            keys.setdefault(name, [None] * len(values)).extend(own)
        values += record.values
        for own in keys.values():
            own.extend([None] * (len(values) - len(own)))
        told = (record.ids, record.predictions, record.event_us, record.known_us)
        for name, column in zip(("id", "prediction", "event_at", "known_at"), told, strict=True):
            columns[name] += column
        columns["logged_at"] += [record.logged_us] * rows
        columns["source"] += [record.source] * rows
    frame = pl.DataFrame({name: pl.Series(name, own, dtype=SCHEMA[name]) for name, own in columns.items()})
    return frame.with_columns(
        *(key_texts(f"key.{name}", own) for name, own in keys.items()), plain_column(LABEL, values)
    )


def united(frames: Sequence[pl.LazyFrame], key: Sequence[str]) -> pl.LazyFrame:
    """Labels of several tables as one, with the columns of a key, as texts by which they join; `label` has their type.

    Where they are of several, numbers are floats, and else all are texts.
    """
    of = [frame.collect_schema() for frame in frames]
    types = {schema[LABEL] for schema in of}
    if len(types) == 1:
        (common,) = types
    else:
        common = pl.Float64() if all(dtype.is_numeric() for dtype in types) else pl.String()
    told = [
        frame.select(
            *SCHEMA,
            *(
                (text_of(f"key.{name}", schema) if f"key.{name}" in schema else _NONE).alias(f"key.{name}")
                for name in key
            ),
            pl.col(LABEL).cast(common),
        )
        for frame, schema in zip(frames, of, strict=True)
    ]
    if told:
        return pl.concat(told)
    return pl.LazyFrame(schema={**SCHEMA, **{f"key.{name}": pl.String for name in key}, LABEL: pl.Null})


_NONE = pl.lit(None, dtype=pl.String)
