"""What an image needs beside its base, found by serving the sealed endpoint: distributions, the shared
libraries of the system that these are linked to, modules of the project.

Invariant: it depends on what the endpoint and those whom it needs declare, not on what else is installed here. Libraries
import what they find (scikit-learn has pytest, pandas), so what was imported is no need by itself.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import msgspec

from mainspring.deploy.shared import SharedLibrary, shared_of
from mainspring.deploy.tree import File
from mainspring.deploy.trial import Traced, traced_of
from mainspring.errors import MainspringError, NotAllowedError
from mainspring.models.libraries import distributions_needed
from mainspring.runs import read_environment
from mainspring.runs.environment import Environment, Installed, installed, normalised, platform_name, snapshot
from mainspring.serving.isolation.environment import own_distributions
from mainspring.serving.sealed import Sealed
from mainspring.workspace import Workspace

_OWN = "mainspring"
_INSTALLED = "-packages"  # how the folders of installed distributions end


class Needs(msgspec.Struct, frozen=True):
    """Pinned distributions, the files that serving imports by their paths in the import folder, and the project's sources.

    `python` is the minor version that all of it is for, `shared` what the distributions need of a system beside a base's,
    `library` the files of Python's own library that serving imports.
    """

    python: str
    distributions: dict[str, str]
    imported: frozenset[str]
    sources: dict[str, File]
    shared: tuple[SharedLibrary, ...] = ()
    library: frozenset[str] = frozenset()


def needs_of(sealed: Sealed, workspace: Workspace) -> Needs:
    """Serve a sealed endpoint in a process of its own, ask it, and see what that took of what it declares to need.

    If it imported more, it is served again without that, and has to answer. What it says is missing then is taken.

    Distributions have the versions that were recorded when the version was registered; what wasn't there then, those from here.

    Raises:
        NotFoundError: the version has no recorded environment.
        NotAllowedError: that is of another Python or system than this one, so that nothing here tells what it needs.
        MainspringError: it doesn't answer its example, or not without what nobody declares.
    """
    lock = read_environment(workspace.blobs, sealed.version.environment, f"Model version {sealed.version}")
    here = snapshot()
    if (lock.python_minor, lock.implementation) != (here.python_minor, here.implementation):
        said = f"`{sealed.version}` was registered with {lock.implementation} {lock.python_minor}, and this is "
        raise NotAllowedError(f"{said}{here.implementation} {here.python_minor}. Build its image with that.")
    known, roots = installed(workspace.cache), workspace.project.source_roots
    traced = _traced(sealed, lock, known, workspace)
    sources = {path: File(Path(file)) for file in traced.modules.values() if (path := _within(roots, file))}
    foreign = {name: file for name, file in traced.modules.items() if not _within(roots, file)}
    found = known.closure(_distributions(foreign, known))
    pins = {name: lock.distributions.get(name, version) for name, version in found.items()}
    shared = shared_of(
        traced.mapped, lambda file: _owner(file, known) or ("the project" if _within(roots, file) else "")
    )
    imported = {name: file for name, file in foreign.items() if name.partition(".")[0] not in sys.stdlib_module_names}
    return Needs(
        lock.python_minor, pins, frozenset(_import_paths(imported)), dict(sorted(sources.items())), shared,
        frozenset(_import_paths(traced.library)),
    )  # fmt: skip


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


def _traced(sealed: Sealed, lock: Environment, known: Installed, workspace: Workspace) -> Traced:
    """What serving imports where nothing is but what it needs."""
    traced, roots = traced_of(sealed, workspace), workspace.project.source_roots
    own = {name: Path(file) for name, file in traced.modules.items() if _within(roots, file)}
    needed = {
        *own_distributions(lock, known),
        *known.distributions_of(chain.from_iterable(map(_imports, own.values()))),
    }
    if sealed.graph:
        needed |= {*known.distributions_of(["onnxruntime"])}
    else:
        needed |= distributions_needed(sealed.version, lock, known, workspace.blobs)
    foreign = {name: file for name, file in traced.modules.items() if name not in own}
    tops = {name.partition(".")[0] for name in own}
    while other := _distributions(foreign, known) - known.closure(needed).keys():
        try:
            return traced_of(sealed, workspace, _hidden(known, known.closure(needed)) - tops)
        except MainspringError as error:
            words = {normalised(word) for word in re.findall(r"[\w.-]+", str(error))}
            missing = {each for each in other if words & {each, *map(normalised, known.modules_of(each))}}
            if not missing:
                said = f"It doesn't answer without {', '.join(sorted(other))}, which nothing that it needs declares: {error}"
                raise MainspringError(said) from error
            needed |= missing
    return traced


def _hidden(known: Installed, needed: Mapping[str, str]) -> set[str]:
    """The distributions that are not needed, and the top-level modules that no needed one provides."""
    others = known.versions.keys() - needed.keys() - {_OWN}
    modules = {name for name, providers in known.providers.items() if others.issuperset(providers)}
    return others | (modules - sys.stdlib_module_names)


def _imports(file: Path) -> Iterator[str]:
    """The top-level modules that a module of the project imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_bytes())) if file.suffix == ".py" else ():
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _distributions(modules: Mapping[str, str], known: Installed) -> set[str]:
    tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    return set(known.distributions_of(tops)) - {_OWN}


def _owner(file: str, known: Installed) -> str:
    """The distribution that an installed file is of, as its place below the import folder tells; empty for any other file."""
    parts = Path(file).parts
    places = [number for number, part in enumerate(parts) if part.endswith(_INSTALLED)]
    top = parts[places[-1] + 1].partition(".")[0] if places else ""
    return ", ".join(known.distributions_of([top])) or normalised(top)


def _within(roots: Iterable[Path], file: str) -> str:
    """A file's path from the folder of the project that it lies in; empty if it is installed, or of the system."""
    path = Path(file)
    for root in roots:
        if path.is_relative_to(root):
            inside = path.relative_to(root)
            if not any(part.endswith(_INSTALLED) for part in inside.parts):
                return inside.as_posix()
    return ""


def _import_paths(modules: Mapping[str, str]) -> Iterable[str]:
    """Where modules lie below the folder that they are imported from."""
    for name, file in modules.items():
        path, parts = Path(file), name.split(".")
        if path.suffix == ".py":
            yield f"{'/'.join(parts)}{'/__init__' if path.stem == '__init__' else ''}.py"
