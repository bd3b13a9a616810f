"""`python -m mainspring.deploy.traced REPORT ARGUMENTS...`: the command `mainspring`, which tells at its end what it imported.

The report is a JSON object: the file of each module by its name, without what this environment imports into every process,
and with what a server's parent imports.
"""

from __future__ import annotations

import atexit
import importlib
import json
import runpy
import sys
from pathlib import Path

_PARENT = "mainspring.serving.supervisor"
_BEFORE = frozenset(name for name in sys.modules if not name.startswith("mainspring"))


def report(path: Path) -> None:
    """Write which modules are loaded, and from where."""
    loaded = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name not in _BEFORE}
    path.write_text(json.dumps({name: file for name, file in sorted(loaded.items()) if isinstance(file, str)}))


if __name__ == "__main__":
    importlib.import_module(_PARENT)
    atexit.register(report, Path(sys.argv[1]))
    sys.argv = ["mainspring", *sys.argv[2:]]
    runpy.run_module("mainspring", run_name="__main__")
