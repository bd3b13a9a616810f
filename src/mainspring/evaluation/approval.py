"""Validation: people approve or reject a version, and what a policy covers is not promoted before it is approved.

A decision is bound to the version's content and its evidence: metrics, evaluation, gates, and what its card says. When any of
it changes, the approval has ended. Decisions and promotions are judged in the transaction that writes them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from mainspring import clock
from mainspring.errors import ConflictError, InvalidError, NotAllowedError, NotFoundError, close_names, listed
from mainspring.evaluation._store import DecisionStore
from mainspring.evaluation.given import expect_text
from mainspring.evaluation.policy import Case, Decision, Objection, Policy, Requirement, Verdict, read_policies
from mainspring.ledger import Actor, current_actor, current_task, is_replay, new_id, note_search
from mainspring.models import ModelStore, ModelVersion, Promotion, get_model_version, notes_of
from mainspring.models.registry import named_version
from mainspring.secrets import redact
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace

_log = logging.getLogger("mainspring.evaluation")
Ref = str | ModelVersion
_LONGEST_ROLE = 100
_ALL = 1 << 31  # events of one model
_LONGEST_COMMENT = 10_000
_SHORTEST_EVIDENCE = 6


class Approval(msgspec.Struct, frozen=True):
    """Whether a version is approved, and why or why not.

    `policies` are those that cover the model; without one, one approval and no rejection is asked, and nothing is refused.
    `evidence` is the digest of what a decision now would be bound to. `decisions` are all there are, newest first; `uncounted`
    says which of those that stand don't count, and why.
    """

    version: str
    approved: bool
    policies: tuple[str, ...]
    evidence: str
    requirements: tuple[Requirement, ...]
    decisions: tuple[Decision, ...]
    uncounted: tuple[Objection, ...] = ()

    def __bool__(self) -> bool:
        return self.approved

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is missing; if it is approved, by whom."""
        return tuple(each.reason for each in self.requirements if each.met == self.approved)

    @property
    def rejected(self) -> bool:
        """Whether a rejection that counts stands."""
        counted = {each for requirement in self.requirements if not requirement.met for each in requirement.by}
        return any(each.verdict == "rejected" and each.id in counted for each in self.decisions)


def approve(
    ref: Ref, *, role: str, comment: str = "", evidence: str = "", workspace: Workspace | None = None
) -> Approval:
    """Approve a version in a role, as who acts here, and give how it stands then. In a replay nothing is decided.

    What doesn't count for a policy, as who acts is not verified, say, is kept and logged as a warning. It takes the
    place of what the same person decided on the version before. `evidence`, of `is_approved` or the beginning of it,
    says what was looked at: if that has changed meanwhile, nothing is approved.

    Raises:
        NotFoundError: no such version.
        ConflictError: the evidence is not the one that was looked at.
        NotAllowedError: a verified person of this name decided, and who acts is not verified.
        InvalidError: the role is none, or the comment is too long.
        WrongTypeError: one of them is no text.
    """
    return _decide(ref, "approved", role, comment, evidence, workspace)


def reject(
    ref: Ref, *, role: str, comment: str = "", evidence: str = "", workspace: Workspace | None = None
) -> Approval:
    """Reject a version: it stays rejected, whatever others say or changes, until who rejected it withdraws that.

    Raises:
        NotFoundError: no such version.
        ConflictError: the evidence is not the one that was looked at.
        NotAllowedError: a verified person of this name decided, and who acts is not verified.
        InvalidError: the role is none, or the comment is too long.
        WrongTypeError: one of them is no text.
    """
    return _decide(ref, "rejected", role, comment, evidence, workspace)


def withdraw(ref: Ref, *, comment: str = "", workspace: Workspace | None = None) -> Approval:
    """Take back what who acts here decided on a version; it stays in the history. In a replay nothing is withdrawn.

    Raises:
        NotFoundError: no such version, or nothing that they decided stands.
        NotAllowedError: a verified person of this name decided, and who acts is not verified.
        InvalidError: the comment is too long.
        WrongTypeError: it is no text.
    """
    workspace, comment = workspace or current_workspace(), _checked_comment(comment)
    version = named_version(ref, workspace)
    if not is_replay():
        store, actor = DecisionStore(workspace.database), current_actor()
        with workspace.database.transaction() as tx:
            before = _own(store, version, actor)
            if before is None:
                raise NotFoundError("decision", actor.name, owner=f"`{version}`")
            store.end(tx, before, "withdrawn")
            told = {"decision": before.id, "verdict": before.verdict, "role": before.role, "comment": comment}
            workspace.ledger.append(tx, "approval.withdrawn", version.id, told)
    return is_approved(version, workspace=workspace)


