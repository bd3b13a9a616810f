"""Decisions are bound to identity, content and evidence; what a policy covers is promoted only when it is approved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from mainspring.clock import clock, now_us
from mainspring.errors import ConfigError, ConflictError, InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.evaluation import (
    Gate,
    approvals,
    approve,
    decide,
    evaluate,
    is_approved,
    list_waiting,
    reject,
    withdraw,
)
from mainspring.ledger import Actor, Replay, acting, within_task
from mainspring.models import (
    Field,
    ModelVersion,
    Signature,
    extend_card,
    get_model_version,
    promotion,
    register,
    rename_model,
    rollback,
    set_alias,
    set_stage,
    set_version_tags,
    update_version,
)
from mainspring.runs import start_run
from mainspring.serving import bind, list_endpoints
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, using

POLICY = """
[approval.lines]
models = ["line*"]
roles = { risk = 1, product = 1 }
"""


Opens = Callable[[str], AbstractContextManager[Workspace]]


@pytest.fixture
def opens(backend: Backend, tmp_path: Path) -> Opens:
    where = {"database": backend.database_url, "blobs": backend.blob_url}

    @contextmanager
    def open_with(settings: str) -> Iterator[Workspace]:
        (tmp_path / "mainspring.toml").write_text(settings)
        with Workspace.open(tmp_path, overrides=where) as opened, using(opened):
            yield opened

    return open_with


@pytest.fixture
def workspace(opens: Opens) -> Iterator[Workspace]:
    with opens(POLICY) as opened:
        yield opened


def line(slope: float = 1.0, name: str = "line", **more: Any) -> ModelVersion:
    """A version of a model."""
    return register({"slope": slope}, name, signature=Signature((Field("x", "f64"),)), **more)


def as_(name: str, *, verified: bool = True) -> Any:
    """Act as somebody."""
    return acting(Actor(name, verified))


def approved_by(ref: Any, **roles: str) -> None:
    for name, role in roles.items():
        with as_(name):
            approve(ref, role=role)


def test_what_a_policy_covers_is_promoted_when_it_is_approved(workspace: Workspace) -> None:
    version = line()
    set_alias(version, "live")
    for promote in (lambda: bind("lines", "line@live"), lambda: set_stage(version, "Production")):
        with pytest.raises(NotAllowedError, match=r"\[lines\] 1 approval as `risk` is needed, there is none\."):
            promote()
    assert list_endpoints() == []
    assert get_model_version("line/1").stage == "None"
    approved_by(version, anna="risk")
    assert not is_approved("line/1")
    assert is_approved("line/1").reasons[0].startswith("1 approval as `product`")
    approved_by(version, ben="product")
    found = is_approved(version)
    assert (found.approved, found.policies) == (True, ("lines",))
    assert found.reasons[-1] == "1 approval as `product` is needed: ben as `product`."
    assert bind("lines", "line@live").number == 1
    assert set_stage(version, "Production").stage == "Production"
    used = [event.payload for event in workspace.ledger.events(subject=version.id) if event.kind == "approval.used"]
    assert [each["to"] for each in used] == ["`line@live`, which the endpoint `lines` serves", "the stage Production"]
    assert used[0]["decisions"] == [each.id for each in found.decisions]


def test_what_no_policy_covers_is_free(workspace: Workspace) -> None:
    line(name="other")
    set_stage("other/1", "Production")
    set_stage(line(), "Staging")
    set_alias("line/1", "champion")
    found = is_approved("other/1")
    assert (found.approved, found.policies, found.reasons) == (False, (), ("1 approval is needed, there is none.",))


@pytest.mark.one_backend("what counts is found without a store")
def test_a_decision_that_does_not_count_is_kept_and_told_of_at_once(
    opens: Opens, caplog: pytest.LogCaptureFixture
) -> None:
    with opens('[approval.lines]\nverified = true\n[approval.anybody]\naliases = ["champion"]'):
        version = line()
        with as_("anna"):
            assert approve(version, role="risk").uncounted == ()
        assert caplog.messages == []
        for verb in (approve, reject):
            with as_("uma", verified=False):
                found = verb(version, role="risk")
            assert [(each.policy, each.decision) for each in found.uncounted] == [("lines", found.decisions[0].id)]
            (told,) = caplog.messages
            assert told.startswith(
                "line/1, policy lines: uma (local, unverified) as `risk` doesn't count: the identity is not verified."
            )
            caplog.clear()
        with pytest.raises(NotAllowedError, match="uma"):
            set_alias(version, "Champion")


def test_a_rename_brings_nothing_under_a_policy_that_it_does_not_meet(workspace: Workspace) -> None:
    version = set_stage(line(name="other"), "Production")
    with pytest.raises(NotAllowedError, match="`line/1` can't become the stage Production"):
        rename_model("other", "line")
    assert get_model_version("other/Production").id == version.id
    approved_by(version, anna="risk", ben="product")
    assert rename_model("other", "line").name == "line"


def test_a_rename_takes_no_version_out_of_a_policy(workspace: Workspace) -> None:
    line()
    rename_model("line", "aside")
    rename_model("aside", "free")
    with pytest.raises(NotAllowedError, match=r"`free/1` can't become the stage Production.*\[lines\]"):
        set_stage("free/1", "Production")
    assert [each.version for each in list_waiting()] == ["free/1"]
    line()
    set_stage(line(name="aside"), "Production")


def test_an_approval_ends_when_content_or_evidence_change(workspace: Workspace) -> None:
    version = line(metrics={"mae": 0.1})
    extend_card(version, "Limits", "Lines only.")
    approved_by(version, anna="risk", ben="product")
    set_version_tags(version, {"seen": "yes"})
    assert is_approved(version)
    extend_card(version, "Limits", "Anything.")
    update_version(version, licence="MIT", description="new")
    found = is_approved(version)
    assert not found
    assert [(each.state, each.changed) for each in found.decisions] == [
        ("stale", ("card: Limits", "description", "licence"))
    ] * 2
    assert "anna as `risk` doesn't count: what was approved has changed since (card: Limits, " in found.reasons[0]
    with pytest.raises(NotAllowedError, match="card: Limits"):
        set_stage(version, "Production")
    approved_by(version, anna="risk", ben="product")
    with workspace.database.transaction() as tx:
        tx.execute("UPDATE model_version SET metrics = ? WHERE id = ?", ('{"mae":0.01}', version.id))
    assert {each.changed for each in approvals(version) if each.state == "stale"} == {("metrics",)}
    with pytest.raises(NotAllowedError):
        set_stage(version, "Production")
    better = line(metrics={"mae": 0.2})
    assert better.number == 2
    assert approvals(better) == []


def test_a_rejection_stops_until_its_author_withdraws_it(workspace: Workspace) -> None:
    version = line()
    approved_by(version, anna="risk", ben="product")
    with as_("carl"):
        reject(version, role="ethics", comment="biased, token=hunter22hunter22")
    with pytest.raises(NotAllowedError, match=r"carl as `ethics` rejected it \(biased, token=\[redacted\]\)"):
        set_stage(version, "Production")
    with as_("dora"), pytest.raises(NotFoundError, match="`line/1` has no decision `dora`"):
        withdraw(version)
    with as_("carl", verified=False), pytest.raises(NotAllowedError, match="is not known to be them"):
        withdraw(version)
    with as_("carl", verified=False), pytest.raises(NotAllowedError, match="is not known to be them"):
        approve(version, role="ethics")
    update_version(version, description="Fair.")
    assert any("rejected" in reason for reason in is_approved(version).reasons)
    with as_("carl"):
        assert not withdraw(version, comment="was wrong")
    approved_by(version, anna="risk", ben="product")
    assert set_stage(version, "Production").stage == "Production"
    states = [(each.actor, each.verdict, each.state) for each in approvals(version)]
    assert states == [
        ("ben", "approved", "standing"), ("anna", "approved", "standing"), ("carl", "rejected", "withdrawn"),
        ("ben", "approved", "replaced"), ("anna", "approved", "replaced"),
    ]  # fmt: skip
    told = [event.kind for event in workspace.ledger.events(subject=version.id) if event.kind.startswith("approval")]
    assert told == ["approval.approved"] * 2 + ["approval.rejected", "approval.withdrawn"] + [
        "approval.approved"
    ] * 2 + ["approval.used"]


def test_one_person_counts_once(workspace: Workspace) -> None:
    version = line()
    approved_by(version, anna="risk")
    with as_("anna"):
        found = approve(version, role="product")
    assert found.reasons[0] == "1 approval as `risk` is needed, there is none."
    with as_("ben", verified=False):
        approve(version, role="risk")
    with as_("ben"):
        assert approve(version, role="risk").approved
    assert [each.verified for each in approvals(version) if each.state == "standing"] == [True, True]


def test_authors_and_unverified_people_may_be_left_out(opens: Opens) -> None:
    with opens("[approval.strict]\nauthor_may_approve = false\nverified = true\ngates = true\n") as workspace:
        evaluation = evaluate([0, 1], [0.1, 0.9], ["roc_auc"])
        gates = decide(evaluation, [Gate("roc_auc", at_least=0.5)])
        with as_("tom"), start_run("training"), as_("rita"):
            version = line(evaluation=evaluation, gates=gates)
        for name in ("tom", "rita"):
            with as_(name):
                assert "the author may not approve" in approve(version, role="risk").reasons[0]
        with as_("uma", verified=False):
            assert "the identity is not verified" in approve(version, role="risk").reasons[0]
        ungated = line(2.0)
        unasked = line(3.0, evaluation=evaluation, gates=decide(evaluation, []))
        with as_("vera"):
            assert approve(version, role="risk")
            for each in (ungated, unasked):
                assert approve(each, role="risk").reasons == ("It was registered without gates.",)
        set_stage(version, "Production")
        used = [each.payload for each in workspace.ledger.events(subject=version.id) if each.kind == "approval.used"]
        assert used[0]["decisions"] == [each.id for each in approvals(version) if each.actor == "vera"]


def test_an_approval_lasts_as_long_as_the_policy_says(workspace: Workspace, opens: Opens) -> None:
    class Later:
        def now_us(self) -> int:
            return start + 31 * 86_400_000_000

    with opens("[approval.month]\nlasts_days = 30\n"):
        version = line()
        approved_by(version, anna="risk")
        assert is_approved(version)
        start = now_us()
        token = clock.set(Later())
        try:
            with pytest.raises(NotAllowedError, match="more than 30 days ago"):
                set_stage(version, "Production")
        finally:
            clock.reset(token)


def test_a_policy_may_cover_aliases_that_no_endpoint_serves(opens: Opens) -> None:
    with opens('[approval.lines]\naliases = ["champ*"]\n'):
        first, second = line(), line(2.0)
        set_alias(first, "candidate")
        approved_by(first, anna="risk")
        set_alias(first, "champion")
        with pytest.raises(NotAllowedError, match="`line/2` can't become `line@champion`, as it is not approved"):
            set_alias(second, "champion")
        approved_by(second, anna="risk")
        set_alias(second, "champion")
        with as_("anna"):
            withdraw(first)
        with pytest.raises(NotAllowedError, match="line/1"):
            rollback("line@champion")
        approved_by(first, anna="risk")
        assert rollback("line@champion").number == 1


@pytest.mark.one_backend("settings are read before a store is asked")
def test_a_policy_that_can_not_be_kept_refuses(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    with opens("[approval.lines]\nmodel = 'x'\n"):
        version = line()
        for ask in (lambda: is_approved(version), lambda: set_stage(version, "Production")):
            with pytest.raises(ConfigError, match="unknown field `model`"):
                ask()
    with opens("[goal]\nmetric = 'mae'\n"):
        set_stage(version, "Production")
        monkeypatch.setattr(promotion, "TABLES", ("goal",))
        with pytest.raises(
            NotAllowedError, match=r"the settings have \[goal\], and nothing that is installed keeps it"
        ):
            set_stage(version, "Archived")


def test_a_misspelt_role_is_told_with_the_nearest_that_a_policy_names(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    version = line()
    for role, told in (("rsk", "`rsk`. Nearest: risk."), ("risk", ""), ("somebody", "")):
        caplog.clear()
        approve(version, role=role)
        assert [told in each for each in caplog.messages if "Nearest" in each] == ([True] if told else [])


@pytest.mark.one_backend("what is wrong is seen before a store is asked")
def test_wrong_roles_and_comments_are_refused(workspace: Workspace) -> None:
    version = line()
    for role in ("", " ", "a\nb", "x" * 101):
        with pytest.raises(InvalidError, match="on one line"):
            approve(version, role=role)
    with pytest.raises(InvalidError, match="without NUL"):
        reject(version, role="risk", comment="\0")
    with pytest.raises(InvalidError, match="6 or more characters"):
        approve(version, role="risk", evidence="abc")
    with pytest.raises(NotFoundError):
        approve("line/9", role="risk")
    wrong: Any
    for wrong in ({"role": None}, {"role": "risk", "comment": 5}, {"role": "risk", "evidence": 0}):
        with pytest.raises(WrongTypeError, match=f"{list(wrong)[-1]}: .* expected a text"):
            approve(version, **wrong)
    with pytest.raises(WrongTypeError, match="comment"):
        withdraw(version, comment=wrong)


def test_a_replay_decides_nothing(workspace: Workspace) -> None:
    version = line()
    approved_by(version, anna="risk")
    with within_task("again", replay=Replay("then")), as_("anna"):
        withdraw(version)
        assert len(reject(version, role="risk").decisions) == 1
    assert [each.state for each in approvals(version)] == ["standing"]


def test_an_approval_is_of_what_was_looked_at(workspace: Workspace) -> None:
    version = line()
    seen = is_approved(version).evidence
    extend_card(version, "Limits", "None.")
    with pytest.raises(ConflictError, match="look at it again"):
        approve(version, role="risk", evidence=seen)
    assert approvals(version) == []
    now = is_approved(version).evidence[:12]
    approve(version, role="risk", evidence=now)


def at_once(*works: Any) -> None:
    """Do all at once, each in a thread that acts on its own; what one raises fails the test."""
    barrier, failed = Barrier(len(works)), list[BaseException]()

    def begin(work: Any) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # told to the test below
            failed.append(error)

    threads = [Thread(target=begin, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_decisions_at_once_leave_one_of_each_person(workspace: Workspace) -> None:
    version = line()

    def decides(name: str, role: str) -> Any:
        def work() -> None:
            with as_(name):
                for _ in range(3):
                    approve(version, role=role, workspace=workspace)

        return work

    at_once(decides("anna", "risk"), decides("anna", "product"), decides("ben", "product"))
    found = approvals(version)
    assert len(found) == 9
    assert sorted(each.actor for each in found if each.state == "standing") == ["anna", "ben"]


def test_nothing_is_promoted_while_its_evidence_changes(workspace: Workspace) -> None:
    """Whatever the order, a promotion used approvals of the evidence as it was in that transaction."""
    version = line()
    came = []

    def edit() -> None:
        for number in range(8):
            extend_card(version, "Limits", f"Limit {number}", workspace=workspace)

    def look_and_promote() -> None:
        for _ in range(8):
            seen = is_approved(version, workspace=workspace).evidence
            try:
                for name, role in (("anna", "risk"), ("ben", "product")):
                    with as_(name):
                        approve(version, role=role, evidence=seen, workspace=workspace)
                set_stage(version, "Production", workspace=workspace)
                came.append(seen)
                set_stage(version, "None", workspace=workspace)
            except (ConflictError, NotAllowedError):
                continue

    at_once(edit, look_and_promote)
    look_and_promote()
    assert came
    events = workspace.ledger.events(subject=version.id)
    assert [event.payload["evidence"] for event in events if event.kind == "approval.used"] == came
    promoted = [place for place, event in enumerate(events) if event.kind == "approval.used"]
    for place in promoted:
        before = [event for event in events[:place] if event.kind in ("approval.approved", "model_version.card")]
        assert [event.kind for event in before[-2:]] == ["approval.approved"] * 2
