"""An environment with no more than some extras of Mainspring, made of one that has all: what else is there is hidden."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_INSTALL = re.compile(r"pip install\s'mainspring\[([\w,]+)\]'")


def extras_of(page: Path) -> dict[int, str]:
    """The extras that a page has said to install from each line on that says so, with commas between; none at its beginning."""
    text, said = page.read_text(), {0: ""}
    for found in _INSTALL.finditer(text):
        said[text.count("\n", 0, found.start()) + 1] = f"{list(said.values())[-1]},{found[1]}"
    return said


def with_extras(extras: str) -> dict[str, str]:
    """What to set for a process of Python that finds Mainspring with these extras alone."""
    return {"PYTHONPATH": str(Path(__file__).parent), "HIDDEN_MODULES": _hidden(extras)}


@cache
def _hidden(extras: str) -> str:
    """Modules that the tests have, and whoever installs Mainspring with these extras doesn't."""
    met, open_ = set[tuple[str, str]](), {("mainspring", extra) for extra in extras.split(",")}
    while open_:
        met |= open_
        open_ = {each for name, extra in open_ for each in _needed(name, extra)} - met
    brought = {name for name, _ in met}
    given = packages_distributions()
    return " ".join(name for name, by in given.items() if not brought & {canonicalize_name(each) for each in by})


def _needed(name: str, extra: str) -> set[tuple[str, str]]:
    """The distributions that one needs here, each with an extra of it or none."""
    try:
        wanted = [Requirement(each) for each in requires(name) or ()]
    except PackageNotFoundError:
        return set()  # for another platform
    wanted = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {(canonicalize_name(each.name), extra) for each in wanted for extra in {"", *each.extras}}
