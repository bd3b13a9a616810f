"""Which records of a paged API were taken already, so that each is taken once though pages shift, and none of them is lost.

Equal records are different rows, unless the reading before took them, or a page that was read is another by now.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from blake3 import blake3

from mainspring.data.ingestion.paging import Page, at_path
from mainspring.data.ingestion.source import State
from mainspring.errors import InvalidError

_KNOWN = 100_000  # records by their digests: 4 MB of state
_DIGITS = 1_000  # Python refuses numbers of more than 4,300
_COUNTS = ("left", "late", "again", "twice")
Records = list[dict[str, Any]]


class Seen:
    """What was taken: `known` are the records of the reading before by their digests, with how many there were of each, and
    `taken` those that this one met, the newest of them where they are many; `passed` are the last of the others. It asks from
    `start`; `high` is the greatest value of the cursor so far.

    A record is left out only if it is known, or taken and `is_shifted`: an API may look at the day alone, and may order texts
    otherwise than we do. To ask from any value that was given misses nothing that came since, so `high` needs no order that is
    the API's. Pages have shifted if one of the `anchors`, the first page and the one before, is another when it is asked for
    once more, as is done where a page holds what an earlier one held. Without a cursor all records are taken.
    `left` counts what was left out beside `start`, `late` what was taken from below it, `again` what earlier pages held,
    `twice` what may have been taken twice. A reading that takes what was taken before `is_again`.
    """

    def __init__(self, state: State, cursor: str, *, is_again: bool = False) -> None:
        self.cursor, self.is_again = cursor, is_again
        self.start, self.high = state.get("start"), state.get("high")
        self.known, self.taken = state.get("known", {}), OrderedDict[str, int](state.get("taken", {}))
        self.passed = OrderedDict[str, int](state.get("passed", {}))
        self.left, self.late, self.again, self.twice = (state.get(name, 0) for name in _COUNTS)
        self.is_shifted = state.get("is_shifted", False)
        self.anchors, self.last = _Anchors(state.get("anchors", [])), state.get("last", [])
        self.order = _Order(*state.get("order", ()))

    @classmethod
    def of(cls, state: State | None, cursor: str, *, is_again: bool) -> Seen:
        """From its JSON. Behind the last page the next reading starts from what was the greatest."""
        found = state or {}
        if not found.get("page"):
            high = found.get("high")
            order = (found.get("is_unordered", False), high)
            found = {"start": found.get("from", high), "high": high, "known": found.get("taken", {}), "order": order}
        return cls(found, cursor, is_again=is_again)

    def new(self, records: Records, origin: str, page: Page | None, ask: Callable[[Page], Records | None]) -> list[int]:
        """The places of a page's records that were not taken yet; the greatest value moves with them. To `ask` gives a page's
        records once more, or None.
        """
        if not self.cursor and self.is_again:
            return list(range(len(records)))
        digests = [_digest(msgspec.json.encode(each, order="sorted")) for each in records]
        if not self.cursor:
            self.twice += _overlap(self.last, digests)
            self.last = digests
            return list(range(len(records)))
        before = {digest: self.taken.get(digest, 0) or self.passed.get(digest, 0) for digest in digests}
        if any(before.values()) and not self.is_again:
            self._look(sum(map(bool, before.values())), ask)
        self.anchors = self.anchors.behind(page, digests)
        on_page = Counter[str]()
        places = []
        for place, (record, digest) in enumerate(zip(records, digests, strict=True)):
            value = self._value(record, origin)
            on_page[digest] += 1
            if self._takes(digest, value, on_page[digest], before[digest]):
                places.append(place)
        self.order.end_page(self.high)
        return places

    def _look(self, met: int, ask: Callable[[Page], Records | None]) -> None:
        """Whether the pages before are another by now; nobody knows it if they can't be read."""
        if not self.is_shifted:
            changed = self.anchors.changed(ask)
            self.is_shifted = bool(changed)
            self.twice += met if changed is None else 0

    def _value(self, record: dict[str, Any], origin: str) -> Any:
        """The record's value of the cursor."""
        value = at_path(record, self.cursor)
        is_text = isinstance(value, str)
        if not isinstance(value, int | float | str) or isinstance(value, bool):
            raise InvalidError(
                f"{origin}, column `{self.cursor}`", value, "a cursor that each record has: text or number"
            )
        if self.high is not None and is_text != isinstance(self.high, str):
            raise InvalidError(
                f"{origin}, column `{self.cursor}`", value, f"of one kind with `{self.high}`, seen before"
            )
        self.high = value if self.high is None else greater(self.high, value)
        return value

    def _takes(self, digest: str, value: Any, on_page: int, before: int) -> bool:
        """Whether to take the record that is so many-th of its equals on its page, behind so many on earlier pages."""
        is_repeated = self.is_shifted and on_page <= before
        number = on_page if self.is_shifted else before + on_page
        if not is_repeated:
            self._remember(digest, number, value)
        is_known = number <= self.known.get(digest, 0) and not self.is_again
        if is_repeated:
            self.again += not is_known
            return False
        self.order.take(value)
        if is_known:
            start = self.start
            is_asked_for = start is not None and start != self.order.high_before and not is_below(value, start)
            self.left += value != start and not is_asked_for
            return False
        self.late += not self.is_again and self.start is not None and is_below(value, self.start)
        return True

    def _remember(self, digest: str, count: int, value: Any) -> None:
        """That it was met; of too many the first are forgotten, or these if the greatest come first."""
        if digest not in self.taken and len(self.taken) >= _KNOWN:
            if self.high is not None and is_below(value, self.high):
                self.passed[digest] = count
                if len(self.passed) > _KNOWN:
                    self.passed.popitem(last=False)
                return
            self.taken.popitem(last=False)
        self.taken[digest] = count

    def state(self, page: Page | None) -> State:
        """As JSON, with the page to go on with. A reading that met nothing says nothing of what is known."""
        if page:
            return {
                "page": page, "high": self.high, "taken": dict(self.taken), "passed": dict(self.passed), "cursor": self.cursor,
                "start": self.start, "known": self.known, **{name: getattr(self, name) for name in _COUNTS},
                "is_shifted": self.is_shifted, "anchors": self.anchors.kept, "last": self.last, "order": self.order.parts,
            }  # fmt: skip
        if not self.cursor:
            return {"page": None, "high": None, "taken": {}}
        found: State = {"page": None, "high": self.high, "taken": dict(self.taken or self.known), "cursor": self.cursor}
        if self.order.is_none:
            found["is_unordered"] = True
            if len(self.taken) < _KNOWN:  # what would be given again is known
                found["from"] = self.order.sure
        return found


