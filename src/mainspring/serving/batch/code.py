"""The project's code that a model calls, by the files that hold it: what a version says of a model doesn't tell it.

It is told from the sources alone, so that it is the same whichever process asks, from wherever, and whichever one answers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mainspring import clock
from mainspring.errors import GraphError
from mainspring.models import ModelVersion
from mainspring.models.pickled import CODEC
from mainspring.pipelines.code.fingerprint import Fingerprinter
from mainspring.pipelines.code.modules import ModuleFile
from mainspring.pipelines.session import source_roots
from mainspring.runs.environment import snapshot
from mainspring.store import blob_digest
from mainspring.workspace import Workspace

_MACHINE = clock.SystemClock()
_IMPORTED_US = _MACHINE.now_us()
_STARTED = 19  # the place of `starttime` behind the name, proc_pid_stat(5)


def code_of(version: ModelVersion, workspace: Workspace) -> dict[str, ModuleFile]:
    """The project's modules that the model's classes and functions load, themselves included, by name.

    A pickle may name any module, so all of them are its code, and so they are where one is no valid Python. Of a model that
    brings nothing of the project it is none.
    """
    encoded = version.encoded
    if encoded is None or not (encoded.brings or encoded.codec == CODEC):
        return {}
    root = workspace.project.root.resolve()
    known = Fingerprinter(root, workspace.cache, snapshot(), 1, import_roots=source_roots(workspace, root))
    homes = {each.partition(":")[0] for each in encoded.brings}
    found: list[ModuleFile] = []
    with suppress(GraphError):
        found = [each for home in homes if known.project.find(home) is not None for each in known.modules(home)]
    if not found:
        every = known.project.modules.everything()
        found = [ModuleFile(each.name, each.path) for each in every if each.path is not None]
    return {each.name: each for each in sorted(found, key=lambda each: each.name)}


def code_digests(code: Mapping[str, ModuleFile]) -> dict[str, str]:
    """What the files of modules hold."""
    return {name: blob_digest(each.path) for name, each in code.items()}


def may_be_older(code: Mapping[str, ModuleFile]) -> bool:
    """Whether this process may have loaded one of these modules, or runs it, before its file became what it is."""
    began_us, runs = process_began_us(), os.path.abspath(getattr(sys.modules["__main__"], "__file__", None) or "")
    loaded = [each.path for name, each in code.items() if name in sys.modules or str(each.path) == runs]
    return any(path.stat().st_ctime_ns // 1_000 >= began_us for path in loaded)


def process_began_us() -> int:
    """When this process began, by the machine's clock; where the system doesn't tell, as on macOS, before all files."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_STARTED])
        age_s = float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0
    return min(_MACHINE.now_us() - int(age_s * 1e6), _IMPORTED_US)
