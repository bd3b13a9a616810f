"""Where the files of pinned distributions come from: given wheels, what is installed here, or an index by pip.

Invariant: whichever it is, the files are the same; a version that is pinned is never another one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from mainspring.deploy.distributions import installed_tree, wheel_name, wheel_tree
from mainspring.deploy.needs import is_own_platform
from mainspring.deploy.tree import Tree
from mainspring.errors import InvalidError, RebuildError, shorten
from mainspring.runs.environment import snapshot

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_GLIBC = (36, 35, 34, 31, 28, 27, 26, 24, 17)  # minor versions that wheels are made for, up to that of Debian 12


def trees_of(
    pins: Mapping[str, str], *, platform: str, python: str, cache: Path, wheels: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Tree]:  # fmt: skip
    """The files of each pinned distribution, by its name.

    Wheels of the folder `wheels` come first. What is installed here in the pinned version is taken as it is, for the platform
    of this machine; everything else is downloaded by pip, from the index that it is set to, and kept in `cache`.

    Raises:
        RebuildError: there is no wheel of one of them.
        InvalidError: `wheels` is no folder.
    """
    if wheels is not None and not wheels.is_dir():
        raise InvalidError("wheels", str(wheels), "a folder of wheels")
    here = snapshot().distributions if is_own_platform(platform) else {}
    found = {}
    for name, version in pins.items():
        if tell is not None:
            tell(f"{name} {version}")
        wheel = _among(wheels, name, version, platform, python) if wheels is not None else None
        if wheel is None and here.get(name) == version:
            found[name] = installed_tree(name)
            continue
        kept = cache / "wheels" / f"{platform.replace('/', '-')}-{python}"
        wheel = (
            wheel or _among(kept, name, version, platform, python) or _downloaded(name, version, platform, python, kept)
        )
        found[name] = wheel_tree(wheel)
    return found


def _among(folder: Path, name: str, version: str, platform: str, python: str) -> Path | None:
    """A wheel of a folder, the one for this very machine before one for any."""
    if not folder.is_dir():
        return None
    machine = _machine(platform)
    fitting = [
        path for path in sorted(folder.glob("*.whl"))
        if wheel_name(path) == (name, version) and _fits(path.stem.split("-")[-3:], machine, python)
    ]  # fmt: skip
    return max(fitting, key=lambda path: path.stem.endswith(machine), default=None)


def _fits(tags: list[str], machine: str, python: str) -> bool:
    interpreter, abi, system = tags
    own = f"cp{python.replace('.', '')}"
    is_python = own in interpreter or abi in ("abi3", "none")
    return is_python and (system == "any" or ("manylinux" in system and system.endswith(machine)))


def _machine(platform: str) -> str:
    machine = platform.partition("/")[2]
    return _MACHINES.get(machine, machine)


def _downloaded(name: str, version: str, platform: str, python: str, folder: Path) -> Path:
    machine = _machine(platform)
    systems = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC] + [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), "--python-version", python, "--implementation", "cp"]
    command += [word for system in systems for word in ("--platform", system)]
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([*command, f"{name}=={version}"], capture_output=True, text=True, check=False)
    found = _among(folder, name, version, platform, python)
    if done.returncode or found is None:
        said = (
            [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines() or [""]
        )
        reason = f"for {platform} pip says: {shorten(said[-1].removeprefix('ERROR: '), 200)}"
        raise RebuildError(f"a wheel of `{name}=={version}`", reason, "Give it with --wheels DIR.")
    return found
