"""The Python that workers run in: this one, or a virtual environment with the distributions that were recorded.

Invariant: an environment is built apart and renamed when it is whole, and used only while it holds what was recorded.
Mainspring itself, and what is installed here for editing, is taken as it stands here, by links: no index has it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec
from blake3 import blake3

from mainspring.errors import RebuildError
from mainspring.ledger import new_id
from mainspring.pipelines import guard
from mainspring.runs.environment import Environment, installed, metadata_folders, platform_name, snapshot

FOLDER = "environments"
_SELF = "mainspring"
_UNREACHED = ("connection", "name resolution", "timed out", "unreachable", "proxy")
_LONGEST_REASON = 300
# What has a Python find other modules than its own; a server passes on its own path so, and all on it would count as installed.
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "PYTHONPLATLIBDIR", "__PYVENV_LAUNCHER__")


class Interpreter(msgspec.Struct, frozen=True):
    """A program, and the folders that it imports installed distributions from (None: as this process does)."""

    program: str
    paths: tuple[str, ...] | None = None


def this_interpreter() -> Interpreter:
    """The one that runs here."""
    return Interpreter(sys.executable)


def rebuilt_interpreter(
    recorded: Environment, cache: Path, *, needed: Collection[str] | None = None, asked_by: str = "mainspring replay"
) -> Interpreter:
    """An interpreter with the recorded distributions, by pip as it is configured here; kept in the folder of caches.

    With `needed` it has these and what they require, as far as that was recorded in the recorded versions, and no others;
    one that wasn't recorded is of the version that is installed here. `asked_by` is the command that an error tells to call.

    Raises:
        RebuildError: it takes another Python than this, pip isn't installed here, or it can't get a distribution.
    """
    here = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    wanted = f"{recorded.implementation} {recorded.python_minor}"
    if wanted != here:
        hint = f"Call `{asked_by}` by a Python {recorded.python_minor} that has Mainspring."
        raise RebuildError(f"{wanted}", f"as this is {here}", hint)
    present = installed(cache)
    own = {_SELF, *present.editable}
    known = recorded.distributions | ({} if needed is None else _unrecorded(needed, recorded, present.versions))
    pins = {name: version for name, version in sorted(known.items()) if name not in own}
    roots = None if needed is None else sorted({*needed} & pins.keys())
    key = msgspec.json.encode(
        (pins, sys.version, sys.base_prefix, platform_name(), *([] if roots is None else [roots]))
    )
    folder = cache / FOLDER / blake3(key).hexdigest(16)
    if folder.is_dir() and not _holds(folder, pins, own, roots):
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.is_dir():
        _build(folder, pins, roots)
    os.utime(folder)  # for the collector: it is in use
    link_distributions({_SELF, *(own & recorded.distributions.keys())}, _packages(folder))
    return Interpreter(str(folder / "bin" / "python"), (str(_packages(folder)),))


def _unrecorded(needed: Collection[str], recorded: Environment, here: Mapping[str, str]) -> dict[str, str]:
    """The versions here of what is needed and wasn't recorded."""
    return {name: here[name] for name in needed if name in here and name not in recorded.distributions}


def link_distributions(names: Collection[str], packages: Path) -> None:
    """Have another environment's folder of packages lead to distributions that are installed here."""
    found = installed()
    for name, metadata in metadata_folders(names).items():
        _link(packages / metadata.name, metadata)
        for module in found.modules_of(name) or [name.replace("-", "_")]:
            spec = find_spec(module)
            if spec is not None and spec.submodule_search_locations:
                _link(packages / module, Path(next(iter(spec.submodule_search_locations))))
            elif spec is not None and spec.origin:
                _link(packages / Path(spec.origin).name, Path(spec.origin))


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink() or link.readlink() != target:
        made = link.with_name(f"{link.name}.{new_id()}")
        made.symlink_to(target)
        made.replace(link)


def _holds(folder: Path, pins: dict[str, str], own: Collection[str], roots: Sequence[str] | None) -> bool:
    """Whether exactly the pins are installed there; or the roots, and whatever else of the pins."""
    there = snapshot([str(_packages(folder))]).distributions
    found = {name: version for name, version in there.items() if name not in own}
    if roots is None:
        return found == pins
    return found.keys() >= {*roots} and all(pins.get(name, version) == version for name, version in found.items())


def _build(folder: Path, pins: dict[str, str], roots: Sequence[str] | None) -> None:
    if find_spec("pip") is None:
        raise RebuildError("pip", "which installs the recorded distributions", "Install it: python -m ensurepip")
    partial = folder.with_name(f"{folder.name}.{new_id()}")
    try:
        _called(partial, "-m", "venv", "--without-pip", str(partial))
        if pins:
            lock, wanted = partial / "pins.txt", partial / "needed.txt"
            lines = {name: f"{name}=={version}\n" for name, version in pins.items()}
            lock.write_text("".join(lines.values()))
            wanted.write_text("".join(lines[name] for name in (pins if roots is None else roots)))
            how = ("--no-deps",) if roots is None else ("-c", str(lock))
            _called(
                partial, "-m", "pip", "--python", str(partial / "bin" / "python"), "install", "-q", *how, "--no-input",
                "--retries", "1", "--disable-pip-version-check", "-r", str(wanted),
            )  # fmt: skip
        with suppress(OSError):  # another process was first
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _called(folder: Path, *arguments: str) -> None:
    """Have this Python do something for a folder; if this process ends meanwhile, however it does, both end with it."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    python = [sys.executable, "-P"]  # which finds nothing that the current folder has
    read, held = os.pipe()
    with tempfile.TemporaryFile("w+", errors="replace") as said:  # no pipe, which what was left running could hold open
        try:
            process = subprocess.Popen(
                [*python, guard.__file__, str(folder), *python, *arguments], stdin=read, stdout=subprocess.PIPE,
                stderr=said, env=kept, start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(held)
            raise
        finally:
            os.close(read)
        with process:
            assert process.stdout is not None
            try:
                started = process.stdout.read()  # until the guard ends
            finally:
                os.close(held)
        if process.returncode < 0 and started:  # it was killed, and could end nothing
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(int(started), signal.SIGKILL)
        if process.returncode:
            said.seek(0)
            raise RebuildError(*_told(said.read().splitlines()))


def _told(lines: Sequence[str]) -> tuple[str, str]:
    """What can't be had and why, of what pip said.

    >>> _told(["ERROR: Could not find a version", "ERROR: No matching distribution found for toolz==0.1"])
    ('`toolz==0.1`', 'as no index that pip is told of has it')
    >>> _told(["error: command 'gcc' failed", "ERROR: Could not build wheels for lxml"])
    ('a distribution', 'as pip says: Could not build wheels for lxml')
    """
    said = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")] or list(lines[-1:])
    last = said[-1] if said else "nothing"
    missing = last.removeprefix("No matching distribution found for ")
    if missing == last:
        return "a distribution", f"as pip says: {last[:_LONGEST_REASON]}"
    warned = " ".join(line for line in lines if line.startswith("WARNING:")).lower()
    unreached = any(word in warned for word in _UNREACHED)
    return f"`{missing}`", f"as no index {'can be reached' if unreached else 'that pip is told of has it'}"


def _packages(folder: Path) -> Path:
    """Where an environment's packages are."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
