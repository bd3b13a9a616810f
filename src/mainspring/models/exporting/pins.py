"""What a model needs installed: the few distributions that it imports and what those need, in the recorded versions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from mainspring.models.version import InputKind, ModelVersion
from mainspring.runs import read_environment
from mainspring.runs.environment import installed, snapshot
from mainspring.workspace import Workspace

_TABLES: Mapping[str, tuple[str, ...]] = {"polars": ("polars",), "pandas": ("pandas",)}


class Pins(msgspec.Struct, frozen=True):
    """The interpreter's version, and distributions with theirs. `recorded` says that they are those of the registration."""

    python: str
    distributions: dict[str, str]
    recorded: bool

    def lines(self) -> list[str]:
        """As a file of requirements has them, without builds such as `+cpu`, which only one index has."""
        return [f"{name}=={version.partition('+')[0]}" for name, version in self.distributions.items()]


def pins_of(
    version: ModelVersion, workspace: Workspace, modules: Collection[str], kind: InputKind, *, written_by: str = ""
) -> Pins:
    """The distributions of some modules and of the tables that a model takes, in the versions of the registration.

    What wasn't installed then, such as onnxruntime, has the version that is installed here; so has what provides the module
    `written_by`, which wrote the file. A version without a recorded environment has all of them from here.
    """
    here = installed(workspace.cache)
    is_recorded = version.environment is not None
    lock = read_environment(workspace.blobs, version.environment, str(version)) if is_recorded else snapshot()
    found = here.closure(here.distributions_of([*modules, *_TABLES.get(kind, ())]))
    writers = here.distributions_of([written_by]) if written_by else ()
    pinned = {
        name: present if name in writers else lock.distributions.get(name, present) for name, present in found.items()
    }
    return Pins(lock.python, pinned, is_recorded)
