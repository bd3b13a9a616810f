"""Predictions with their labels, as they are known now or were at an instant.

What a span gives is what the whole log gives, cut: predictions and labels beyond its ends are matched, too, as far as a window
reaches.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import polars as pl

from mainspring.clock import FIRST_US, LAST_US, from_us, to_us
from mainspring.errors import NotFoundError, StorageError
from mainspring.ledger import note_search
from mainspring.serving.endpoint import Endpoint, named_endpoint
from mainspring.serving.feedback._store import FeedbackParts
from mainspring.serving.feedback.alike import alike, forms_of, key_of
from mainspring.serving.feedback.frames import frame_of, united
from mainspring.serving.feedback.intake import feedback_folder
from mainspring.serving.feedback.matching import counting, distinct, pairs
from mainspring.serving.feedback.record import Labels, decode
from mainspring.serving.parts import read_records, scan_part, uncompacted
from mainspring.serving.predictions import find_prediction
from mainspring.serving.predictions.finding import as_one, prediction_frames
from mainspring.serving.predictions.frames import types_of
from mainspring.serving.predictions.keys import text_of
from mainspring.serving.predictions.record import LOADTEST
from mainspring.workspace import Workspace, current_workspace

_INSTANTS = ("event_at", "known_at")
_QUANTILES = (0.5, 0.9, 0.99)
_AT = pl.Datetime("us", "UTC")
_ASKED_AT = pl.coalesce("features_at", "at").to_physical().alias("asked_at")  # a replayed request says as of when
_GROUP = pl.when(pl.col("role") == "shadow").then(pl.col("version")).otherwise(pl.lit("")).alias("group")


class Coverage(msgspec.Struct, frozen=True):
    """How many predictions of a span have a label, and how long after them it was known.

    `delay_s` are the quantiles 0.5, 0.9 and 0.99 of the delay in seconds, None without labels; it counts from the instant as
    of which features were read, which a replayed request says, or else from the answer. `waiting` are labels whose event lies
    in the span and that are of no prediction, as far as the log is seen here.
    """

    endpoint: str
    predictions: int
    labelled: int
    waiting: int
    delay_s: tuple[float, float, float] | None

    @property
    def share(self) -> float | None:
        """The share of predictions with a label; None without predictions."""
        return self.labelled / self.predictions if self.predictions else None


class _Join(NamedTuple):
    """Predictions of a span and beyond, and labels, as they were known at an instant."""

    endpoint: Endpoint
    frames: list[pl.LazyFrame]
    labels: pl.DataFrame

    @property
    def whole(self) -> pl.LazyFrame:
        """The predictions as one frame."""
        return as_one(self.frames)

    def keyed(self) -> pl.DataFrame:
        """The predictions as they are matched. What a shadow answered is apart: it was asked what another one was."""
        plain = "id", pl.col("at").to_physical(), _ASKED_AT, _GROUP
        told = [frame.select(*plain, *self._keys(frame.collect_schema())) for frame in self.frames or [self.whole]]
        return pl.concat(told).collect()

    def _keys(self, schema: pl.Schema) -> list[pl.Expr]:
        """The texts of the key, of a frame by itself: another one may have a value in another type."""
        none = pl.lit(None, dtype=pl.String)
        return [
            (text_of(f"input.{name}", schema) if f"input.{name}" in schema else none).alias(f"key.{name}")
            for name in self.endpoint.labels.key
        ]

    def pairs(self) -> pl.DataFrame:
        """Labels with their predictions, where they name these of any."""
        is_keyed = self.endpoint.labels.key and self.labels["prediction"].null_count()
        predictions = self.keyed() if is_keyed else pl.DataFrame(schema={"id": pl.String})
        return pairs(predictions, self.labels, self.endpoint.labels)


def labelled(
    endpoint: str, since: datetime | None = None, until: datetime | None = None, as_of: datetime | None = None, *,
    workspace: Workspace | None = None,
) -> pl.LazyFrame:  # fmt: skip
    """The predictions of an endpoint from one instant up to before another, each with the label that counts, in no order.

    The columns are those of `scan_predictions` and `label`, `label_id`, `label_event_at`, `label_known_at`, which are null
    where there is no label. With `as_of` predictions and labels are those that were known at that instant.
    Labels are read and matched here and now, the predictions that they are joined to when the frame is computed.

    Raises:
        NotFoundError: no such endpoint.
        StorageError: a log can't be read.
    """
    join = _join(endpoint, since, until, as_of, workspace or current_workspace())
    chosen = counting(join.pairs(), join.endpoint.labels).select(
        id="prediction", label="label", label_id="id",
        **{f"label_{name}": pl.col(name).cast(_AT) for name in _INSTANTS},
    )  # fmt: skip
    in_span = _between(pl.col("at").to_physical(), since, until)
    return join.whole.filter(in_span).join(chosen.lazy(), on="id", how="left")


def coverage(
    endpoint: str, since: datetime | None = None, until: datetime | None = None, as_of: datetime | None = None, *,
    workspace: Workspace | None = None,
) -> Coverage:  # fmt: skip
    """How many of an endpoint's predictions have a label, and with what delay; raises as `labelled` does."""
    join = _join(endpoint, None, None, as_of, workspace or current_workspace())
    rule, asked = join.endpoint.labels, join.keyed()
    found = pairs(asked, join.labels, rule).join(asked.select("at", "asked_at", prediction="id"), on="prediction")
    left = join.labels.filter(_between(pl.col("event_at"), since, until)).join(found, on="id", how="anti")
    in_span = _between(pl.col("at"), since, until)
    delay = counting(found.filter(in_span), rule).select(pl.col("known_at") - pl.col("asked_at")).to_series()
    quantiles = [delay.quantile(each, "linear") for each in _QUANTILES]
    delay_s = tuple(each / 1e6 for each in quantiles if each is not None)
    whole = (delay_s[0], delay_s[1], delay_s[2]) if delay_s else None
    return Coverage(endpoint, asked.filter(in_span).height, len(delay), left.height, whole)


