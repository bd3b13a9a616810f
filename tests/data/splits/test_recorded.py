"""A recorded split: parts are versions, their rule is in the lineage, and doing it again changes nothing."""

from __future__ import annotations

from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.data import (
    DatasetVersion,
    GroupKFold,
    GroupSplit,
    HashSplit,
    KFold,
    SplitRule,
    StratifiedKFold,
    StratifiedSplit,
    TimeSeriesFolds,
    TimeSplit,
    dataset,
    read_rule,
    split_dataset,
    split_of,
    write_rule,
)
from mainspring.data.commit import commit_drafts
from mainspring.data.draft import Wanted
from mainspring.data.splits import recorded
from mainspring.data.tables.rows import FrameDraft
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.ledger import Replay, new_id, within_task
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace, using

RULES: list[Any] = [
    HashSplit(("user", "day"), {"a": 0.25, "b": 0.75}, "salt"),
    TimeSplit("day", [date(2013, 2, 1), date(2013, 3, 1)]),
    TimeSplit("n", [1, 2.5], ("x", "y", "z")),
    GroupSplit("user", seed=3),
    StratifiedSplit("user", key="n"),
    KFold(3),
    GroupKFold(3, "user"),
    StratifiedKFold(3, by="user", seed=1),
]
FRAME = pl.DataFrame(
    {"user": [n % 40 for n in range(400)], "n": range(400), "day": [date(2013, 1 + n % 4, 1) for n in range(400)]}
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_rule_comes_back_from_its_text(rule: SplitRule) -> None:
    assert read_rule(write_rule(rule)) == rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_the_parts_are_versions_that_lead_to_rule_and_source(rule: SplitRule, workspace: Workspace) -> None:
    source = dataset("visits").commit(FRAME)
    parts = split_dataset(source, rule)
    assert list(parts) == list(rule.names)
    for name, rows in rule.apply(FRAME).items():
        version = parts[name]
        assert version.dataset == f"visits-{name}"
        assert version.to_polars().equals(rows)
        assert split_of(version) == rule
        nodes = {edge.dst for edge in workspace.ledger.walk(version.id)}
        assert source.id in nodes
        assert [each.node for each in version.source] == [source.id]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.one_backend("what is compared is how the parts are computed")
def test_a_large_version_has_the_same_parts(
    rule: SplitRule, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = dataset("visits")
    visits.commit(FRAME)
    source = visits.append(FRAME.with_columns(pl.col("n") + 400))
    small = split_dataset(source, rule)
    monkeypatch.setattr(recorded, "LARGE_BYTES", 0)
    large = split_dataset(source, rule, prefix="large")
    for name, version in small.items():
        assert large[name].content_digest == version.content_digest
        assert split_of(large[name]) == rule


@pytest.mark.one_backend("what is looked at is how the parts are computed")
def test_a_version_is_large_by_what_it_takes_in_memory(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was by the size of its Parquet, which says little where values repeat."""
    source = dataset("zeros").commit(pl.DataFrame({"id": range(50_000), "x": 0, "y": 0, "z": 0}))
    monkeypatch.setattr(recorded, "LARGE_BYTES", 500_000)
    assert source.size_bytes < 500_000
    monkeypatch.setattr(type(source), "to_polars", lambda _: pytest.fail("it was read whole"))
    assert sum(part.rows for part in split_dataset(source, GroupSplit("id")).values()) == 50_000


def test_splitting_again_gives_the_versions_that_are_there(workspace: Workspace) -> None:
    source = dataset("visits").commit(FRAME)
    first, second = (split_dataset(source, HashSplit("user")) for _ in range(2))
    assert {name: version.id for name, version in first.items()} == {name: each.id for name, each in second.items()}


def test_all_parts_are_committed_or_none(workspace: Workspace, tmp_path: Path) -> None:
    """Parts were committed one by one: what stopped in between left a new part beside old ones."""
    source = dataset("visits").commit(FRAME)
    (tmp_path / "x").mkdir()
    dataset("visits-test").add(tmp_path / "x")
    with pytest.raises(InvalidError, match="`visits-test` is not a table"):
        split_dataset(source, HashSplit("user"))
    assert dataset("visits-train").versions() == []

    def stop(*_: object) -> None:
        if len(stopped) == 1:
            raise KeyboardInterrupt
        stopped.append(1)

    stopped: list[int] = []
    drafts = [Wanted(name, FrameDraft(name, FRAME, workspace.blobs), extra=[stop]) for name in ("one", "two")]
    with pytest.raises(KeyboardInterrupt):
        commit_drafts(workspace, drafts, extracted_us=0)
    assert dataset("one").versions() == []


def test_splits_at_the_same_time_do_not_mix(workspace: Workspace) -> None:
    visits = dataset("visits")
    versions = [visits.commit(FRAME.with_columns(pl.col("n") + step)) for step in (0, 1)]

    def split(version: DatasetVersion) -> None:
        with using(workspace):
            for seed in range(4):
                split_dataset(version, KFold(3, seed=seed), prefix="v")

    at_once(*(partial(split, version) for version in versions))
    for parts in zip(*(dataset(f"v-fold_{n}").versions() for n in (1, 2, 3)), strict=True):
        assert len({part.number for part in parts}) == 1
        assert len({(part.source[0].node, split_of(part)) for part in parts}) == 1


def test_a_later_version_grows_the_parts_and_moves_no_row(workspace: Workspace) -> None:
    visits = dataset("visits")
    before = split_dataset(visits.commit(FRAME), HashSplit("user"))
    after = split_dataset(visits.append(FRAME.with_columns(pl.col("n") + 400)), HashSplit("user"))
    for name, version in before.items():
        assert after[name].number == 2
        assert after[name].to_polars().head(version.rows).equals(version.to_polars())


def test_parts_have_the_names_that_are_given(workspace: Workspace) -> None:
    source = dataset("visits").commit(FRAME)
    parts = split_dataset(source, HashSplit("user"), prefix="v", names={"test": "held-out"}, note="for the paper")
    assert [str(version) for version in parts.values()] == ["v-train/1", "held-out/1"]
    assert parts["test"].note == "for the paper"
    with pytest.raises(NotFoundError, match="Nearest: train"):
        split_dataset(source, HashSplit("user"), names={"tests": "x"})
    for names in ({"test": "visits"}, {"test": "x", "train": "x"}):
        with pytest.raises(InvalidError, match="a dataset for each part"):
            split_dataset(source, HashSplit("user"), names=names)


def test_a_version_that_was_not_split_has_no_rule(workspace: Workspace) -> None:
    assert split_of(dataset("visits").commit(FRAME)) is None


def test_a_part_without_rows_is_a_version_too(workspace: Workspace) -> None:
    parts = split_dataset(dataset("visits").commit(FRAME), TimeSplit("n", 1000))
    assert (parts["train"].rows, parts["test"].rows) == (400, 0)
    assert parts["test"].columns == ("user", "n", "day")


def test_a_replay_gives_what_was_recorded_and_makes_nothing(workspace: Workspace) -> None:
    source = dataset("visits").commit(FRAME)
    before = split_dataset(source, HashSplit("user"))
    with within_task(new_id(), replay=Replay("then")):
        assert split_dataset(source, HashSplit("user"))["train"].id == before["train"].id
        with pytest.raises(NotAllowedError, match="it differs"):
            split_dataset(source, HashSplit("user", salt="other"))
    assert len(dataset("visits-train").versions()) == 1


def test_what_is_no_rule_is_refused(workspace: Workspace) -> None:
    source = dataset("visits").commit(FRAME)
    for rule in ("hash", TimeSeriesFolds(column="day")):
        with pytest.raises(WrongTypeError, match="a rule that cuts a table into parts"):
            split_dataset(source, rule)  # type: ignore[arg-type]  # what is tested
    for text in ("", "{}", '{"type": "magic"}', '{"type": "hash"}', '{"type": "hash", "key": ""}'):
        with pytest.raises(InvalidError, match="a rule of splitting"):
            read_rule(text)
