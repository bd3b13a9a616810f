"""README and docs are true: examples run as shown, links lead somewhere, the CLI reference is what --help says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from docs.generate_cli import COMMAND_LINE, PAGE, reference
from tests.docs.page import blocks
from tests.house.source import ROOT, settings
from tests.installed.environment import extras_of, with_extras

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
EXECUTED = [page for page in PAGES if page.parent.name == "docs" or (page.name == "README.md" and page.parent == ROOT)]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page in a folder of its own and a fresh process, with no more than it has said to install."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")} | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(folder),
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "TERM": "dumb",
        **with_extras(""),
    }
    project = folder / "project"
    project.mkdir()
    script = str(Path(__file__).with_name("page.py"))
    hidden = {line: with_extras(extras)["HIDDEN_MODULES"] for line, extras in extras_of(page).items()}
    return subprocess.run(
        [sys.executable, script, str(page), json.dumps(hidden)],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.mark.journey
@pytest.mark.parametrize("page", EXECUTED, ids=name_of)
def test_the_examples_of_a_page_run_as_shown(page: Path, tmp_path: Path) -> None:
    ran = run(page, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    targets = {link.partition("#")[0] for link in LINK.findall(page.read_text()) if not re.match(r"[a-z]+:", link)}
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_the_package_carries_the_readme() -> None:
    assert (settings()["project"].get("readme") == "README.md") == (ROOT / "README.md").exists()


def test_the_cli_reference_is_what_help_says() -> None:
    is_built = find_spec("mainspring.cli") is not None and find_spec(COMMAND_LINE) is not None
    assert is_built == PAGE.exists()
    if is_built:
        assert PAGE.read_text() == reference(), "run `make docs`"


GOOD = """
```python
x = 20
```
<!-- file: deep/two.py -->
```python
print("the answer is 42 today")
```
```console
$ python deep/two.py
the answer is ... today
$ echo a \\
    b
a b
```
```python
>>> x + 1
21
```
<!-- no-run: it needs a cluster -->
```bash
$ false
```
<!-- exit: 3 -->
```console
$ exit 3
```
"""


def test_a_page_runs_in_order_and_in_one_namespace(tmp_path: Path) -> None:
    page = tmp_path / "good.md"
    page.write_text(GOOD)
    ran = run(page, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [block.kind for block in blocks(GOOD)] == ["", "file", "", "", "no-run", "exit"]


@pytest.mark.parametrize(
    "text",
    [
        "```python\n1 / 0\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ false\n```\n",
        "```bash\nfalse\n```\n",
        "<!-- exit: 1 -->\n```bash\n$ true\n```\n",
        "<!-- no-run: -->\n```bash\n$ true\n```\n",
    ],
)
def test_a_page_that_is_not_true_fails(text: str, tmp_path: Path) -> None:
    page = tmp_path / "bad.md"
    page.write_text(text)
    assert run(page, tmp_path).returncode != 0
