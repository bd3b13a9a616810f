"""The grammar of searches: what it takes, and that every mistake is shown at its place."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import InvalidError
from mainspring.runs.filters import Condition, Kinds, Order, parse_filter, parse_order

RUNS = Kinds(
    "runs", {"status": "text", "start_time": "number", "run_id": "text"}, ("metric", "param", "tag", "dataset")
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("  ", []),
        ("metrics.auc > 0.9", [Condition("metric", "auc", ">", 0.9)]),
        ("metric.auc<=-1e-3", [Condition("metric", "auc", "<=", -0.001)]),
        ("metrics.`val loss`!=3", [Condition("metric", "val loss", "!=", 3)]),
        ('metrics."a.b/c" = .5', [Condition("metric", "a.b/c", "=", 0.5)]),
        ("metrics.a.b/c-d = 1", [Condition("metric", "a.b/c-d", "=", 1)]),
        ("params.x = 'it''s'", [Condition("param", "x", "=", "it's")]),
        ('parameters.x = "a and b"', [Condition("param", "x", "=", "a and b")]),
        ("tags.`mlflow.runName` ILIKE '%🎯%'", [Condition("tag", "mlflow.runName", "ILIKE", "%🎯%")]),
        ("status = 'FINISHED'", [Condition("attribute", "status", "=", "FINISHED")]),
        ("attributes.start_time >= 1664067852747", [Condition("attribute", "start_time", ">=", 1664067852747)]),
        ("run_id in ('a','b')", [Condition("attribute", "run_id", "IN", ("a", "b"))]),
        ("run_id NOT   IN ('a')", [Condition("attribute", "run_id", "NOT IN", ("a",))]),
        ("tags.a is null", [Condition("tag", "a", "IS NULL")]),
        ("tags.a IS NOT NULL", [Condition("tag", "a", "IS NOT NULL")]),
        ("datasets.name LIKE 'a%'", [Condition("dataset", "name", "LIKE", "a%")]),
        (
            "metrics.a > 1 AND params.b = 'x' and tags.c != 'y'",
            [Condition("metric", "a", ">", 1), Condition("param", "b", "=", "x"), Condition("tag", "c", "!=", "y")],
        ),
    ],
)  # fmt: skip
def test_the_grammar(text: str, found: list[Condition]) -> None:
    assert parse_filter(text, RUNS) == tuple(found)


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("metrics.auc", 12, "an operator"),
        ("metrics.auc > ", 14, "a number"),
        ("metrics.auc > 'x'", 15, "a number"),
        ("metrics.auc > 1.2.3", 15, "a number"),
        ("metrics.auc LIKE 'x'", 13, "It takes IS NULL, IS NOT NULL, =, !=, >"),
        ("params.a > '3'", 10, "an operator for `params.a`"),
        ("params.a = 3", 12, "a text in quotes"),
        ("params.a = 'x", 12, "a text in quotes"),
        ("params.a = 'x' OR params.b = 'y'", 16, "Only AND joins conditions"),
        ("params.a = 'x' params.b = 'y'", 16, "`AND`"),
        ("params.a = 'x' AND", 19, "an identifier"),
        ("metrix.a > 1", 1, "one of `metrics`, `params`, `tags`, `datasets`, `attributes`"),
        ("stutus = 'x'", 1, "Nearest: status"),
        ("run_id IN ()", 12, "a text in quotes"),
        ("run_id IN ('a'", 15, "`,` or `)`"),
        ("datasets.source = 'a'", 1, "name, digest, context"),
        ("metrics. > 1", 10, "a key"),
        ("1 = 1; DROP TABLE run", 1, "an identifier"),
        ("params.a = '' ; DROP TABLE run --", 15, "`AND`"),
        ("tags.a IS 'x'", 11, "`NULL` or `NOT`"),
    ],
)
def test_a_mistake_is_shown_at_its_place(text: str, place: int, told: str) -> None:
    with pytest.raises(InvalidError) as error:
        parse_filter(text, RUNS)
    assert f"filter, at character {place}:" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "text", ["x" * 60_000, " AND ".join(["tags.a = 'x'"] * 101), f"run_id IN ({', '.join(['1'.join('``')] * 2000)})"]
)
def test_a_filter_without_end_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_filter(text, RUNS)


@given(st.text(alphabet="metrics.params tags'\"`()=<>!,0.9ANDINOTLKEUS\\%\n🎯", max_size=60))
def test_any_text_is_taken_or_refused(text: str) -> None:
    with suppress(InvalidError):
        assert len(parse_filter(text, RUNS)) <= len(text)


def test_an_order_is_an_identifier_and_a_direction() -> None:
    assert parse_order("metrics.`a b` desc", RUNS) == Order("metric", "a b", True)
    assert parse_order("start_time", RUNS) == Order("attribute", "start_time", False)
    for wrong in ("", "metrics.a DOWN", "metrics.a DESC x", "start_time; DROP"):
        with pytest.raises(InvalidError, match="order, at character"):
            parse_order(wrong, RUNS)
