"""Watches the imports that Mainspring makes, and keeps for each project module what its import read.

A read belongs to the innermost project module that is being executed. What an installed library reads while it is
itself imported belongs to none: the distributions in the fingerprint answer for it.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, TracebackType

from mainspring.pipelines.code.reads import Kind, import_reads
from mainspring.pipelines.observation.observer import Observer, keep_read
from mainspring.pipelines.observation.places import own_addresses, own_paths
from mainspring.pipelines.observation.uncounted import imported_module, is_library_code
from mainspring.workspace import Workspace


class ImportWatch(Observer):
    """Watches what is imported from the project inside its `with` block. The workspace's own places never count.

    What a thread reads that the import started counts for every module that was imported inside the block.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(
            project_root=Path(workspace.project.root).resolve(), declared_files=(), declared_env=(),
            allowed_paths=own_paths(workspace), allowed_addresses=own_addresses(workspace),
        )  # fmt: skip
        self._thread = 0
        self._before: frozenset[str] = frozenset()
        self._unowned: list[tuple[Kind, str, str, str]] = []

    def __enter__(self) -> ImportWatch:
        self._thread = threading.get_ident()
        self._before = frozenset(sys.modules)
        super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        for name in [name for name in sys.modules if name not in self._before]:
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if isinstance(spec, ModuleSpec) and self._is_own(spec):
                import_reads().watched(spec)
                for what, read, path, by in self._unowned:
                    keep_read(spec, what, read, by=by, path=path)

    def _is_own(self, spec: ModuleSpec) -> bool:
        origin = spec.origin or ""
        if is_library_code(origin, self.root):  # nearly all are, and following links is slow
            return False
        return os.path.realpath(origin).startswith(self.root + os.sep)

    def _keep(self, kind: Kind, name: str, path: str, frame: FrameType) -> None:
        if threading.get_ident() != self._thread:
            self._unowned.append((kind, name, path, self._place(frame)))
            return
        spec = imported_module(frame, self.root, past_ours=True)
        if spec is not None:
            keep_read(spec, kind, name, by=self._place(frame), path=path)
