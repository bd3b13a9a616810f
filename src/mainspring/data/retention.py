"""Removing versions: the record stays and says when, the data is no longer reachable, and `mainspring gc` collects it.

Kept, whatever is asked: the newest version, tagged ones, and those that a registered model came from (unless forced). What
remaining versions reach through their manifests is kept for them, whoever wrote it, in the transaction that removes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from mainspring import clock
from mainspring.data._store import DatasetStore, Living
from mainspring.data.reachable import needed_blobs
from mainspring.data.version import DatasetVersion
from mainspring.errors import ConflictError, InvalidError, NotAllowedError, RemovedError, WrongTypeError, listed
from mainspring.ledger import Ledger, is_replay
from mainspring.workspace import Workspace, current_workspace

_ATTEMPTS = 100  # each failed one means that somebody committed, compacted, tagged or removed meanwhile
_ITS_OWN = "follows"  # the edge to the version before, which says nothing of use
_RUNS = {"run", "task", "attempt"}


class Kept(msgspec.Struct, frozen=True):
    """A version that stays although the policy alone would remove it, and why."""

    version: str
    why: str


class Removal(msgspec.Struct, frozen=True):
    """What was removed, or would be: versions as `name/number`, and how many blobs nothing of the dataset names now."""

    removed: tuple[str, ...]
    kept: tuple[Kept, ...] = ()
    blobs: int = 0


def remove_version(ref: str | DatasetVersion, *, force: bool = False, workspace: Workspace | None = None) -> Removal:
    """Remove the data of one version, or of that named as `name/number`, by a time, or by its id.

    Raises:
        NotFoundError: there is no such version.
        RemovedError: it was removed already.
        NotAllowedError: it is the newest one, has a tag, or a registered model came from it, which only `force` overrides;
            or this is a replay.
    """
    from mainspring.data.dataset import get_dataset_version

    workspace = workspace or current_workspace()
    version = get_dataset_version(ref, workspace)
    if version.removed_at is not None:
        raise RemovedError("version", str(version), clock.from_us(version.removed_at).isoformat(timespec="seconds"))
    return _Remover(workspace, version.dataset).remove([version], force=force)


def remove_dataset(name: str, *, force: bool = False, workspace: Workspace | None = None) -> Removal:
    """Remove the data of all versions of a dataset, and its name; a commit of that name begins anew with the next number.

    Until then the records of the versions are found by their ids alone.

    Raises:
        NotFoundError: there is no such dataset.
        NotAllowedError: a version has a tag, or a registered model came from one, which only `force` overrides.
        WrongTypeError: it is no name.
    """
    if not isinstance(name, str):
        raise WrongTypeError("name", name, "the name of a dataset")
    return _Remover(workspace or current_workspace(), name).remove(None, force=force)


def expire_versions(
    name: str, *, keep_last: int | None = None, older_than: timedelta | None = None, keep_used: bool = False,
    dry_run: bool = False, workspace: Workspace | None = None,
) -> Removal:  # fmt: skip
    """Remove the versions of a dataset that are neither among the newest `keep_last` nor younger than `older_than`.

    The newest, tagged ones and those that registered models came from stay; with `keep_used` also those that runs used.

    Raises:
        NotFoundError: there is no such dataset.
        InvalidError: neither of the two is given.
    """
    if keep_last is None and older_than is None:
        raise InvalidError("policy", None, "given `keep_last`, `older_than`, or both")
    if keep_last is not None and keep_last < 1:
        raise InvalidError("keep_last", keep_last, "at least 1", "`remove_dataset` removes all of it.")
    remover = _Remover(workspace or current_workspace(), name)
    before_us = clock.now_us() - (older_than // timedelta(microseconds=1)) if older_than else None
    return remover.expire(keep_last or 0, before_us, keep_used=keep_used, dry_run=dry_run)


def release_blobs(name: str, workspace: Workspace) -> None:
    """Let go of the blobs of a dataset that none of its versions needs by now, e.g. since one was compacted."""
    _Remover(workspace, name).release()


class _Remover:
    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace, self.name = workspace, name
        self.store = DatasetStore(workspace.database, workspace.ledger)
        self._reached: dict[str, frozenset[str]] = {}

    def remove(self, versions: list[DatasetVersion] | None, *, force: bool) -> Removal:
        """These versions, or the whole dataset; refused as a whole."""
        self._refuse_replay()
        users = [] if force else self._users(versions or self._living().versions, models_only=True)
        for _ in range(_ATTEMPTS):
            living = self._living()
            chosen = living.versions if versions is None else versions
            if versions is not None and any(version.id == living.head for version in versions):
                raise NotAllowedError(
                    f"{versions[0]} is the newest version of `{self.name}`. Commit another one first, or remove the dataset."
                )
            tagged = [tag for tag, version in living.tags.items() if version in {each.id for each in chosen}]
            if tagged:
                raise NotAllowedError(f"`{self.name}` is tagged {listed(tagged)}. Take the tags away first.")
            if users:
                models = listed(sorted({user for _, user in users}))
                raise NotAllowedError(f"Registered models came from it: {models}. `force` removes it all the same.")
            done = self._commit(living, chosen, whole=versions is None, force=force)
            if done is not None:
                return done
            if versions is None and not force:
                users = self._users(self._living().versions, models_only=True)
        raise ConflictError(f"The dataset `{self.name}` is being written by too many others; nothing was removed.")

    def expire(self, keep_last: int, before_us: int | None, *, keep_used: bool, dry_run: bool) -> Removal:
        """What the policy names, but for what must stay."""
        self._refuse_replay()
        used: dict[str, str] = {}
        asked: set[str] = set()
        for _ in range(_ATTEMPTS):
            living = self._living()
            newest = sorted(living.versions, key=lambda version: -version.number)
            named = [each for each in newest[keep_last:] if before_us is None or each.created_at < before_us]
            fresh = [version for version in named if version.id not in asked]
            used |= dict(self._users(fresh, models_only=not keep_used))
            asked |= {version.id for version in fresh}
            tags = {version: tag for tag, version in living.tags.items()}
            why = {
                each.id: "the newest" if each.id == living.head else f"tagged `{tags[each.id]}`" if each.id in tags
                else f"used by {used[each.id]}" if each.id in used else "" for each in named
            }  # fmt: skip
            kept = tuple(Kept(str(each), why[each.id]) for each in named if why[each.id])
            chosen = [each for each in named if not why[each.id]]
            if dry_run:
                return Removal(tuple(map(str, chosen)), kept, self._loose(living, chosen))
            done = self._commit(living, chosen, whole=False, force=False)
            if done is not None:
                return msgspec.structs.replace(done, kept=kept)
        raise ConflictError(f"The dataset `{self.name}` is being written by too many others; nothing was removed.")

    def release(self) -> None:
        """Name only what the versions need; left to the next removal if the dataset is being written all the time."""
        for _ in range(_ATTEMPTS):
            living = self.store.living(self.name)
            if living is None or self._commit(living, [], whole=False, force=False) is not None:
                return

    def _living(self) -> Living:
        living = self.store.living(self.name)
        if living is None:
            raise self.store.not_found(self.name)
        return living

    def _commit(self, living: Living, chosen: list[DatasetVersion], *, whole: bool, force: bool) -> Removal | None:
        gone = {version.id for version in chosen}
        needed = self._needed(version for version in living.versions if version.id not in gone)
        loose = self.store.remove(self.name, living, chosen, needed, whole=whole, force=force)
        return None if loose is None else Removal(tuple(map(str, chosen)), (), loose)

    def _loose(self, living: Living, chosen: list[DatasetVersion]) -> int:
        gone = {version.id for version in chosen}
        needed = self._needed(version for version in living.versions if version.id not in gone)
        return len(self.store.blobs_of(self.name) - needed)

    def _needed(self, versions: Iterable[DatasetVersion]) -> set[str]:
        """Every blob that reading one of these versions may open."""
        return needed_blobs(self.workspace.blobs, versions, self._reached)

    def _users(self, versions: Iterable[DatasetVersion], *, models_only: bool) -> list[tuple[str, str]]:
        """The versions that something came from, each with what, nearest first."""
        found = []
        for version in versions:
            user = _user(self.workspace.ledger, version, models_only=models_only)
            if user:
                found.append((version.id, user))
        return found

    def _refuse_replay(self) -> None:
        if is_replay():
            raise NotAllowedError(f"A replay removes nothing; `{self.name}` stays as it is.")


def _user(ledger: Ledger, version: DatasetVersion, *, models_only: bool) -> str:
    """The registered model, or the task or run, that came from a version; empty if there is none."""
    seen, level = {version.id}, [version.id]
    while level:
        edges = [edge for edge in ledger.edges(level, "down") if edge.role != _ITS_OWN and edge.src not in seen]
        level = list(dict.fromkeys(edge.src for edge in edges))
        seen |= set(level)
        for node in ledger.nodes(level).values():
            if node.kind == "model_version":
                return f"model {node.label}"
            if not models_only and node.kind in _RUNS:
                return f"{node.kind} {node.label}"
    return ""
