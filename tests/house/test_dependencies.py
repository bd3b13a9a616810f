"""`pip install mainspring` stays small, and what is installed is pinned by name and version alone."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.source import ROOT, settings

MOST_DISTRIBUTIONS = 26
PIN = re.compile(r"[a-z0-9-]+==[0-9][\w.!+-]*")


def closure(requirements: list[str]) -> set[str]:
    """The distributions that requirements bring on this machine, by the metadata of what is installed."""
    found: set[str] = set()
    done: set[tuple[str, frozenset[str]]] = set()
    pending = [Requirement(text) for text in requirements]
    while pending:
        wanted = pending.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in done:
            continue
        done.add((name, frozenset(wanted.extras)))
        found.add(name)
        for text in own_requirements(name):
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                pending.append(needed)
    return found


def own_requirements(name: str) -> list[str]:
    if name == "mainspring":
        project = settings()["project"]
        extras = project["optional-dependencies"].items()
        return [*project["dependencies"], *(f"{text}; extra == '{extra}'" for extra, texts in extras for text in texts)]
    try:
        return distribution(name).requires or []
    except PackageNotFoundError as error:
        raise AssertionError(f"`{name}` is required but not installed; run `make test`") from error


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_core_brings_few_distributions() -> None:
    brought = closure(["mainspring"])
    assert len(brought) <= MOST_DISTRIBUTIONS, sorted(brought)


def test_a_pin_is_a_name_and_a_version() -> None:
    assert [line for line in pins() if not PIN.fullmatch(line)] == []
    assert pins() == sorted(pins(), key=lambda line: line.partition("==")[0])


def test_all_that_the_tests_install_is_pinned() -> None:
    pinned = {line.partition("==")[0] for line in pins()}
    assert closure(["mainspring[test]"]) - pinned - {"mainspring"} == set()


def test_every_pin_is_needed() -> None:
    pinned = {line.partition("==")[0] for line in pins()}
    assert pinned - closure(["mainspring[test]"]) == set()


def test_extras_of_the_core_are_in_all() -> None:
    extras = settings()["project"]["optional-dependencies"]
    named = set(re.findall(r"[\w-]+", extras["all"][0].partition("[")[2]))
    # XGBoost brings 300 MB for graphics cards; whoever has none takes `xgboost-cpu`. W&B's client is spoken to from outside.
    assert named == set(extras) - {"all", "examples", "lint", "test", "xgboost", "wandb"}


def test_the_changelog_accounts_for_every_dependency() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    core = [canonicalize_name(Requirement(line).name) for line in settings()["project"]["dependencies"]]
    extras = [
        canonicalize_name(Requirement(line).name)
        for extra, lines in settings()["project"]["optional-dependencies"].items()
        if extra not in {"lint", "test"}
        for line in lines
    ]
    assert {name for name in {*core, *extras} - {"mainspring"} if f"`{name}`" not in text} == set()
