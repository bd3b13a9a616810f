"""What differs from a recorded environment, and what of that matters."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mainspring.runs import compare_environments
from mainspring.runs.environment import Environment

RECORDED = Environment("3.11.4", "cpython", "linux-x86_64", {"numpy": "2.0.0", "toolz": "0.12.0"}, "d")


def told(here: Environment, needed: set[str] | None = None) -> list[tuple[str, str | None, str | None, bool]]:
    found = compare_environments("run 1", RECORDED, here, needed=needed)
    return [(each.name, each.recorded, each.here, each.matters) for each in found.differences]


def test_the_same_environment_differs_in_nothing() -> None:
    assert compare_environments("run 1", RECORDED, RECORDED).is_alike


@pytest.mark.parametrize(
    ("changes", "name", "matters"),
    [
        ({"python": "3.11.9"}, "python", False),
        ({"python": "3.12.0"}, "python", True),
        ({"implementation": "pypy"}, "python", True),
        ({"platform": "darwin-arm64"}, "platform", True),
    ],
)
def test_another_patch_of_python_is_told_and_another_minor_version_or_platform_matters(
    changes: dict[str, str], name: str, matters: bool
) -> None:
    found = told(replace(RECORDED, **changes))
    assert [(each[0], each[3]) for each in found] == [(name, matters)]


def test_distributions_that_are_needed_matter_and_come_first() -> None:
    here = replace(RECORDED, distributions={"numpy": "2.1.0", "zstd": "1"})
    missing, other, more = ("toolz", "0.12.0", None), ("numpy", "2.0.0", "2.1.0"), ("zstd", None, "1")
    assert told(here) == [(*other, True), (*missing, True), (*more, False)]
    assert told(here, {"toolz"}) == [(*missing, True), (*other, False), (*more, False)]
    assert told(here, set()) == [(*other, False), (*missing, False), (*more, False)]
