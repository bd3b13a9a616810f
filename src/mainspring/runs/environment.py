"""The environment a run happens in: interpreter, platform, and every installed distribution with what it requires.

Names and versions are those of the listings of `sys.path`, which are read each time. What distributions provide and
require is in hundreds of files, read when code imports something, several times faster than by `importlib.metadata`, and
remembered in one file, and by the process for other workspaces it opens, until one of those folders changes.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
from blake3 import blake3

from mainspring.store.own_work import at_own_work
from mainspring.store.stamps import is_racy, real_time_ns

_VERSION = 4
_FILE_NAME = "distributions.msgpack"
_INFO = re.compile(r"^(?P<name>[A-Za-z0-9._]+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info$")
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?([^;]*)(?:;(.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_IS_EDITABLE = re.compile(r'"editable"\s*:\s*true')
_SELF = "mainspring"


class Environment(msgspec.Struct, frozen=True):
    """What a run records of its surroundings. `distributions` maps normalised names to versions."""

    python: str
    implementation: str
    platform: str
    distributions: dict[str, str]
    digest: str

    @property
    def python_minor(self) -> str:
        """Major and minor version, which cache keys use."""
        return ".".join(self.python.split(".")[:2])


class Installed(msgspec.Struct, frozen=True):
    """The installed distributions: versions, the top-level modules each provides, and what each requires.

    A requirement is a pair of the extra that asks for it (empty: always) and the requirement, as `name[extra,...]`.
    `editable` are those installed for editing (`pip install -e`), whose version says nothing of their code.
    """

    versions: dict[str, str]
    providers: dict[str, tuple[str, ...]]
    requirements: dict[str, tuple[tuple[str, str], ...]]
    editable: tuple[str, ...] = ()

    def distributions_of(self, import_names: Iterable[str]) -> tuple[str, ...]:
        """The distributions that provide these top-level modules, sorted."""
        return tuple(sorted({found for name in import_names for found in self.providers.get(name, ())}))

    def modules_of(self, distribution: str) -> list[str]:
        """The top-level modules that a distribution provides, as far as its metadata names them, sorted."""
        return sorted(module for module, names in self.providers.items() if distribution in names)

    def closure(self, distributions: Iterable[str]) -> dict[str, str]:
        """Versions of these distributions and of everything installed that they require, directly or not.

        Environment markers are not evaluated: a requirement that is installed counts, unless only an extra that nobody
        asked for wants it. Mainspring itself never counts.
        """
        reached: set[tuple[str, str]] = set()
        pending = [(normalised(name), "") for name in distributions]
        while pending:
            item = pending.pop()
            name, extra = item
            if item in reached or name not in self.versions or name == _SELF:
                continue
            reached.add(item)
            for wanted_by, requirement in self.requirements.get(name, ()):
                if wanted_by == extra:
                    needed, _, extras = requirement.partition("[")
                    pending.append((needed, ""))
                    pending += [(needed, word) for word in extras.rstrip("]").split(",") if word]
        return {name: self.versions[name] for name in sorted({name for name, _ in reached})}


class _Distribution(NamedTuple):
    name: str
    version: str
    requirements: tuple[tuple[str, str], ...]
    provides: set[str]
    is_editable: bool


class _Stored(msgspec.Struct, array_like=True):
    version: str
    folders: dict[str, str]
    installed: Installed


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares them.

    >>> normalised("Scikit_Learn")
    'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def snapshot(paths: Sequence[str] | None = None) -> Environment:
    """The present environment; `paths` stands in for `sys.path`."""
    versions: dict[str, str] = {}
    with at_own_work():
        for path in dict.fromkeys(sys.path if paths is None else paths):
            for _, name, version in _listed(path):
                versions.setdefault(name, version)  # the first on the path is the one that is imported
    python = ".".join(map(str, sys.version_info[:3]))
    implementation = sys.implementation.name
    facts = (python, implementation, platform_name(), sorted(versions.items()))
    digest = blake3(msgspec.json.encode(facts)).hexdigest()
    return Environment(python, implementation, platform_name(), versions, digest)


def installed(cache_dir: Path | None = None, paths: Sequence[str] | None = None) -> Installed:
    """What is installed at present, with requirements."""
    read_at_ns = real_time_ns()
    folders, changed_at_ns = _stamps(sys.path if paths is None else paths)
    version = f"{_VERSION} {sys.version}"
    path = cache_dir / _FILE_NAME if cache_dir is not None else None
    if path is not None:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            data = memoryview(path.read_bytes())
            if blake3(data[32:]).digest() == data[:32]:
                stored = msgspec.msgpack.decode(data[32:], type=_Stored)
                if stored.version == version and stored.folders == folders:
                    return stored.installed
    racy = is_racy(changed_at_ns, read_at_ns)
    found = _scan(folders, racy=racy)
    if path is not None and not racy:
        _write(path, msgspec.msgpack.encode(_Stored(version, folders, found)))
    return found


def metadata_folders(names: Collection[str], paths: Sequence[str] | None = None) -> dict[str, Path]:
    """The folders that say what the distributions of these names are, of those that are installed."""
    found: dict[str, Path] = {}
    for path in sys.path if paths is None else paths:
        for entry, name, _ in _listed(path):
            if name in names:
                found.setdefault(name, Path(path or ".", entry).resolve())
    return found


def distributions_of(import_names: Iterable[str], cache_dir: Path | None = None) -> tuple[str, ...]:
    """The installed distributions that provide these top-level modules."""
    return installed(cache_dir).distributions_of(import_names)


def closure(distributions: Iterable[str], cache_dir: Path | None = None) -> dict[str, str]:
    """Versions of these distributions and of all that they require, as installed at present."""
    return installed(cache_dir).closure(distributions)


def platform_name() -> str:
    """Operating system and machine, e.g. `linux-x86_64`."""
    return f"{sys.platform}-{os.uname().machine}"


def _write(path: Path, body: bytes) -> None:
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(blake3(body).digest() + body)
        scratch.replace(path)
    except OSError:  # a cache that can't be written is no error: it is only slower
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def _stamps(paths: Iterable[str]) -> tuple[dict[str, str], int]:
    """What tells that a folder holds the same distributions as before, and when the latest of them was changed."""
    stamps: dict[str, str] = {}
    latest_ns = 0
    for path in paths:
        if path in stamps or path.endswith(".zip"):
            continue
        if not path.endswith("-packages"):
            # A project's own folder changes with every file written there, so its listing tells, not its time.
            stamps[path] = " ".join(_entries(path or "."))
            continue
        with contextlib.suppress(OSError):
            stat = os.stat(path)
            changed_at_ns = max(stat.st_mtime_ns, stat.st_ctime_ns)
            stamps[path] = f"{stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"
            latest_ns = max(latest_ns, changed_at_ns)
    return stamps, latest_ns


def _scan(stamps: Mapping[str, str], *, racy: bool) -> Installed:
    found: dict[str, _Distribution] = {}
    for folder, stamp in stamps.items():
        for each in _distributions(folder) if racy else _kept_distributions(folder, stamp):
            found.setdefault(each.name, each)  # the first on the path is the one that is imported
    providers: dict[str, set[str]] = {}
    for each in found.values():
        for module in each.provides:
            providers.setdefault(module, set()).add(each.name)
    return Installed(
        {each.name: each.version for each in found.values()},
        {module: tuple(sorted(names)) for module, names in providers.items()},
        {each.name: each.requirements for each in found.values()},
        tuple(sorted(each.name for each in found.values() if each.is_editable)),
    )


@lru_cache(maxsize=16)
def _kept_distributions(folder: str, _stamp: str) -> tuple[_Distribution, ...]:
    """What a folder held when it had this stamp."""
    return _distributions(folder)


def _distributions(folder: str) -> tuple[_Distribution, ...]:
    found = []
    for entry, name, version in _listed(folder):
        info = os.path.join(folder, entry)
        is_editable = bool(_IS_EDITABLE.search(_text(info, "direct_url.json")))
        found.append(_Distribution(name, version, tuple(_requirements(info)), _provides(info), is_editable))
    return tuple(found)


def _listed(folder: str) -> Iterable[tuple[str, str, str]]:
    """The distributions of a folder: entry, name, version."""
    for entry in _entries(folder or "."):
        match = _INFO.match(entry)
        if match is not None:
            yield entry, normalised(match["name"]), match["version"]


def _entries(folder: str) -> list[str]:
    try:
        return sorted(entry for entry in os.listdir(folder) if entry.endswith("-info"))
    except OSError:
        return []


def _requirements(info: str) -> Iterable[tuple[str, str]]:
    text = _text(info, "METADATA") or _text(info, "PKG-INFO")
    for line in text.partition("\n\n")[0].splitlines():
        if line.startswith("Requires-Dist:"):
            match = _REQUIREMENT.match(line[14:])
            if match is not None:
                extras = ",".join(sorted(normalised(word) for word in (match[2] or "").split(",") if word.strip()))
                name = normalised(match[1]) + (f"[{extras}]" if extras else "")
                asked = [normalised(extra) for extra in _EXTRA.findall(match[4] or "")] or [""]
                yield from ((extra, name) for extra in asked)


def _provides(info: str) -> set[str]:
    found = set(_text(info, "top_level.txt").split())
    for line in _text(info, "RECORD").splitlines():
        head, slash, _ = line.partition("/")
        if slash:
            found.add(head)
        elif ".py," in line or ".so," in line:
            found.add(line.partition(".")[0])
    return {name for name in found if name.isidentifier() and not name.startswith(("__pycache__", "__editable__"))}


def _text(info: str, name: str) -> str:
    try:
        with open(os.path.join(info, name), encoding="utf-8", errors="replace") as file:
            return file.read().replace("\r\n", "\n")
    except OSError:
        return ""
