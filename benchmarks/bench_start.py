"""What starting costs: `import mainspring` over a bare interpreter, `mainspring --help` over the imports it stands on.

Budgets: at most 60 ms over a bare interpreter; at most twice the time of importing click, msgspec and sqlite3. From a
byte-compiled copy of the package. `--small` starts each once.
"""

from __future__ import annotations

import compileall
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mainspring

CASES = {
    "bare interpreter": ["-c", "pass"],
    "import mainspring": ["-c", "import mainspring"],
    "import click, msgspec, sqlite3": ["-c", "import click, msgspec, sqlite3"],
    "mainspring --help": ["-m", "mainspring", "--help"],
}


def started_s(arguments: list[str], environment: dict[str, str]) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print each case's median, and the two ratios."""
    rounds = 1 if "--small" in sys.argv else 15
    source = Path(mainspring.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(source, Path(folder) / "mainspring", ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(folder, quiet=1)
        environment = {**os.environ, "PYTHONPATH": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        took: dict[str, list[float]] = {name: [] for name in CASES}
        for _ in range(rounds):  # in turn, so that a slow moment of the machine falls on all
            for name, arguments in CASES.items():
                took[name].append(started_s(arguments, environment))
    median = {name: statistics.median(times) * 1000 for name, times in took.items()}
    bare, imported, floor, shown = median.values()
    for name, value in median.items():
        print(f"{name:32} {value:6.1f} ms")
    print(f"import mainspring: {imported - bare:+.1f} ms over a bare interpreter (budget 60), {imported / bare:.2f} x")
    print(f"mainspring --help: {shown / floor:.2f} x the imports it stands on (budget 2)")


if __name__ == "__main__":
    main()
