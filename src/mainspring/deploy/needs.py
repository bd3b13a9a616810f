"""What an image needs beside its base, found by serving the sealed endpoint once: distributions, modules of the project."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from mainspring.deploy.tree import File
from mainspring.deploy.trial import imported_by
from mainspring.errors import NotAllowedError
from mainspring.runs import read_environment
from mainspring.runs.environment import Installed, installed, platform_name, snapshot
from mainspring.serving.sealed import Sealed
from mainspring.workspace import Workspace

_OWN = "mainspring"


class Needs(msgspec.Struct, frozen=True):
    """Pinned distributions, the files that serving imports by their paths in the import folder, and the project's sources.

    `python` is the minor version that all of it is for.
    """

    python: str
    distributions: dict[str, str]
    imported: frozenset[str]
    sources: dict[str, File]


def needs_of(sealed: Sealed, workspace: Workspace) -> Needs:
    """Serve a sealed endpoint in a process of its own, ask it, and see what that took.

    Distributions have the versions that were recorded when the version was registered; what wasn't there then, those from here.

    Raises:
        NotFoundError: the version has no recorded environment.
        NotAllowedError: that is of another Python or system than this one, so that nothing here tells what it needs.
        MainspringError: it doesn't answer its example.
    """
    lock = read_environment(workspace.blobs, sealed.version.environment, f"Model version {sealed.version}")
    here = snapshot()
    if (lock.python_minor, lock.implementation) != (here.python_minor, here.implementation):
        said = f"`{sealed.version}` was registered with {lock.implementation} {lock.python_minor}, and this is "
        raise NotAllowedError(f"{said}{here.implementation} {here.python_minor}. Build its image with that.")
    modules = imported_by(sealed, workspace)
    known = installed(workspace.cache)
    roots = workspace.project.source_roots
    sources = {path: File(Path(file)) for file in modules.values() if (path := _within(roots, file))}
    foreign = {name: file for name, file in modules.items() if not _within(roots, file)}
    found = known.closure(_distributions(foreign, known))
    pins = {name: lock.distributions.get(name, version) for name, version in found.items()}
    return Needs(lock.python_minor, pins, frozenset(_import_paths(foreign)), dict(sorted(sources.items())))


def is_own_platform(platform: str) -> bool:
    """Whether what is installed here is for a platform as images call it, `linux/amd64`."""
    system, _, machine = platform_name().partition("-")
    return platform == f"{system}/{machine_name(machine)}"


def own_platform() -> str:
    """The platform of images that this machine runs: Linux, on macOS, too."""
    return f"linux/{machine_name(os.uname().machine)}"


def machine_name(machine: str) -> str:
    """What images call a machine.

    >>> machine_name("x86_64"), machine_name("aarch64")
    ('amd64', 'arm64')
    """
    return {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine, machine)


def _distributions(modules: Mapping[str, str], known: Installed) -> set[str]:
    tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    return set(known.distributions_of(tops)) - {_OWN}


def _within(roots: Iterable[Path], file: str) -> str:
    """A file's path from the folder of the project that it lies in; empty if it is installed, or of the system."""
    path = Path(file)
    for root in roots:
        if path.is_relative_to(root):
            inside = path.relative_to(root)
            if not any(part.endswith("-packages") for part in inside.parts):
                return inside.as_posix()
    return ""


def _import_paths(modules: Mapping[str, str]) -> Iterable[str]:
    """Where modules lie below the folder that they are imported from."""
    for name, file in modules.items():
        path, parts = Path(file), name.split(".")
        if path.suffix == ".py" and parts[0] not in sys.stdlib_module_names:
            yield f"{'/'.join(parts)}{'/__init__' if path.stem == '__init__' else ''}.py"
