"""Splits of a dataset version, recorded: each part a version of a dataset of its own, linked to the rule and the source.

The rule is a node of the lineage whose label is the rule's text; a part has an edge `split_by` to it. All versions, nodes and
edges of a split are one transaction; a repeated split gives the versions that are there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from mainspring import clock
from mainspring.data._store import Extra
from mainspring.data.commit import commit_drafts
from mainspring.data.dataset import dataset
from mainspring.data.draft import Draft, Wanted
from mainspring.data.splits.folds import GroupKFold, KFold, StratifiedKFold
from mainspring.data.splits.groups import GroupSplit, StratifiedSplit
from mainspring.data.splits.hashed import HashSplit
from mainspring.data.splits.rule import SplitRule
from mainspring.data.splits.time import TimeSplit
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, listed
from mainspring.ledger import Ledger, current_task
from mainspring.store import BlobStore, Transaction
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    import polars as pl

Stored = HashSplit | TimeSplit | GroupSplit | StratifiedSplit | KFold | GroupKFold | StratifiedKFold
_log = logging.getLogger(__name__)
ROLE = "split_by"
LARGE_BYTES = 256 << 20  # in memory: larger versions are cut lazily, a third slower


def split_dataset(
    version: DatasetVersion, rule: SplitRule, *, prefix: str = "", names: Mapping[str, str] | None = None,
    note: str = "", workspace: Workspace | None = None,
) -> dict[str, DatasetVersion]:  # fmt: skip
    """Commit the parts of a version as datasets `PREFIX-PART`, the dataset's name being the prefix if none is given.

    `names` gives single parts another dataset. Of a large version rules by hash and by time hold no more than some rows,
    the others the columns that decide. All parts are committed in one transaction.

    Raises:
        WrongTypeError: it is no rule that can be recorded, or no version.
        InvalidError: as the rule's `apply` does; two parts would have one dataset, or one that of the source.
        NotAllowedError: this is a replay, and the parts differ from what was recorded.

    >>> import pathlib, tempfile
    >>> import polars as pl
    >>> workspace = Workspace.open(pathlib.Path(tempfile.mkdtemp()))
    >>> users = dataset("users", workspace).commit(pl.DataFrame({"id": range(100)}))
    >>> parts = split_dataset(users, HashSplit("id"), workspace=workspace)
    >>> str(parts["train"]), split_of(parts["train"], workspace)
    ('users-train/1', HashSplit(key=('id',), shares=(('train', 0.8), ('test', 0.2)), salt=''))
    """
    from mainspring.data._sources import describe_sources

    expect_version(version)
    workspace = workspace or current_workspace()
    text = write_rule(rule)
    homes = {part: (names or {}).get(part) or f"{prefix or version.dataset}-{part}" for part in rule.names}
    if unknown := [part for part in names or {} if part not in homes]:
        raise NotFoundError("part", unknown[0], tuple(homes))
    if len({*homes.values(), version.dataset}) <= len(homes):
        raise InvalidError("names", tuple(homes.values()), "a dataset for each part, none of them the source")
    with using(workspace), ExitStack() as stack:
        sources, linked = describe_sources(version), _linked(workspace.ledger, version, text)
        wanted = [
            Wanted(
                dataset(homes[part], workspace).name,
                stack.enter_context(_draft(homes[part], rows, workspace.blobs)),
                sources=sources, note=note or _note(part, rule), extra=[linked],
            )
            for part, rows in _parts(version, rule)
        ]  # fmt: skip
        versions = commit_drafts(workspace, wanted, extracted_us=clock.now_us())
    parts = dict(zip(homes, versions, strict=True))
    _warn_of_empty({part: each.rows for part, each in parts.items()}, version)
    return parts


def count_parts(version: DatasetVersion, rule: SplitRule) -> dict[str, int]:
    """How many rows each part would have; raises as the rule's `apply` does."""
    import polars as pl

    expect_version(version)
    parts = rule.apply_lazily(version.scan())
    rows = {name: part.select(pl.len()).collect(engine="streaming").item() for name, part in parts.items()}
    _warn_of_empty(rows, version)
    return rows


def _warn_of_empty(rows: Mapping[str, int], source: DatasetVersion) -> None:
    empty = [name for name, count in rows.items() if not count]
    if empty:
        _log.warning("of %s no row falls into %s: other shares, cuts or keys may give it some", source, listed(empty))


def split_of(version: DatasetVersion, workspace: Workspace | None = None) -> SplitRule | None:
    """The rule by which a version was split off another, or None if it was not; of several the newest."""
    expect_version(version)
    ledger = (workspace or current_workspace()).ledger
    rules = [edge.dst for edge in ledger.edges([version.id]) if edge.role == ROLE]
    nodes = sorted(ledger.nodes(rules).values(), key=lambda node: node.created_at)
    return read_rule(nodes[-1].label) if nodes else None


def write_rule(rule: SplitRule) -> str:
    """A rule as one line of JSON, its kind under `type`; raises `WrongTypeError` for what is no rule of ours."""
    if not isinstance(rule, Stored):
        raise WrongTypeError("rule", rule, "a rule that cuts a table into parts, e.g. HashSplit('id')")
    return msgspec.json.encode(rule).decode()


def read_rule(text: str) -> SplitRule:
    """The rule that `write_rule` wrote.

    Raises:
        InvalidError: it is no such text.

    >>> read_rule(write_rule(TimeSplit("day", "2013-10-01"))).names
    ('train', 'test')
    """
    try:
        rule: SplitRule = msgspec.json.decode(text, type=Stored)
    except msgspec.MsgspecError as error:
        raise InvalidError("rule", text, f"a rule of splitting ({error})") from error
    return rule


def _note(part: str, rule: SplitRule) -> str:
    return f"{part} of {type(rule).__name__}"


def _parts(version: DatasetVersion, rule: SplitRule) -> Iterator[tuple[str, pl.DataFrame | pl.LazyFrame]]:
    """The parts; lazy ones if the version is large."""
    from mainspring.data.tables.memory import in_memory_bytes

    if in_memory_bytes(version) > LARGE_BYTES:
        yield from rule.apply_lazily(version.scan()).items()
    else:
        yield from rule.apply(version.to_polars()).items()


@contextmanager
def _draft(name: str, rows: Any, blobs: BlobStore) -> Iterator[Draft]:
    from mainspring.data.tables.rows import FrameDraft

    if not hasattr(rows, "collect"):
        yield FrameDraft(name, rows, blobs)
        return
    from mainspring.data.tables.lazy import LazyDraft

    draft = LazyDraft(name, rows, blobs)
    try:
        yield draft
    finally:
        draft.close()


def _linked(ledger: Ledger, source: DatasetVersion, text: str) -> Extra:
    """Writes the rule's node and the edge to it."""
    node = blake3(f"{source.id}\0{text}".encode()).hexdigest()[:32]

    def write(tx: Transaction, version: DatasetVersion) -> None:
        task = current_task()
        ledger.node(tx, "split", node, text)
        ledger.edge(tx, version.id, ROLE, node, task)
        ledger.edge(tx, node, "read_from", source.id, task)

    return write