def labels_of(prediction_id: str, *, workspace: Workspace | None = None) -> list[dict[str, Any]]:
    """Every label of a prediction, the one that counts first, then by when they were known, the last first.

    Raises:
        NotFoundError: there is no such prediction.
        StorageError: a log can't be read.
    """
    workspace = workspace or current_workspace()
    row = find_prediction(prediction_id, workspace)
    if row is None:
        raise NotFoundError("prediction", prediction_id)
    return labels_of_row(row, workspace)


def labels_of_row(row: dict[str, Any], workspace: Workspace) -> list[dict[str, Any]]:
    """Every label of a prediction that was found, in the order of `labels_of`.

    Other predictions are looked at only if a label has its key, and of these only those that have it, too.

    Raises:
        NotFoundError: its endpoint is not known.
        StorageError: a log can't be read, or is damaged where a label, or another prediction that has the key, may stand.
    """
    endpoint = named_endpoint(row["endpoint"], workspace)
    rule, at_us, types = endpoint.labels, to_us(row["at"]), types_of(row["version"], row["runtime"], workspace)
    texts = {} if row["role"] == LOADTEST else key_of(row, rule.key, types)
    key = {name: text for name, text in texts.items() if text is not None}
    is_keyed = pl.lit(len(key) > 0 and len(key) == len(rule.key))
    has_key = [pl.col(f"key.{name}") == text for name, text in key.items()]
    in_reach = pl.col("event_at").is_between(at_us - rule.after_us, at_us + rule.before_us)
    is_its = pl.all_horizontal(is_keyed, pl.col("prediction").is_null(), in_reach, *has_key)
    labels = _labels(endpoint, LAST_US, workspace).filter((pl.col("prediction") == row["id"]) | is_its)
    asked = pl.DataFrame()
    if labels["prediction"].null_count():
        reach_us = rule.before_us + rule.after_us
        asked = alike(
            endpoint.name, key, forms_of(row, key, types), at_us - reach_us, at_us + reach_us + 1, workspace
        ).select("id", "at", _GROUP, *(f"key.{name}" for name in key))
    own = pairs(asked, labels, rule).filter(prediction=row["id"])
    chosen = counting(own, rule)["id"].implode()
    told = own.with_columns(pl.col(_INSTANTS).cast(_AT), counts=pl.col("id").is_in(chosen)).drop("prediction")
    return told.sort("counts", "known_at", "id", descending=True).to_dicts()


def known_labels(row: dict[str, Any], workspace: Workspace) -> tuple[list[dict[str, Any]], list[str]]:
    """Every label of a prediction that was found, and what of them is not known: none, and why, where a log can't be read.

    Raises:
        NotFoundError: its endpoint is not known.
    """
    try:
        return labels_of_row(row, workspace), []
    except StorageError as error:
        return [], [f"Its labels can't be told: {error}"]


def scan_labels(
    endpoint: str, as_of: datetime | None = None, *, workspace: Workspace | None = None
) -> pl.LazyFrame:  # fmt: skip
    """The labels of an endpoint that were known at an instant, each once, whether they are of a prediction or wait for it.

    `prediction` is null where a label has a key, whose columns are `key.NAME`, as texts.

    Raises:
        NotFoundError: no such endpoint.
        StorageError: the log can't be read.
    """
    workspace = workspace or current_workspace()
    found = _labels(named_endpoint(endpoint, workspace), LAST_US if as_of is None else to_us(as_of), workspace)
    return found.lazy().with_columns(pl.col(*_INSTANTS, "logged_at").cast(_AT))


def _join(
    endpoint: str, since: datetime | None, until: datetime | None, as_of: datetime | None, workspace: Workspace
) -> _Join:
    found = named_endpoint(endpoint, workspace)
    rule = found.labels
    reach_us = rule.before_us + rule.after_us if rule.key else 0
    frames = prediction_frames(
        endpoint, since and from_us(max(to_us(since) - reach_us, FIRST_US)),
        until and from_us(min(to_us(until) + reach_us, LAST_US)), workspace=workspace,
    )  # fmt: skip
    known_us = LAST_US if as_of is None else to_us(as_of)
    if as_of is not None:
        frames = [frame.filter(pl.col("at").to_physical() <= known_us) for frame in frames]
    return _Join(found, frames, _labels(found, known_us, workspace))


def _labels(endpoint: Endpoint, known_us: int, workspace: Workspace) -> pl.DataFrame:
    """The labels of an endpoint that were known at an instant, each once, with instants as microseconds."""

    def wanted(data: bytes) -> Labels | None:
        record = decode(data)
        return record if record.endpoint == endpoint.name else None

    note_search(f"labels of {endpoint.name}")
    live = read_records(feedback_folder(workspace), wanted)
    parts = FeedbackParts(workspace.database).of(endpoint.name)
    frames = [scan_part(part, workspace) for part in parts if part.first_known_at <= known_us]
    records = uncompacted(live, parts)
    frames += [frame_of(records).lazy()] if records else []
    labels = united(frames, endpoint.labels.key).with_columns(pl.col(*_INSTANTS, "logged_at").to_physical())
    return distinct(labels.filter(pl.col("known_at") <= known_us).collect())


def _between(at_us: pl.Expr, since: datetime | None, until: datetime | None) -> pl.Expr:
    """Whether an instant lies in a span, the end not in it."""
    since_us = FIRST_US if since is None else to_us(since)
    return (at_us >= since_us) & (at_us < (LAST_US if until is None else to_us(until)))
