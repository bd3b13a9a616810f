"""What a verification found: counts by view and feature, and examples of what differs with the likely cause."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from html import escape
from typing import Any

import msgspec


class Cause(StrEnum):
    """Why a served value likely differs from the recomputed one."""

    TTL = "ttl"
    """It is right by another time to live."""
    DEFINITION = "definition"
    """Another version of the view gives it, or the recorded function gives something else now."""
    LATE = "late data"
    """It counts rows that were created only after the read."""
    FUTURE = "future"
    """It counts rows that happen only after the read."""
    FLOATS = "order of floats"
    """It differs in its last bits, as sums in another order do."""
    ZONE = "time zone"
    """It is right by times that are whole quarters of an hour off."""
    SOURCE = "source"
    """An earlier version of the source gives it: the rows were changed or removed since."""
    PUSHED = "push"
    """What was pushed is not what the source has now."""
    LEFT_OUT = "left out"
    """The store has events that the stream's dataset went on without."""
    OTHER_ROWS = "other rows"
    """The view's function gives it of the row alone: it looks at other rows, of which there are others each time."""
    INPUTS = "inputs"
    """It is computed of features that differ."""
    UNKNOWN = "unknown"


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was served and is not what the offline path gives. Times are microseconds since 1970."""

    vector: str
    service: str
    view: str
    feature: str
    entity: dict[str, Any]
    at_us: int
    served: Any
    expected: Any
    served_event_us: int | None
    expected_event_us: int | None
    cause: Cause
    why: str = ""


class FeatureParity(msgspec.Struct, frozen=True, kw_only=True):
    """One feature of a view in a service: how many values were compared, differ, and are equal within rounding."""

    feature: str
    compared: int
    mismatches: int
    rounded: int = 0


class ViewParity(msgspec.Struct, frozen=True, kw_only=True):
    """One view's version in a service's version.

    `verified` vectors have the same bits in all its features (`rounded` ones of them but for rounding by a function of
    Python), `mismatched` have not. Told apart is what can't be judged (yet): `pending` until the source has what was pushed
    or streamed, `unsettled` in the middle of a materialization, `gone` with the version of the source. `stale` are the
    verified ones that would have another value with all that was known at their instants. In `behind` reads something known
    was not in the store yet, for `behind_us` at most. `interrupted` says that there are unsettled ones, and a materialization
    was killed that nobody has run again.
    """

    service: str
    view: str
    prefix: str = ""
    vectors: int
    verified: int
    rounded: int = 0
    mismatched: int
    pending: int
    unsettled: int
    gone: int
    stale: int
    behind: int
    behind_us: int
    interrupted: bool = False
    features: tuple[FeatureParity, ...]
    causes: dict[str, int]


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found. `mismatches` are examples, some for each feature; the counts are of all.

    A vector is `verified` if all its views are, `mismatched` if one is; the others are `unjudged`. Of the
    verified ones `rounded` are so within rounding.
    """

    service: str
    since_us: int | None
    until_us: int | None
    vectors: int
    verified: int
    rounded: int = 0
    mismatched: int
    stale: int
    views: tuple[ViewParity, ...]
    mismatches: tuple[Mismatch, ...]
    failed: dict[str, str] = {}  # a Struct copies its defaults
    """The services that could not be verified, and why."""

    @property
    def unjudged(self) -> int:
        """Vectors that can't be judged, or not yet."""
        return self.vectors - self.verified - self.mismatched

    @property
    def passed(self) -> bool:
        """Whether there is evidence, and nothing differs or failed. No evidence is not a pass."""
        return self.verified > 0 and not self.mismatched and not self.failed

    @property
    def metrics(self) -> dict[str, float | None]:
        """Numbers for a gate: of the judged vectors the share that is verified, how many differ, the share of stale ones."""
        judged = self.verified + self.mismatched
        return {
            "parity": self.verified / judged if judged else None,
            "parity_mismatches": float(self.mismatched) if judged else None,
            "stale_share": self.stale / self.verified if self.verified else None,
        }

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Which way each metric goes."""
        return {"parity": True, "parity_mismatches": False, "stale_share": False}

    def __str__(self) -> str:
        lines = [_headline(self)]
        for view in self.views:
            prefix = f" ({view.prefix})" if view.prefix else ""
            lines.append(f"  {view.service} · {view.view}{prefix}: {said(view)}")
            lines += [
                f"    {each.feature}: {each.mismatches:,} of {each.compared:,} differ"
                for each in view.features
                if each.mismatches
            ]
        lines += [f"  {service} can't be verified: {why}" for service, why in self.failed.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def said(view: ViewParity) -> str:
    """A view's counts in words.

    >>> said(ViewParity(
    ...     service="late/1", view="weather/2", vectors=9, verified=7, mismatched=2, pending=0, unsettled=0,
    ...     gone=0, stale=1, behind=3, behind_us=90_000_000, features=(), causes={"ttl": 2},
    ... ))
    '7 of 9 verified, 2 differ (ttl), 1 stale'
    """
    within = f" ({view.rounded:,} within rounding)" if view.rounded else ""
    parts = [f"{view.verified:,} of {view.vectors:,} verified{within}"]
    if view.mismatched:
        causes = ", ".join(name for name, _ in Counter(view.causes).most_common())
        parts.append(f"{view.mismatched:,} differ ({causes})")
    words = {
        "pending": "not verifiable yet",
        "unsettled": f"unsettled{' (a materialization was killed; run it again)' if view.interrupted else ''}",
        "gone": "of removed data",
    }
    parts += [f"{count:,} {word}" for name, word in words.items() if (count := getattr(view, name))]
    return ", ".join([*parts, *([f"{view.stale:,} stale"] if view.stale else [])])


def _headline(report: ParityReport) -> str:
    of = f" of {report.service}" if report.service else ""
    if not report.vectors:
        return f"No served vectors{of} are logged."
    if report.mismatched:
        return (
            f"{report.mismatched:,} of {report.vectors:,} served vectors{of} differ from what the offline path gives."
        )
    rest = f"; {report.unjudged:,} can't be judged (yet)" if report.unjudged else ""
    how = f"bit for bit but {report.rounded:,} within rounding" if report.rounded else "bit for bit"
    return f"{report.verified:,} of {report.vectors:,} served vectors{of} are what the offline path gives, {how}{rest}."
