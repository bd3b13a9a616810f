"""The join of labels against an oracle that looks at every pair: matches, corrections, repeats, ties; in any order."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, NamedTuple

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.serving.feedback.matching import counting, distinct, pairs
from mainspring.serving.label_rule import LabelRule


class Prediction(NamedTuple):
    id: str
    at: int
    group: str
    a: str | None
    b: str | None


class Label(NamedTuple):
    id: str
    prediction: str | None
    event_at: int
    known_at: int
    a: str | None
    b: str | None
    label: float


def history(chance: random.Random) -> tuple[list[Prediction], list[Label]]:
    """Few keys and instants, so that there are ties, corrections, repeats, and several matches of everything."""

    def key() -> str | None:
        return chance.choice(["x", "x", "x", "y", None])

    predictions = [
        Prediction(f"p{number:02}", chance.randint(0, 9), chance.choice(["", "", "", "s1"]), key(), chance.choice("xy"))
        for number in chance.sample(range(30), chance.randint(0, 12))
    ]
    labels = []
    for _ in range(chance.randint(0, 14)):
        own = (f"l{chance.randint(0, 30)}", chance.randint(0, 9), chance.randint(0, 9), float(chance.randint(0, 3)))
        if chance.random() < 0.3:
            labels.append(Label(own[0], f"p{chance.randint(0, 29):02}", own[1], own[2], None, None, own[3]))
        else:
            labels.append(Label(own[0], None, own[1], own[2], key(), chance.choice("xy"), own[3]))
    return predictions, labels


def rule_of(chance: random.Random) -> LabelRule:
    """A rule with any window and any way to choose."""
    return LabelRule(
        chance.choice([("a",), ("a",), ("a", "b"), ()]), chance.randint(0, 5), chance.randint(0, 5),
        chance.choice(["nearest", "nearest", "first", "last", "all"]), chance.choice(["newest", "first", "last"]),
    )  # fmt: skip


def content(label: Label, rule: LabelRule) -> tuple[Any, ...]:
    """What is compared of labels with one id that were known at one instant; nothing is greater than anything."""
    told = [label.prediction, label.event_at, *(getattr(label, name) for name in rule.key), label.label]
    return tuple((value is None, value) for value in told)


def matches(label: Label, predictions: Iterable[Prediction], rule: LabelRule) -> list[Prediction]:
    """The predictions that a label is of."""
    if label.prediction is not None:
        return [each for each in predictions if each.id == label.prediction]
    values = [getattr(label, name) for name in rule.key]
    if not values or None in values:
        return []
    found = []
    for group in {each.group for each in predictions}:
        own = [
            each
            for each in predictions
            if each.group == group
            and [getattr(each, name) for name in rule.key] == values
            and label.event_at - rule.before_us <= each.at <= label.event_at + rule.after_us
        ]
        own.sort(key=lambda each: (each.at, each.id))
        if not own or rule.match == "all":
            found += own
        elif rule.match == "first":
            found.append(own[0])
        elif rule.match == "last":
            found.append(own[-1])
        else:
            least = min(abs(each.at - label.event_at) for each in own)
            near = [each for each in own if abs(each.at - label.event_at) == least]
            found.append([each for each in near if each.at == near[0].at][-1])
    return found


def oracle(
    predictions: list[Prediction], labels: list[Label], rule: LabelRule, as_of: int
) -> tuple[set[tuple[str, str]], dict[str, tuple[str, float]]]:
    """The pairs of prediction and label, and the label that counts of each prediction."""
    once: dict[str, Label] = {}
    for label in labels:
        if label.known_at > as_of:
            continue
        before = once.get(label.id)
        if before is None or (label.known_at, content(label, rule)) < (before.known_at, content(before, rule)):
            once[label.id] = label
    asked = [each for each in predictions if each.at <= as_of]
    own: dict[str, list[Label]] = {}
    for label in once.values():
        for prediction in matches(label, asked, rule):
            own.setdefault(prediction.id, []).append(label)
    order = {
        "newest": lambda each: (each.known_at, each.event_at, each.id),
        "first": lambda each: (-each.event_at, each.known_at, each.id),
        "last": lambda each: (each.event_at, each.known_at, each.id),
    }[rule.pick]
    chosen = {name: max(found, key=order) for name, found in own.items()}
    return (
        {(name, label.id) for name, found in own.items() for label in found},
        {name: (label.id, label.label) for name, label in chosen.items()},
    )


def joined(
    predictions: list[Prediction], labels: list[Label], rule: LabelRule, as_of: int
) -> tuple[list[tuple[str, str]], dict[str, tuple[str, float]]]:
    """The same by the real join."""
    types = dict.fromkeys(("id", "prediction", "group", "key.a", "key.b"), pl.String)
    asked = pl.DataFrame(
        [each._asdict() for each in predictions],
        schema={"id": pl.String, "at": pl.Int64, "group": pl.String, "a": pl.String, "b": pl.String},
    ).rename({"a": "key.a", "b": "key.b"})
    names = ("id", "prediction", "event_at", "known_at", "a", "b", "label")
    kinds = dict.fromkeys(("event_at", "known_at"), pl.Int64) | {"label": pl.Float64}
    told = pl.DataFrame(
        [each._asdict() for each in labels], schema={n: kinds.get(n, types.get(n, pl.String)) for n in names}
    )
    told = told.rename({"a": "key.a", "b": "key.b"}).filter(pl.col("known_at") <= as_of)
    told = told.drop([name for name in ("key.a", "key.b") if name[4:] not in rule.key])
    asked = asked.filter(pl.col("at") <= as_of)
    found = pairs(asked, distinct(told), rule).filter(pl.col("prediction").is_in(asked["id"].implode()))
    rows = counting(found, rule).to_dicts()
    assert len({row["prediction"] for row in rows}) == len(rows)
    return (
        [(name, label) for name, label in found.select("prediction", "id").rows()],
        {row["prediction"]: (row["id"], row["label"]) for row in rows},
    )


@settings(max_examples=400)
@given(st.integers(0, 1 << 62))
def test_the_join_is_that_of_the_oracle_whatever_the_order_of_arrival(seed: int) -> None:
    chance = random.Random(seed)
    (predictions, labels), rule, as_of = history(chance), rule_of(chance), chance.randint(4, 12)
    both, chosen = oracle(predictions, labels, rule, as_of)
    for _ in range(2):
        found, counts = joined(predictions, labels, rule, as_of)
        assert sorted(found) == sorted(both)
        assert counts == chosen
        labels = [*labels, *chance.sample(labels, len(labels) // 2)]
        chance.shuffle(labels)
        chance.shuffle(predictions)
