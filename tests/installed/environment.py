"""An environment with no more than some extras of Mainspring, made of one that has all: what else is there is hidden."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def extras_of(page: Path) -> str:
    """The extras that a page says to install, with commas between; none is the core alone."""
    said = re.findall(r"pip install[ \n]'mainspring\[([\w,]+)\]'", page.read_text())
    return ",".join(said)


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
