"""Small projects written to a temporary folder, and their fingerprints taken afresh."""

from __future__ import annotations

import textwrap
from pathlib import Path

from mainspring.pipelines.code.fingerprint import Fingerprint, Fingerprinter
from mainspring.runs.environment import Environment, Installed

ENVIRONMENT = Environment("3.11.7", "cpython", "linux-x86_64", {}, "0")


class Sources:
    """A project whose files are given as text."""

    def __init__(self, root: Path, **files: str) -> None:
        self.root = root
        self.write(**files)

    def write(self, **files: str) -> None:
        """Write modules: `pkg__clean` is pkg/clean.py, `pkg__init` is pkg/__init__.py."""
        for name, text in files.items():
            parts = name.split("__")
            if parts[-1] == "init":
                parts[-1] = "__init__"
            path = self.root.joinpath(*parts).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def fingerprinter(self, cache_dir: Path | None = None, installed: Installed | None = None) -> Fingerprinter:
        """A fingerprinter that knows nothing yet."""
        known = installed or Installed({}, {}, {})
        return Fingerprinter(self.root, cache_dir, ENVIRONMENT, 1, distributions=lambda: known)

    def of(self, module: str = "steps", name: str = "go") -> Fingerprint:
        """A fingerprint taken afresh."""
        return self.fingerprinter().of(module, name)
