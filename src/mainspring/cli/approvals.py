"""`mainspring models approve`, `reject`, `withdraw` and `approvals`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation

if TYPE_CHECKING:
    from mainspring.evaluation import Approval
    from mainspring.models import ModelVersion
    from mainspring.workspace import Workspace

_REFERENCE = click.argument("reference", metavar="MODEL/N|MODEL@ALIAS")
_COMMENT = click.option("--comment", default="", metavar="TEXT", help="Kept with the decision.")


def _decision(name: str, told: str) -> click.Command:
    """The command of a verb of `mainspring.evaluation`."""

    @click.command(name, cls=Command, help=told)
    @_REFERENCE
    @click.option("--role", required=True, metavar="ROLE", help="As what you decide, such as `risk`.")
    @_COMMENT
    @click.option(
        "--evidence",
        default="",
        metavar="DIGEST",
        help="Decide only if the evidence is still the one that you looked at.",
    )
    @click.pass_obj
    def decide(invocation: Invocation, reference: str, role: str, comment: str, evidence: str) -> None:
        from mainspring import evaluation

        verb = getattr(evaluation, name)
        found = verb(reference, role=role, comment=comment, evidence=evidence, workspace=invocation.workspace)
        _show(invocation, found)

    return decide


approve = _decision("approve", "Approve a version, with its evidence as it is now.")
reject = _decision("reject", "Reject a version, until you withdraw that.")


@click.command(cls=Command)
@_REFERENCE
@_COMMENT
@click.pass_obj
def withdraw(invocation: Invocation, reference: str, comment: str) -> None:
    """Take back what you decided on a version."""
    from mainspring.evaluation import withdraw as take_back

    _show(invocation, take_back(reference, comment=comment, workspace=invocation.workspace))


@click.command(cls=Command)
@_REFERENCE
@click.pass_obj
def approvals(invocation: Invocation, reference: str) -> None:
    """Show whether a version is approved, what is missing, and every decision on it."""
    _show(invocation, approval_of(reference, invocation.workspace))


def approval_of(reference: str | ModelVersion, workspace: Workspace) -> Approval:
    """Whether a version is approved; an alias or a model's name stands for one."""
    from mainspring.evaluation import is_approved

    return is_approved(reference, workspace=workspace)


def approval_document(found: Approval) -> dict[str, Any]:
    """An approval as a document."""
    document: dict[str, Any] = msgspec.to_builtins(found)
    document["reasons"] = found.reasons
    for told, decision in zip(document["decisions"], found.decisions, strict=True):
        told["state"] = decision.state
    return document


def approval_facts(found: Approval) -> dict[str, str]:
    """Whether it is approved, by which policies, by whom or what is missing; nothing if no policy asks and nobody decided."""
    if not found.policies and not found.decisions:
        return {}
    return {
        "approved": "yes" if found.approved else "no",
        "policies": ", ".join(found.policies) or "none covers it, so that nothing is refused",
        "approved by" if found.approved else "missing": "\n".join(found.reasons),
    }


def _show(invocation: Invocation, found: Approval) -> None:
    invocation.show(approval_document(found), lambda: _shown(found))


def _shown(found: Approval) -> str:
    facts = [
        ("version", text.bold(found.version)),
        ("approved", "yes" if found.approved else "no"),
        ("policies", ", ".join(found.policies) or "none covers it, so that nothing is refused"),
        ("evidence", text.short(found.evidence)),
        ("by" if found.approved else "missing", "\n".join(found.reasons)),
    ]
    rows = [
        [
            text.moment(each.at),
            each.verdict,
            each.who,
            f"{each.state}: {', '.join(each.changed)}" if each.state == "stale" else each.state,
            each.comment,
        ]
        for each in found.decisions
    ]
    table = text.table(["decided", "verdict", "by", "state", "comment"], rows, drop=["comment"]) if rows else ""
    return "\n\n".join(filter(None, [text.facts(facts), table]))