def approvals(ref: Ref, *, workspace: Workspace | None = None) -> list[Decision]:
    """Every decision on a version, newest first, with what of its evidence has changed since; raises `NotFoundError`."""
    return list(is_approved(ref, workspace=workspace).decisions)


def is_approved(ref: Ref, *, workspace: Workspace | None = None) -> Approval:
    """Whether a version is approved now, by the policies that cover its model.

    Raises:
        NotFoundError: no such version.
        ConfigError: a policy of the settings is wrong.
    """
    workspace = workspace or current_workspace()
    version = get_model_version(ref, workspace)
    note_search(f"decisions on {version}")
    return _standing(version, _covering(workspace, version.name), workspace)


def evidence_of(ref: Ref, *, workspace: Workspace | None = None) -> dict[str, Any]:
    """What a decision on a version now would be bound to, part by part; raises `NotFoundError`."""
    workspace = workspace or current_workspace()
    return _evidence(get_model_version(ref, workspace), workspace)


def list_waiting(*, limit: int = 100, workspace: Workspace | None = None) -> list[Approval]:
    """The versions that wait for somebody to decide, by model, newest first.

    Those that a policy covers, that are neither approved nor rejected nor archived, and that no newer approved version of the
    model has made obsolete.

    Raises:
        ConfigError: a policy of the settings is wrong.
    """
    workspace = workspace or current_workspace()
    note_search("versions that wait for a decision")
    found: list[Approval] = []
    for name in ModelStore(workspace.database, workspace.ledger).names():
        covering = _covering(workspace, name)
        if covering:
            found += islice(_waiting(name, covering, workspace), limit - len(found))
        if len(found) >= limit:
            break
    return found


def expect_approved(tx: Transaction, workspace: Workspace, promotion: Promotion) -> None:
    """The guard of promotions: refuses one that a policy covers unless the version is approved, and records by whom.

    Raises:
        NotAllowedError: it is not approved; the text says what is missing.
        ConfigError: a policy of the settings is wrong.
    """
    version = named_version(promotion.version, workspace)
    covering = [policy for policy in _covering(workspace, version.name) if _is_asked(policy, promotion)]
    if not covering:
        return
    found = _standing(version, covering, workspace, tx)
    if not found.approved:
        missing = " ".join(f"[{each.policy}] {each.reason}" for each in found.requirements if not each.met)
        raise NotAllowedError(
            f"`{version}` can't become {promotion}, as it is not approved. {missing}"
            f" See: mainspring models approvals {version}"
        )
    counted = {each for requirement in found.requirements for each in requirement.by}
    used = [each.id for each in found.decisions if each.id in counted]
    told = {"to": str(promotion), "policies": found.policies, "evidence": found.evidence, "decisions": used}
    workspace.ledger.append(tx, "approval.used", version.id, told)


def _decide(
    ref: Ref, verdict: Verdict, role: str, comment: str, evidence: str, workspace: Workspace | None
) -> Approval:
    workspace, comment = workspace or current_workspace(), _checked_comment(comment)
    role = expect_text("role", role).strip()
    if not role or len(role) > _LONGEST_ROLE or not role.isprintable():
        raise InvalidError("role", role, f"a text of 1 to {_LONGEST_ROLE} characters on one line")
    if expect_text("evidence", evidence) and len(evidence) < _SHORTEST_EVIDENCE:
        raise InvalidError("evidence", evidence, f"the first {_SHORTEST_EVIDENCE} or more characters of a digest")
    found, made = named_version(ref, workspace), ""
    if not is_replay():
        store, actor, made = DecisionStore(workspace.database), current_actor(), new_id()
        if actor.roles and role not in actor.roles:
            raise NotAllowedError(f"{actor} may decide as {listed(actor.roles)}, not as `{role}`.")
        with workspace.database.transaction() as tx:
            version = named_version(found, workspace)
            parts = _parts(version, workspace)
            if not _digest(parts).startswith(evidence):
                raise ConflictError(
                    f"The evidence of `{version}` is not `{evidence}` any more, but {_digest(parts)[:12]}: look at it again."
                )
            before = _own(store, version, actor)
            if before is not None:
                store.end(tx, before, "replaced")
            decision = Decision(
                id=made, version=version.id, verdict=verdict, role=role, comment=comment, actor=actor.name,
                verified=actor.verified, at=clock.now_us(), run=current_task(), evidence=parts,
            )  # fmt: skip
            store.add(tx, decision)
            told = {"decision": decision.id, "role": role, "comment": comment, "evidence": _digest(parts)}
            workspace.ledger.append(tx, f"approval.{verdict}", version.id, told)
        _tell_unknown_role(found, role, _covering(workspace, found.name))
    standing = is_approved(found, workspace=workspace)
    for each in standing.uncounted if made else ():
        if each.decision == made:
            _log.warning("%s, policy %s: %s It is kept.", found, each.policy, each.reason)
    return standing


