"""`python -m mainspring.deploy.traced REPORT ARGUMENTS...`: the command `mainspring`, which tells at its end what it imported.

The report is a JSON object. `modules` has the file of each module by its name, without what this environment imports into
every process, and with what a server's parent imports; `library` all that are Python's own; `mapped` the shared objects of the
process, on Linux. What the variable `TRACED_HIDDEN` names, distributions and modules, is not here for the process, as it isn't
for a container without it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import re
import runpy
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

HIDDEN = "TRACED_HIDDEN"
_MAPS = Path("/proc/self/maps")
_PARENT = "mainspring.serving.supervisor"
_BEFORE = frozenset(name for name in sys.modules if not name.startswith("mainspring"))


def report(path: Path) -> None:
    """Write which modules are loaded, from where, and which shared objects are mapped."""
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    loaded = {name: file for name, file in sorted(files.items()) if isinstance(file, str)}
    modules = {name: file for name, file in loaded.items() if name not in _BEFORE}
    library = {name: file for name, file in loaded.items() if name.partition(".")[0] in sys.stdlib_module_names}
    path.write_text(json.dumps({"modules": modules, "library": library, "mapped": sorted(mapped())}))


def mapped() -> set[str]:
    """The files that this process runs code of: its program and shared objects; none where the system doesn't tell."""
    if not _MAPS.exists():
        return set()
    lines = (line.split(maxsplit=5) for line in _MAPS.read_text().splitlines())
    files = {line[5] for line in lines if len(line) == 6 and "x" in line[1]}
    return {file for file in files if os.path.isfile(file)}


class Narrowed:
    """A finder of modules and distributions, without some top-level modules and distributions."""

    def __init__(self, finder: Any, hidden: frozenset[str]) -> None:
        self._finder, self._hidden = finder, hidden

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the finder does it, if the module is not hidden."""
        if name.partition(".")[0] in self._hidden:
            return None
        found: ModuleSpec | None = self._finder.find_spec(name, path, target)
        return found

    def find_distributions(self, *context: Any) -> Iterable[Any]:
        """As the finder does it, without those that are hidden."""
        found = getattr(self._finder, "find_distributions", lambda *_: ())(*context)
        return (each for each in found if re.sub(r"[-_.]+", "-", each.name or "").lower() not in self._hidden)

    def invalidate_caches(self) -> None:
        """As the finder does it."""
        getattr(self._finder, "invalidate_caches", lambda: None)()


def hide(names: Iterable[str]) -> None:
    """Have this process import and know nothing of these modules and distributions."""
    hidden = frozenset(names)
    sys.meta_path[:] = [Narrowed(finder, hidden) for finder in sys.meta_path]


if __name__ == "__main__":
    hide(os.environ.pop(HIDDEN, "").split())
    importlib.import_module(_PARENT)
    atexit.register(report, Path(sys.argv[1]))
    sys.argv = ["mainspring", *sys.argv[2:]]
    runpy.run_module("mainspring", run_name="__main__")