class _Anchors:
    """The first page of a reading and the one before: each with how many records it held, and the digest of them.

    One that more records came behind is the same: they shift nothing.
    """

    def __init__(self, kept: list[list[Any]]) -> None:
        self.kept = kept

    def behind(self, page: Page | None, digests: list[str]) -> _Anchors:
        """Those behind a page; None is one that can't be asked for again."""
        here = [] if page is None else [[page, len(digests), _digest("".join(digests).encode())]]
        return _Anchors([*self.kept[:1], *here])

    def changed(self, ask: Callable[[Page], Records | None]) -> bool | None:
        """Whether one is another by now; None if that can't be said."""
        answers = [(ask(page), count, digest) for page, count, digest in self.kept]
        found = [_of_page(records[:count]) != digest for records, count, digest in answers if records is not None]
        return True if any(found) else None if len(found) < len(answers) or not found else False


class _Order:
    """Whether an API gives records in the order of the cursor or against it, or in none.

    In none, a record that came while pages were read may stand on a page before, and a greater one on a page behind. It is
    greater than all that were there when reading began, so than `sure`, the greatest of the readings before and of the first
    page: the next reading asks from there. `high_before` is the greatest of the readings before.
    """

    def __init__(
        self, is_none: bool = False, high_before: Any = None, sure: Any = None, last: Any = None, goes: int = 0
    ) -> None:
        self.is_none, self.high_before, self.sure, self.last, self.goes = is_none, high_before, sure, last, goes

    @property
    def parts(self) -> list[Any]:
        """As JSON."""
        return [self.is_none, self.high_before, self.sure, self.last, self.goes]

    def take(self, value: Any) -> None:
        """The next record's value."""
        if self.last is not None:
            goes = is_below(self.last, value) - is_below(value, self.last)
            self.is_none = self.is_none or goes * self.goes < 0
            self.goes = goes or self.goes
        self.last = value

    def end_page(self, high: Any) -> None:
        """A page was read; the first one tells what is `sure`."""
        self.sure = high if self.sure is None else self.sure


def _digest(content: bytes) -> str:
    return blake3(content).hexdigest()[:32]


def _of_page(records: Records) -> str:
    return _digest("".join(_digest(msgspec.json.encode(each, order="sorted")) for each in records).encode())


def _overlap(last: list[str], digests: list[str]) -> int:
    """How many records at the end of a page stand at the start of the next one, as they do where pages shift.

    >>> _overlap(["c", "b", "a"], ["b", "a", "z"]), _overlap(["b", "a"], ["b", "z"])
    (2, 0)
    """
    longest = min(len(last), len(digests))
    return next((count for count in range(longest, 0, -1) if last[-count:] == digests[:count]), 0)


def greater(one: Any, other: Any) -> Any:
    """The greater of two values of a cursor; of those without an order that we know, by their letters."""
    return other if is_below(one, other, otherwise=str(one) < str(other)) else one


def is_below(one: float | str, other: float | str, *, otherwise: bool = False) -> bool:
    """Whether a value of a cursor is less than another by an order that no API has otherwise: that of numbers, also as digits,
    and of times, both with or both without a zone. Of others nothing is known but what is said `otherwise`.

    >>> is_below("9", "10"), is_below("2013-01-01T02:10+01:00", "2013-01-01T02:30+02:00"), is_below("a", "b")
    (True, False, False)
    """
    (kind, first), (other_kind, second) = _ordered(one), _ordered(other)
    return bool(first < second) if kind and kind == other_kind else otherwise


def _ordered(value: float | str) -> tuple[str, Any]:
    if not isinstance(value, str):
        return "number", value
    if value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        return "number", int(value)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return "", None
    return "time" if at.tzinfo is None else "zoned time", at
