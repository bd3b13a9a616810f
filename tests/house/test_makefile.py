"""Every target of the Makefile is told in one line, and CI runs the command that people run."""

from __future__ import annotations

import re

from tests.house.source import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
WANTED = {"bench", "clean", "demo", "docs", "help", "lint", "soak", "test", "test-journeys", "test-outside"}


def test_every_target_has_a_line_of_help() -> None:
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())  # type: ignore[index]  # it is there
    told = set(re.findall(r"^([a-z-]+):.*## \w", MAKEFILE, re.MULTILINE))
    assert phony == told == WANTED


def test_ci_runs_what_people_run() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make .*$", script, re.MULTILINE) == ["make test", "make test-journeys", "make test-outside"]
    assert "- run: .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
