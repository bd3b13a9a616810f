"""What policies ask for, and which decisions count for them. Pure: no workspace."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mainspring.errors import ConfigError
from mainspring.evaluation import Decision, Policy
from mainspring.evaluation.policy import Case, Verdict, read_policies

DAY_US = 86_400_000_000


def decided(actor: str, role: str = "risk", verdict: Verdict = "approved", **more: Any) -> Decision:
    fields: dict[str, Any] = {"comment": "", "verified": True, "at": 0, "run": None, "evidence": {}} | more
    return Decision(id=actor, version="v", verdict=verdict, role=role, actor=actor, **fields)


def missing(policy: Policy, *decisions: Decision, **case: Any) -> list[str]:
    given: dict[str, Any] = {"authors": {"eve"}, "has_passed_gates": True, "now_us": 0} | case
    return [each.reason for each in policy.judge(Case(decisions, **given)) if not each.met]


def test_roles_and_people_are_counted() -> None:
    policy = Policy(roles={"risk": 2, "product": 1}, approvals=4)
    four = [decided("a"), decided("b"), decided("c", "product"), decided("d", "other")]
    assert missing(policy, *four) == []
    assert missing(policy, *four[:3]) == [
        "4 approvals are needed, there is only a as `risk`, b as `risk`, c as `product`."
    ]
    assert missing(policy, *four[1:])[0] == "2 approvals as `risk` are needed, there is only b as `risk`."
    assert missing(Policy(), decided("a", ended="withdrawn")) == ["1 approval is needed, there is none."]


@pytest.mark.parametrize(
    ("policy", "decision", "why"),
    [
        (Policy(verified=True), {"verified": False}, "the identity is not verified"),
        (Policy(members={"risk": ("ben",)}), {}, "not one of those who decide as `risk`"),
        (Policy(), {"changed": ("licence", "metrics")}, r"has changed since \(licence, metrics\)"),
        (Policy(author_may_approve=False), {"actor": "eve"}, "the author may not approve"),
        (Policy(lasts_days=0.5), {"at": -DAY_US}, "more than 0.5 days ago"),
    ],
)
def test_an_approval_that_does_not_count_says_why(policy: Policy, decision: dict[str, Any], why: str) -> None:
    given = decided(**{"actor": "anna"} | decision)
    (told,) = missing(policy, given)
    assert told.startswith(f"1 approval is needed, there is none. {given.who} doesn't count: ")
    assert re.search(why, told)


def test_an_approval_lasts_to_its_last_instant() -> None:
    policy = Policy(lasts_days=1)
    assert missing(policy, decided("a"), now_us=DAY_US) == []
    assert missing(policy, decided("a"), now_us=DAY_US + 1) != []


def test_a_rejection_stops_whatever_others_say_and_however_old_it_is() -> None:
    no = decided("ben", verdict="rejected", comment="biased", changed=("metrics",), at=-99 * DAY_US)
    policy = Policy(lasts_days=1)
    assert missing(policy, decided("a"), no) == ["ben as `risk` rejected it (biased); only they can withdraw that."]
    assert missing(Policy(verified=True), decided("a"), decided("ben", verdict="rejected", verified=False)) == []
    assert missing(Policy(author_may_approve=False), decided("a"), decided("eve", verdict="rejected")) != []


def test_the_case_of_letters_takes_nothing_out_of_a_policy() -> None:
    policy = Policy(models=("Credit*",), aliases=("champion", "PROD-?"))
    assert [policy.covers(name) for name in ("credit", "CREDIT-2", "debit")] == [True, True, False]
    assert [policy.covers_alias(name) for name in ("champion", "Champion", "prod-1", "champ")] == [
        True, True, True, False,
    ]  # fmt: skip


def test_a_decision_that_stands_and_does_not_count_is_told_of_whether_or_not_something_is_missing() -> None:
    policy = Policy(name="p", verified=True)
    ended, local = decided("a", verified=False, ended="withdrawn"), decided("b", verified=False, verdict="rejected")
    (told,) = policy.objections(Case((decided("c"), ended, local), (), True, 0))
    assert (told.policy, told.decision) == ("p", "b")
    assert told.reason == "b (local, unverified) as `risk` doesn't count: the identity is not verified."
    assert missing(policy, decided("c"), local) == []


def test_gates_may_be_asked_for() -> None:
    assert missing(Policy(gates=True), decided("a"), has_passed_gates=False) == ["It was registered without gates."]
    assert missing(Policy(gates=True), decided("a")) == []


def test_policies_are_read_from_the_settings() -> None:
    tables = {"approval": {"a": {"models": ["churn*", "x"], "lasts_days": 30, "roles": {"risk": 1}}, "all": {}}}
    first, second = read_policies(tables)
    assert (first.name, first.lasts_days, [first.covers(name) for name in ("churn-2", "x", "y")]) == (
        "a", 30.0, [True, True, False],
    )  # fmt: skip
    assert second.covers("anything")
    assert read_policies({}) == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"models": ["x"]}, r"expected a table, \[approval\.NAME\]"),
        ({"p": {"model": ["x"]}}, r"`\[approval\.p\]`: .*unknown field `model`.* It takes models, approvals"),
        ({"p": {"approvals": 0}}, ">= 1"),
        ({"p": {"approvals": True}}, "Expected `int`"),
        ({"p": {"roles": {"risk": 0}}}, ">= 1"),
        ({"p": {"lasts_days": 0}}, "> 0"),
        ({"p": {"lasts_days": float("nan")}}, "> 0"),
        ({"p": {"models": "x"}}, "Expected `array`"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_place(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_policies({"approval": table})
