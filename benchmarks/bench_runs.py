"""What a run costs: twenty chained trivial steps in a fresh process, again from the cache, and the overhead of a step.

The floor, measured in the same run, is a fresh Python that keeps for each step a SHA-256 key, a file and a SQLite row. The
budgets were set on a machine where it took 0.03 s; on another one they are as many times its floor.
Everything is run from a byte-compiled copy of the package, with hash seed and threads fixed as `mainspring run` does.
If Kedro is on the PATH, its twenty nodes, of which it records nothing, are timed beside it. `--small` runs it once, briefly.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mainspring

STEPS = 20
FLOOR_S = 0.03  # where the budgets were set
BUDGETS_S = {"fresh process, recorded": 0.15, "again, all cached": 0.12}
FLOOR = f"""
import hashlib, os, sqlite3
os.makedirs("floor", exist_ok=True)
database = sqlite3.connect("floor/state.db", isolation_level=None)
database.execute("CREATE TABLE IF NOT EXISTS step (key TEXT, value TEXT)")
value = 0
for number in range({STEPS}):
    key = hashlib.sha256(f"{{number}} {{value}}".encode()).hexdigest()
    value += 1
    with open(f"floor/{{key}}", "w") as file:
        file.write(str(value))
    database.execute("INSERT INTO step VALUES (?, ?)", (key, str(value)))
"""
FLOW = """
import sys, time
import mainspring as ms

@ms.step
def add(value: int, number: int) -> int:
    return value + number

@ms.pipeline
def main(steps: int = 20) -> int:
    value = 0
    for number in range(steps):
        value = add(value, number)
    return value

if __name__ == "__main__":
    steps, options = int(sys.argv[1]), {"reuse": sys.argv[2] != "anew", "runner": sys.argv[3]}
    started = time.perf_counter()
    result = main.run(steps=steps, options=options)
    print(time.perf_counter() - started)
"""

KEDRO = f"""
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner

def add(value):
    return value + 1

nodes = [node(add, f"value{{number}}", f"value{{number + 1}}", name=f"add{{number}}") for number in range({STEPS})]
SequentialRunner().run(pipeline(nodes), DataCatalog({{"value0": MemoryDataset(0)}}))
"""


def compiled(package: Path, site: Path) -> Path:
    """A folder with a copy of the package and its bytecode."""
    shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(str(site), quiet=2)
    return site


def environment(site: Path) -> dict[str, str]:
    """The variables of a process that runs the compiled copy."""
    fixed = {"PYTHONPATH": str(site), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | fixed


def whole_s(arguments: list[str], folder: Path, variables: dict[str, str], python: str = sys.executable) -> float:
    """Wall time of a whole process."""
    started = time.perf_counter()
    subprocess.run([python, *arguments], cwd=folder, env=variables, check=True, capture_output=True)
    return time.perf_counter() - started


def driven_s(steps: int, runner: str, folder: Path, variables: dict[str, str]) -> float:
    """Time of the run alone, as the process itself measured it."""
    arguments = [sys.executable, "flow.py", str(steps), "anew", runner]
    ran = subprocess.run(arguments, cwd=folder, env=variables, check=True, capture_output=True, text=True)
    return float(ran.stdout)


def main() -> None:
    """Print the costs."""
    small = "--small" in sys.argv
    rounds, many = (1, 40) if small else (9, 220)
    with tempfile.TemporaryDirectory() as name:
        folder, package = Path(name) / "project", Path(mainspring.__file__).parent
        folder.mkdir()
        variables = environment(package.parent if small else compiled(package, Path(name) / "site"))
        (folder / "flow.py").write_text(FLOW)
        (folder / "floor.py").write_text(FLOOR)
        floor_s = min(whole_s(["floor.py"], folder, variables) for _ in range(rounds))
        print(f"{'floor':<32}{floor_s:8.3f} s")
        first_s = whole_s(["flow.py", str(STEPS), "reuse", "inline"], folder, variables)
        print(f"{'first run, new workspace':<32}{first_s:8.3f} s  x{first_s / floor_s:.1f}")
        for title, reuse in (("fresh process, recorded", "anew"), ("again, all cached", "reuse")):
            arguments = ["flow.py", str(STEPS), reuse, "inline"]
            spent_s = min(whole_s(arguments, folder, variables) for _ in range(rounds))
            budget_s = BUDGETS_S[title]
            print(
                f"{title:<32}{spent_s:8.3f} s  x{spent_s / floor_s:.1f}, budget {budget_s} s, x{budget_s / FLOOR_S:.1f}"
            )
        if kedro := shutil.which("kedro"):
            (folder / "nodes.py").write_text(KEDRO)
            python = str(Path(kedro).resolve().parent / "python")
            spent_s = min(whole_s(["nodes.py"], folder, variables, python) for _ in range(rounds))
            print(f"{'Kedro, which records nothing':<32}{spent_s:8.3f} s  x{spent_s / floor_s:.1f}")
        for runner, budget_ms in (("inline", 1), ("pool", 5)):
            few_s, all_s = (
                min(driven_s(n, runner, folder, variables) for _ in range(min(rounds, 3))) for n in (20, many)
            )
            each_ms = (all_s - few_s) / (many - 20) * 1e3
            share, budget_share = each_ms / floor_s / 1e3, budget_ms / FLOOR_S / 1e3
            print(
                f"{f'a step more, {runner}':<32}{each_ms:8.2f} ms x{share:.3f}, budget {budget_ms} ms, x{budget_share:.3f}"
            )


if __name__ == "__main__":
    main()
