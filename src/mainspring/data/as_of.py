"""The versions and tags of a dataset as people name them: all of them, or those that there were as of a time or a version.

What is named is resolved once; from then on a history as of something shows the same, whatever is committed.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cached_property

from mainspring import clock
from mainspring.data._store import DatasetStore
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.ledger import current_task, note_moving

Ref = int | str | date | DatasetVersion
"""What names a version of a dataset: see `named`."""
_WANTED = "a version's number, tag or id, a time, or a version"
_MOST_DIGITS = 10  # of a number; longer ones are ids or times


class History:
    """What a dataset of this name has, up to what `as_of` names if anything is."""

    def __init__(self, store: DatasetStore, name: str, as_of: Ref | None = None) -> None:
        self.store, self.name = store, name
        self.as_of = None if as_of is None else named(as_of, name, "as_of")

    @cached_property
    def _last(self) -> int | None:
        """The number of the last version that is shown, 0 if there was none yet; None if all are."""
        if self.as_of is None:
            return None
        found = self._find(self.as_of, None)
        if found is None and not isinstance(self.as_of, datetime):
            raise (
                self.store.not_found(self.name)
                if self.store.head(self.name) is None
                else self._missing(self.as_of, None)
            )
        return found.number if found is not None else 0

    def newest(self) -> DatasetVersion | None:
        """The newest version that is shown, or None; raises `NotFoundError` if there is no such version to be as of."""
        return self._find("latest", self._last)

    def versions(self) -> list[DatasetVersion]:
        """The versions that are shown, newest first; raises as `newest` does."""
        return self.store.versions(self.name, self._last)

    def tags(self) -> dict[str, str]:
        """The tags with the ids of their versions.

        As of a time those that have pointed there since, as of a version those of it and of versions before it.
        """
        until_us = clock.to_us(self.as_of) if isinstance(self.as_of, datetime) else None
        return self.store.tags(self.name, until_us, self._last)

    def version(self, ref: Ref) -> DatasetVersion:
        """The version that is named, which the task at work is then recorded to have read.

        Raises:
            NotFoundError: there is no such version among those that are shown, or no such dataset.
            InvalidError: a prefix fits several versions, a time has no zone, or it is a version of another dataset.
        """
        asked = named(ref, self.name, "version")
        if self.store.head(self.name) is None:
            raise self.store.not_found(self.name)
        found = self._find(asked, self._last)
        if asked == "latest" and self.as_of is not None:
            asked = self.as_of
        if found is None:
            raise self._missing(asked, self._last)
        if asked == "latest" or isinstance(asked, datetime):
            note_moving("dataset", f"{self.name}/{'latest' if asked == 'latest' else 'as of a time'}")
        elif asked in self.store.tags(self.name):
            note_moving("dataset", f"{self.name}/{asked}")
        task = current_task()
        if task is not None:
            self.store.note_read(found, task)
        return found

    def _find(self, ref: int | str | datetime, last: int | None) -> DatasetVersion | None:
        if ref == "latest":
            return self.store.head(self.name) if last is None else self.store.by_number(self.name, last)
        if isinstance(ref, datetime):
            return self.store.as_of(self.name, clock.to_us(ref), last)
        if isinstance(ref, int):
            return self.store.by_number(self.name, ref) if last is None or ref <= last else None
        tagged = (self.store.tags(self.name) if last is None else self.tags()).get(ref)
        return self.store.by_id(tagged) if tagged else self.store.by_prefix(ref, self.name, last)

    def _missing(self, ref: int | str | datetime, last: int | None) -> NotFoundError:
        versions = self.store.versions(self.name)
        hint = f"The newest is {versions[0]}."
        if last == 0 or (isinstance(ref, datetime) and clock.to_us(ref) < versions[-1].created_at):
            made_at = clock.from_us(versions[-1].created_at).isoformat(timespec="seconds")
            hint = f"There was none yet: the first one, {versions[-1]}, was made at {made_at}."
        elif last is not None:
            hint = f"As of {_told(self.as_of)} the newest is {self.name}/{last}."
        return NotFoundError("version", f"{self.name}/{_told(ref)}", hint=hint)


def named(ref: Ref, name: str, path: str) -> int | str | datetime:
    """What names a version of the dataset `name`, in one form: a number, a time, or text (a tag, an id, `latest`).

    Text may also be a number (`3`, `v3`), a time (`2026-11-21`, `2026-11-21T10:00:00+01:00`) or have the dataset's name in
    front (`flights/3`, `flights@3`). A date is its midnight; that and text without a zone are UTC. `path` is for errors.

    Raises:
        InvalidError: a `datetime` has no zone, or it is a version of another dataset.
        WrongTypeError: it is nothing of these.
    """
    if isinstance(ref, DatasetVersion):
        return _of(ref.dataset, ref.id, name, path, ref)
    if isinstance(ref, datetime):
        if ref.tzinfo is None:
            hint = "Say its zone, e.g. `.replace(tzinfo=UTC)` or `.astimezone()`."
            raise InvalidError(path, ref.isoformat(), "a time with a zone", hint)
        return ref
    if isinstance(ref, date):
        return datetime(ref.year, ref.month, ref.day, tzinfo=UTC)
    if isinstance(ref, int) and not isinstance(ref, bool):
        return ref
    if not isinstance(ref, str):
        raise WrongTypeError(path, ref, _WANTED)
    owner, text = parted(ref)
    text = _of(owner, text, name, path, ref) if text else ref
    digits = text.removeprefix("v")
    return int(digits) if digits.isdecimal() and len(digits) < _MOST_DIGITS else _instant(text) or text


def parted(reference: str) -> tuple[str, str]:
    """The name of a dataset and what names its version, empty if nothing does, of `flights`, `flights/3`, `flights@3`."""
    name, _, ref = reference.replace("@", "/", 1).partition("/")
    return name, ref


def _of(owner: str, ref: str, name: str, path: str, given: object) -> str:
    if owner != name:
        raise InvalidError(path, str(given), f"a version of `{name}`")
    return ref


def _instant(text: str) -> datetime | None:
    """The time that a text says, in UTC if it says no zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _told(ref: object) -> str:
    return ref.isoformat() if isinstance(ref, datetime) else str(ref)
