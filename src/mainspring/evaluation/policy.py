"""Policies of approval: whose approval a version needs before it is promoted. Pure: decisions and facts in, requirements out.

The project's settings hold a table `[approval.NAME]` for each. Of several that cover a model all must be met.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from mainspring.errors import ConfigError, shorten

Verdict = Literal["approved", "rejected"]
_DAY_US = 86_400_000_000
_Count = Annotated[int, msgspec.Meta(ge=1)]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody decided on a version, on which evidence; times are microseconds since 1970.

    `actor` is the identity, and `verified` whether somebody vouches for it; `role` is what they say they decide as.
    `evidence` has a digest of each part of it. `ended` says why the decision stands no longer; `changed` is the parts of the
    evidence that are other now, by which an approval has ended, too.
    """

    id: str
    version: str
    verdict: Verdict
    role: str
    comment: str
    actor: str
    verified: bool
    at: int
    run: str | None
    evidence: dict[str, str]
    ended: Literal["", "withdrawn", "replaced"] = ""
    ended_at: int | None = None
    changed: tuple[str, ...] = ()

    @property
    def state(self) -> Literal["standing", "stale", "withdrawn", "replaced"]:
        """Whether it stands; a rejection is never stale: it stands until it is withdrawn."""
        if self.ended:
            return self.ended
        return "stale" if self.changed and self.verdict == "approved" else "standing"

    @property
    def who(self) -> str:
        """The identity with its role."""
        return f"{self.actor}{'' if self.verified else ' (local, unverified)'} as `{self.role}`"


class Requirement(msgspec.Struct, frozen=True):
    """One thing that a policy asks for, and the sentence that says whether it is there; `by` is the decisions that count."""

    policy: str
    met: bool
    reason: str
    by: tuple[str, ...] = ()


class Objection(msgspec.Struct, frozen=True):
    """Why a decision that stands doesn't count for a policy: its id, and the sentence that says so."""

    policy: str
    decision: str
    reason: str


class Case(msgspec.Struct, frozen=True):
    """What a version is judged on; `authors` are the names of who registered it and of who ran what made it."""

    decisions: Sequence[Decision]
    authors: Collection[str]
    has_passed_gates: bool
    now_us: int


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose approval the versions of some models need.

    `models` and `aliases` are glob patterns, whatever the case of letters: what differs in that alone escapes no
    policy. `approvals` is of how many people, `roles` how many of them in each role, `members` who may decide in a role
    (anybody, if it isn't named). An approval counts for `lasts_days`, or for good.
    The promotions it covers are those to an alias that an endpoint serves, to the stage Production, and to `aliases`.
    With `gates` a version must have passed gates when it was registered.
    """

    name: str = ""
    models: tuple[str, ...] = ("*",)
    approvals: _Count = 1
    roles: dict[str, _Count] = {}
    members: dict[str, tuple[str, ...]] = {}
    author_may_approve: bool = True
    verified: bool = False
    lasts_days: Annotated[float, msgspec.Meta(gt=0)] | None = None
    aliases: tuple[str, ...] = ()
    gates: bool = False

    def covers(self, model: str) -> bool:
        """Whether it is about a model."""
        return _matches(model, self.models)

    def covers_alias(self, alias: str) -> bool:
        """Whether it is about an alias that no endpoint serves."""
        return _matches(alias, self.aliases)

    def judge(self, case: Case) -> list[Requirement]:
        """What it asks for, each with whether that is there.

        >>> Policy(name="any").judge(Case([], (), True, 0))[0].reason
        '1 approval is needed, there is none.'
        """
        objections = {each.decision: each.reason for each in self.objections(case)}
        counted = [each for each in case.decisions if not each.ended and each.id not in objections]
        left_out = "".join(f" {reason}" for reason in objections.values())
        approved = [each for each in counted if each.verdict == "approved"]
        asked = [
            _enough([each for each in approved if each.role == role], count, f" as `{role}`")
            for role, count in self.roles.items()
        ]
        asked += [_enough(approved, self.approvals)] if self.approvals > sum(self.roles.values()) else []
        short = next((place for place, each in enumerate(asked) if not each.met), None)
        if short is not None:
            asked[short] = replace(asked[short], reason=asked[short].reason + left_out)
        rejected = [
            Requirement("", False, f"{each.who} rejected it{_said(each)}; only they can withdraw that.", (each.id,))
            for each in counted
            if each.verdict == "rejected"
        ]
        told = "It passed its gates." if case.has_passed_gates else "It was registered without gates."
        gates = [Requirement("", case.has_passed_gates, told)] if self.gates else []
        return [replace(each, policy=self.name) for each in (*rejected, *asked, *gates)]

    def objections(self, case: Case) -> list[Objection]:
        """The decisions that stand and don't count here, and why."""
        standing = [(each, self._objection(each, case)) for each in case.decisions if not each.ended]
        return [Objection(self.name, each.id, f"{each.who} doesn't count: {why}.") for each, why in standing if why]

    def _objection(self, decision: Decision, case: Case) -> str:
        """Why a decision doesn't count here; empty if it does."""
        if self.verified and not decision.verified:
            return "the identity is not verified"
        members = self.members.get(decision.role)
        if members is not None and decision.actor not in members:
            return f"not one of those who decide as `{decision.role}`"
        if decision.verdict == "rejected":
            return ""
        if decision.changed:
            return f"what was approved has changed since ({', '.join(decision.changed)})"
        if not self.author_may_approve and decision.actor in case.authors:
            return "the author may not approve"
        if self.lasts_days is not None and case.now_us > decision.at + self.lasts_days * _DAY_US:
            return f"it was given more than {self.lasts_days:g} days ago"
        return ""


def read_policies(tables: Mapping[str, Any]) -> list[Policy]:
    """The policies of a project's settings, by their tables.

    Raises:
        ConfigError: a table is wrong; it and its key are named. Whatever asks for a policy fails then.

    >>> read_policies({"approval": {"risk": {"models": ["churn*"], "roles": {"risk": 2}}}})[0].roles
    {'risk': 2}
    """
    found = []
    for name, table in tables.get("approval", {}).items():
        if not isinstance(table, dict):
            raise ConfigError(f"`approval.{name}`: expected a table, [approval.NAME], with what the policy asks for")
        try:
            found.append(msgspec.convert(table | {"name": name}, Policy))
        except msgspec.ValidationError as error:
            known = ", ".join(field for field in Policy.__struct_fields__ if field != "name")
            raise ConfigError(f"`[approval.{name}]`: {error}. It takes {known}.") from error
    return found


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for pattern in patterns)


def _enough(found: Sequence[Decision], count: int, what: str = "") -> Requirement:
    asked = f"{count} approval{'s' if count > 1 else ''}{what} {'are' if count > 1 else 'is'} needed"
    given, by = ", ".join(each.who for each in found), tuple(each.id for each in found)
    if len(found) >= count:
        return Requirement("", True, f"{asked}: {given}.", by)
    return Requirement("", False, f"{asked}, there is {f'only {given}' if found else 'none'}.", by)


def _said(decision: Decision) -> str:
    return f" ({shorten(decision.comment)})" if decision.comment else ""
