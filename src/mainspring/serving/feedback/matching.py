"""Which label is of which prediction: pure rules over two tables, whose order makes no difference.

Predictions are (`id`, `at`, `group`, `key.NAME` …), labels (`id`, `prediction`, `event_at`, `known_at`, `key.NAME` …, `label`),
instants as microseconds and keys as texts. A key with a null in it is of nothing. Groups are matched apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from mainspring.serving.label_rule import LabelRule

PAIR = ("prediction", "id", "event_at", "known_at", "label")
_GROUP = "group"


def distinct(labels: pl.DataFrame) -> pl.DataFrame:
    """Labels without those that came again: of one id the one that was known first."""
    told = [name for name in labels.columns if name not in ("id", "known_at", "logged_at", "source")]
    return _one_of_each(labels, ["id"], ["known_at", *told], [False] * (len(told) + 1))


def pairs(predictions: pl.DataFrame, labels: pl.DataFrame, rule: LabelRule) -> pl.DataFrame:
    """Every label with the predictions that it is of, as `PAIR`; one that names its prediction is of that one alone, whether
    it is among these or not.
    """
    found = labels.filter(pl.col("prediction").is_not_null()).select(PAIR)
    keys = [f"key.{name}" for name in rule.key]
    is_whole = pl.all_horizontal(pl.lit(True), *(pl.col(name).is_not_null() for name in keys))
    told = labels.filter(pl.col("prediction").is_null(), is_whole).drop("prediction") if keys else labels.clear()
    if not told.height:
        return found
    asked = predictions.filter(is_whole).select("id", "at", _GROUP, *keys)
    told = told.join(asked.select(_GROUP).unique(), how="cross")
    matched = _by_key(asked, told, [_GROUP, *keys], rule).select(PAIR)
    return pl.concat([found, matched]) if found.height else matched


def counting(found: pl.DataFrame, rule: LabelRule) -> pl.DataFrame:
    """Of the labels of each prediction the one that counts; of equal ones that with the greater id."""
    ways = {"newest": ("known_at", "event_at"), "first": ("event_at", "known_at"), "last": ("event_at", "known_at")}
    return _one_of_each(found, ["prediction"], [*ways[rule.pick], "id"], [rule.pick != "first", True, True])


def _one_of_each(rows: pl.DataFrame, of: list[str], by: list[str], descending: list[bool]) -> pl.DataFrame:
    """Of the rows that are equal in some columns the first in an order; only those of which there are several are sorted."""
    again = rows.select(pl.struct(of).hash().is_duplicated()).to_series()  # hashes that collide by chance do no harm
    if not again.any():
        return rows
    several = rows.filter(again).sort(by, descending=descending, nulls_last=True)
    return pl.concat([rows.filter(~again), several.unique(of, keep="first", maintain_order=True)])


def _by_key(asked: pl.DataFrame, told: pl.DataFrame, by: Sequence[str], rule: LabelRule) -> pl.DataFrame:
    """Labels with the predictions of their key within the window. Of several at one instant the last id counts, with
    `first` the first.
    """
    width = rule.before_us + rule.after_us
    named = asked.rename({"id": "prediction"})
    if rule.match == "all":
        return _all(named, told, by, rule)
    if rule.match == "first":
        return _nearest(told, named, by, -rule.before_us, "forward", width)
    if rule.match == "last":
        return _nearest(told, named, by, rule.after_us, "backward", width)
    before = _nearest(told, named, by, 0, "backward", rule.before_us)
    if not rule.after_us:
        return before
    after = _nearest(told, named, by, 0, "forward", rule.after_us, last_first=True)
    # A label that both found has the nearer one, of equally near ones the earlier.
    both = pl.concat([before, after]).with_columns(distance=(pl.col("event_at") - pl.col("at")).abs())
    return _one_of_each(both, ["id", _GROUP], ["distance", "at"], [False, False])


def _nearest(
    told: pl.DataFrame, asked: pl.DataFrame, by: Sequence[str], shift_us: int, way: Literal["backward", "forward"],
    within_us: int, *, last_first: bool = False,
) -> pl.DataFrame:  # fmt: skip
    """Each label with the prediction of its key that is nearest to its event, shifted, on one side, if there is one."""
    left = told.with_columns(on=pl.col("event_at") + shift_us).sort("on")
    right = asked.sort("at", "prediction", descending=[False, last_first]).with_columns(on="at")
    joined = left.join_asof(
        right, on="on", by=list(by), strategy=way, tolerance=within_us, check_sortedness=False,
    )  # fmt: skip
    return joined.filter(pl.col("prediction").is_not_null()).drop("on")


def _all(asked: pl.DataFrame, told: pl.DataFrame, by: Sequence[str], rule: LabelRule) -> pl.DataFrame:
    """Every pair within the window: candidates share one of two stretches of time as long as it, so that keys that come again
    for years don't multiply.
    """
    start = pl.col("event_at") - rule.before_us
    width = rule.before_us + rule.after_us + 1
    stretches = told.with_columns(stretch=pl.concat_list(start // width, start // width + 1)).explode("stretch")
    joined = stretches.join(asked.with_columns(stretch=pl.col("at") // width), on=[*by, "stretch"])
    return joined.filter(pl.col("at") >= start, pl.col("at") <= pl.col("event_at") + rule.after_us)