def _tell_unknown_role(version: ModelVersion, role: str, policies: list[Policy]) -> None:
    """Warn of a role that none of the policies which cover a version names, if it is like one that they do."""
    known = {name for policy in policies for name in (*policy.roles, *policy.members)}
    near = close_names(role, known - {role}) if role not in known else []
    if near:
        _log.warning(
            "%s: no policy that covers it names the role `%s`. Nearest: %s. It is kept.", version, role, near[0]
        )


def _own(store: DecisionStore, version: ModelVersion, actor: Actor) -> Decision | None:
    """What stands under the name of who acts; that of a verified person is only theirs to change."""
    found = store.standing(version.id, actor)
    if found is not None and found.verified and not actor.verified:
        raise NotAllowedError(
            f"The verified `{found.actor}` decided on `{version}`, and {actor} is not known to be them."
        )
    return found


def _checked_comment(comment: str) -> str:
    if len(expect_text("comment", comment)) > _LONGEST_COMMENT or "\0" in comment:
        raise InvalidError("comment", comment, f"a text of at most {_LONGEST_COMMENT:,} characters without NUL")
    return redact(comment)


def _covering(workspace: Workspace, model: str) -> list[Policy]:
    """The policies of a model under each name that it had: a rename takes it out of none."""
    policies = read_policies(workspace.project.settings.tables)
    if all(policy.covers(model) for policy in policies):
        return policies
    subject = ModelStore(workspace.database, workspace.ledger).model(model).id
    events = workspace.ledger.events(subject=subject, limit=_ALL)
    names = [model, *(each.payload["was"]["name"] for each in events if each.kind == "model.renamed")]
    return [policy for policy in policies if any(map(policy.covers, names))]


def _is_asked(policy: Policy, promotion: Promotion) -> bool:
    if promotion.kind == "stage":
        return promotion.name == "Production"
    return promotion.endpoint is not None or policy.covers_alias(promotion.name)


def _standing(
    version: ModelVersion, policies: list[Policy], workspace: Workspace, within: Transaction | None = None
) -> Approval:
    now = _parts(version, workspace)
    decisions = [
        replace(
            each,
            changed=tuple(sorted(part for part in each.evidence | now if each.evidence.get(part) != now.get(part))),
        )
        for each in DecisionStore(workspace.database, within).of(version.id)
    ]
    gates = version.gates or {}
    has_passed = bool(gates.get("passed") and gates.get("reasons"))  # none at all are none that were passed
    case = Case(decisions, _authors(version, workspace), has_passed, clock.now_us())
    asking = policies or [Policy()]
    found = tuple(each for policy in asking for each in policy.judge(case))
    return Approval(
        str(version), all(each.met for each in found), tuple(policy.name for policy in policies), _digest(now), found,
        tuple(decisions), tuple(each for policy in asking for each in policy.objections(case)),
    )  # fmt: skip


def _waiting(name: str, policies: list[Policy], workspace: Workspace) -> Iterator[Approval]:
    """The versions of a model that wait, down to the first that is approved."""
    for version in ModelStore(workspace.database, workspace.ledger).versions(name):
        standing = _standing(version, policies, workspace)
        if standing.approved:
            return
        if version.stage != "Archived" and not standing.rejected:
            yield standing


def _parts(version: ModelVersion, workspace: Workspace) -> dict[str, str]:
    """A digest of each part of what is approved."""
    return {name: _digest(value) for name, value in _evidence(version, workspace).items()}


def _evidence(version: ModelVersion, workspace: Workspace) -> dict[str, Any]:
    return {
        "content": (version.content_digest, version.files, version.source), "environment": version.environment,
        "signature": (version.signature, version.input_kind, version.features), "metrics": version.metrics,
        "evaluation": version.evaluation, "gates": version.gates, "description": version.description,
        "licence": version.licence,
    } | {f"card: {note.title}": note.text for note in notes_of(version, workspace)}  # fmt: skip


def _digest(value: object) -> str:
    return blake3(msgspec.json.encode(value, order="deterministic")).hexdigest(16)


def _authors(version: ModelVersion, workspace: Workspace) -> set[str]:
    """Who registered a version, and who ran the run that made it, or one that this was part of: names, from the ledger."""
    ledger, kinds = workspace.ledger, ("model.registered", "run.started", "run.resumed")
    runs = [version.run] if version.run else []
    for run in runs:
        runs += [edge.dst for edge in ledger.edges([run]) if edge.role == "part_of" and edge.dst not in runs]
    return {event.actor for each in (version.id, *runs) for event in ledger.events(subject=each) if event.kind in kinds}
