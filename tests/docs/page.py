"""Runs a documentation page as its reader would: block after block, in one folder and one namespace, output compared.

A comment before a block says what is special about it: `<!-- file: pipeline.py -->` writes the block to that file,
`<!-- exit: 1 -->` names the exit status of its last command, `<!-- no-run: reason -->` leaves it out.
"""

from __future__ import annotations

import doctest
import json
import linecache
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(
    r"^(?P<indent>[ ]*)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)
REMARK = re.compile(r"<!--\s*(?P<kind>file|exit|no-run):\s*(?P<value>(?:(?!-->).)*?)\s*-->\s*\Z", re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SHELLS = {"console", "bash", "sh", "shell"}


class Block(NamedTuple):
    """A fenced block of a page; `line` is where its text begins, `kind` and `value` are the comment before it."""

    language: str
    text: str
    line: int
    kind: str
    value: str


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for fence in FENCE.finditer(page):
        remark = REMARK.search(page[: fence.start()].rstrip())
        line = page.count("\n", 0, fence.start("text")) + 1
        text = re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)
        yield Block(fence["language"], text, line, remark["kind"] if remark else "", remark["value"] if remark else "")


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command behind `$ ` (a backslash continues it), with the output shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        last = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
        yield "\n".join(lines[: last + 1]), "".join(f"{line}\n" for line in lines[last + 1 :])


def check_output(where: str, expected: str, given: str) -> None:
    """Compare as a doctest does, `...` standing for anything; nothing expected means that nothing is compared."""
    if expected.strip() and not doctest.OutputChecker().check_output(expected, given, FLAGS):
        raise AssertionError(f"{where}: expected\n{expected}\ngot\n{given}")


def run_shell(block: Block, where: str) -> None:
    """Run the commands of a block in the present folder; one that fails unannounced is an error."""
    wanted_status = int(block.value) if block.kind == "exit" else 0
    steps = list(commands(block.text)) or [(block.text, "")]
    for number, (command, expected) in enumerate(steps, 1):
        ran = subprocess.run(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        wanted = wanted_status if number == len(steps) else 0
        if ran.returncode != wanted:
            raise AssertionError(f"{where}: `{command}` ended with {ran.returncode}, not {wanted}:\n{ran.stdout}")
        check_output(f"{where}: `{command}`", expected, ran.stdout)


def run_python(block: Block, where: str, namespace: dict[str, object]) -> None:
    """Run a block in the page's namespace; its source stays readable for tracebacks and for what records source."""
    filename = f"<{where}>"
    if block.text.lstrip().startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(block.text, namespace, where, filename, block.line)
        test.globs = namespace
        failed = doctest.DocTestRunner(optionflags=FLAGS).run(test, clear_globs=False).failed
        if failed:
            raise AssertionError(f"{where}: {failed} examples failed, see above")
        return
    linecache.cache[filename] = (len(block.text), None, block.text.splitlines(keepends=True), filename)
    exec(compile(block.text, filename, "exec"), namespace)


def hide(names: str) -> None:
    """Have these modules not installed, for this process and those that it starts."""
    os.environ["HIDDEN_MODULES"] = names
    vars(sys.modules["sitecustomize"])["HIDDEN"] = set(names.split())


def run_page(page: Path, hidden: dict[str, str]) -> None:
    """Run every block of a page in the present folder; `hidden` are the modules that aren't installed from a line on."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.path.insert(0, os.getcwd())
    for block in blocks(page.read_text()):
        where = f"{page.name}:{block.line}"
        hide([names for line, names in hidden.items() if int(line) <= block.line][-1])
        if block.kind == "no-run":
            if not block.value:
                raise AssertionError(f"{where}: a block that is not run needs a reason")
        elif block.kind == "file":
            Path(block.value).parent.mkdir(parents=True, exist_ok=True)
            Path(block.value).write_text(block.text)
        elif block.language in SHELLS:
            run_shell(block, where)
        elif block.language in {"python", "py", "pycon"}:
            run_python(block, where, vars(main))


if __name__ == "__main__":
    run_page(Path(sys.argv[1]), json.loads(sys.argv[2]))
