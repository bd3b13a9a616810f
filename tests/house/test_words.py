"""Names say what a thing is; nothing is left open or silenced; no address of a machine is in the tree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.house.source import CODE, ROOT, python_files, relative, said

DRAWERS = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "handler", "processor"}
LEFT_OPEN = re.compile(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b|pragma: no cover")
SILENCED = re.compile(r"#\s*(?:type:\s*ignore|noqa)\b")
# A code in brackets or behind a colon, and then a reason: `# type: ignore[arg-type]  # stubs lack the overload`
SILENCED_WITH_REASON = re.compile(
    r"#\s*(?:type:\s*ignore\[[\w, -]+\]|noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)\s+#\s*\w+.*\s\w+"
)
HIDDEN_TEST = re.compile(r"\bimportorskip\b|pytest\.skip\(|mark\.skip\b|mark\.skipif\((?!(?:not )?sys\.platform)")
# `ada` is the user of our examples, and no machine's.
MACHINE_PATH = re.compile(r"(?<![\w.}/:-])/(?:home|Users|root|work|mnt|tmp|private)/(?!ada\b)\w")
THIS_FILE = Path(__file__).resolve()


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in small letters."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def lines_with(pattern: re.Pattern[str], *folders: str) -> list[str]:
    found = []
    for path in python_files(*folders):
        for number, line in enumerate(said(path).lines, 1):
            if path != THIS_FILE and pattern.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()}")
    return found


def test_no_file_is_a_drawer() -> None:
    parts = {part for path in python_files(*CODE) for part in path.relative_to(ROOT).with_suffix("").parts}
    assert {part for part in parts if words(part) & DRAWERS} == set()


def test_no_class_or_function_is_a_drawer() -> None:
    found = [
        f"{relative(path)}:{each.line}: {each.name}"
        for path in python_files("src")
        for each in said(path).definitions
        if words(each.name) & DRAWERS
    ]
    assert found == []


def test_nothing_is_left_open() -> None:
    assert lines_with(LEFT_OPEN, "src") == []


def test_what_is_silenced_has_a_reason_beside_it() -> None:
    assert [line for line in lines_with(SILENCED, *CODE) if not SILENCED_WITH_REASON.search(line)] == []


def test_no_test_is_hidden() -> None:
    assert lines_with(HIDDEN_TEST, "tests") == []


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if path != THIS_FILE:
            found += [
                f"{relative(path)}:{n}" for n, line in enumerate(text.splitlines(), 1) if MACHINE_PATH.search(line)
            ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "reasoned"),
    [
        ("x = 1  # type: ignore[arg-type]  # the stubs lack an overload", True),
        ("x = 1  # noqa: S301  # signed by this workspace", True),
        ("x = 1  # type: ignore", False),
        ("x = 1  # type: ignore[arg-type]", False),
    ],
)
def test_a_reason_is_told_from_none(line: str, reasoned: bool) -> None:
    assert SILENCED.search(line)
    assert bool(SILENCED_WITH_REASON.search(line)) == reasoned
