"""What differs between an environment that was recorded and the one here, and what of it matters.

Another minor version of Python, implementation or platform matters, and a distribution that is missing or of another version
if it is one of those that are needed; one that only is here, or another patch of Python, is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal

import msgspec

from mainspring.errors import NotFoundError
from mainspring.runs.environment import Environment, snapshot
from mainspring.runs.html import html_table
from mainspring.store import BlobStore

Kind = Literal["python", "platform", "distribution", "variable"]


class EnvironmentDifference(msgspec.Struct, frozen=True):
    """One thing that differs: what it was and what it is here (None: it isn't there), and whether that matters."""

    kind: Kind
    name: str
    recorded: str | None
    here: str | None
    matters: bool


class EnvironmentCheck(msgspec.Struct, frozen=True):
    """How the environment here differs from what `of`, a run or model version, recorded; what matters comes first."""

    of: str
    differences: tuple[EnvironmentDifference, ...]

    @property
    def is_alike(self) -> bool:
        """Whether nothing differs that matters."""
        return not any(each.matters for each in self.differences)

    def _repr_html_(self) -> str:
        rows = [[each.name, each.recorded, each.here, "matters" if each.matters else ""] for each in self.differences]
        return html_table([["", self.of, "here", ""], *rows])


def compare_environments(
    of: str,
    recorded: Environment,
    here: Environment | None = None,
    *,
    needed: Collection[str] | None = None,
    variables: Iterable[EnvironmentDifference] = (),
) -> EnvironmentCheck:
    """How an environment, the present one unless given, differs from a recorded one.

    `needed` are the distributions whose absence or other version matters; all that were recorded unless given. `variables`
    are differences that are known otherwise.
    """
    now = snapshot() if here is None else here
    found = [*_interpreter(recorded, now), *_distributions(recorded, now, needed), *variables]
    return EnvironmentCheck(of, tuple(sorted(found, key=lambda each: not each.matters)))


def read_environment(blobs: BlobStore, digest: str | None, of: str) -> Environment:
    """The environment that is recorded as a blob; raises `NotFoundError` if `of` recorded none."""
    if digest is None:
        raise NotFoundError("record", "environment", owner=of)
    return msgspec.json.decode(blobs.read(digest), type=Environment)


def _interpreter(recorded: Environment, here: Environment) -> Iterator[EnvironmentDifference]:
    was, now = (f"{each.implementation} {each.python}" for each in (recorded, here))
    if was != now:
        alike = (recorded.implementation, recorded.python_minor) == (here.implementation, here.python_minor)
        yield EnvironmentDifference("python", "python", was, now, not alike)
    if recorded.platform != here.platform:
        yield EnvironmentDifference("platform", "platform", recorded.platform, here.platform, True)


def _distributions(
    recorded: Environment, here: Environment, needed: Collection[str] | None
) -> Iterator[EnvironmentDifference]:
    for name in sorted(recorded.distributions.keys() | here.distributions.keys()):
        was, now = recorded.distributions.get(name), here.distributions.get(name)
        if was != now:
            matters = was is not None and (needed is None or name in needed)
            yield EnvironmentDifference("distribution", name, was, now, matters)
