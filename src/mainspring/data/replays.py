"""What a commit came to when it was recorded: a replay is given that version, and makes none.

A version counts if the rows or files of the replay, put behind what they were put behind then, have its content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mainspring.data._store import DatasetStore
from mainspring.data.draft import Making, Wanted
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import Replay


class _Outcome(NamedTuple):
    """A version, and the id of that behind which something was put: its parent, or its own if nothing changed."""

    version: DatasetVersion
    base: str | None

    @property
    def is_made(self) -> bool:
        return self.base != self.version.id


def recorded_versions(store: DatasetStore, replay: Replay, name: str, make: Making) -> list[DatasetVersion]:
    """The versions that a commit to a dataset, and to those that went with it, made or found unchanged then.

    Only what the repeated task did to a dataset counts, in its order; if nothing was recorded as its own, any version does.

    Raises:
        NotAllowedError: what was recorded has other content, or what it was put behind was removed.
    """
    key = (name, store.database)
    own: list[_Outcome] = replay.outcomes.get(key) or _outcomes_of(store, name, replay)
    removed: DatasetVersion | None = None
    problem: Exception | None = None
    for at, outcome in enumerate(own or _outcomes_of_any(store, name)):
        base = store.by_id(outcome.base) if outcome.base else None
        try:
            others = as_recorded(make, base, outcome.version)
        except (InvalidError, NotFoundError, FileNotFoundError) as error:
            # What doesn't fit behind a version was not put behind it; or what that version names is gone.
            problem, removed = error, base if base is not None and base.removed_at else removed
            continue
        if others is not None:
            # That nothing changed is recorded once, however often it was found; what lies behind may be another thread's.
            following = at + outcome.is_made
            replay.outcomes[key] = [*own[following:], *own[:following]]
            return [outcome.version, *(_recorded_version(store, replay, each) for each in others)]
    if removed is not None:
        raise NotAllowedError(
            f"A replay commits nothing, and {removed}, behind which this was put then, was removed: it can't be compared."
        ) from problem
    raise NotAllowedError(
        f"A replay commits nothing, and no version of `{name}` was recorded with this content: it differs."
    ) from problem


def _recorded_version(store: DatasetStore, replay: Replay, wanted: Wanted) -> DatasetVersion:
    return recorded_versions(store, replay, wanted.name, lambda _: [wanted])[0]


def _outcomes_of(store: DatasetStore, name: str, replay: Replay) -> list[_Outcome]:
    """What the repeated task's commits came to, in their order; what only an earlier attempt of it made comes last."""
    made, same = store.outcomes(name, replay.task)
    own = store.made_by([replay.task])
    found = [*(_Outcome(each, each.parent) for each in made), *(_Outcome(each, each.id) for each in same)]

    def place(outcome: _Outcome) -> tuple[bool, int, bool]:
        is_earlier = outcome.is_made and outcome.version.id not in own
        return is_earlier, outcome.version.number, not outcome.is_made  # a version is found unchanged once it is made

    return sorted(found, key=place)


def _outcomes_of_any(store: DatasetStore, name: str) -> list[_Outcome]:
    """Each version as it was made, newest first, then each as it may have been found unchanged."""
    versions = store.versions(name)
    return [*(_Outcome(each, each.parent) for each in versions), *(_Outcome(each, each.id) for each in versions)]


def as_recorded(make: Making, base: DatasetVersion | None, version: DatasetVersion) -> Sequence[Wanted] | None:
    """What is committed together with the version if the commit makes that of this base; None if it makes another one."""
    own, *others = make(base)
    own.draft.put_behind(base if own.behind else None)
    return others if own.draft.content_digest == version.content_digest else None
