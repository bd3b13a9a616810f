"""Digests of files and analyses of modules, remembered between processes in one file that is always safe to delete.

A file's digest is reused while its stat is the same, unless the file was written so shortly before it was read that a
later write could have kept the stat (git's racily-clean rule). An analysis is keyed by the digest of its source.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import msgspec
from blake3 import blake3

from mainspring.pipelines.code.facts import ModuleFacts
from mainspring.store.stamps import is_racy, real_time_ns

# Raise it whenever the same source would give other facts.
ANALYSIS_VERSION = 16
_FILE_NAME = "analyses.msgpack"
_MOST_ENTRIES = 20_000


class _Stat(msgspec.Struct, frozen=True, array_like=True):
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class _File(msgspec.Struct, frozen=True, array_like=True):
    stat: _Stat
    digest: str


class _Stored(msgspec.Struct, array_like=True):
    version: str
    files: dict[str, _File]
    modules: dict[str, msgspec.Raw]


class Analyses:
    """File digests and module facts, in memory and in one file of `folder` (`None` remembers nothing)."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _FILE_NAME if folder is not None else None
        self._version = f"{ANALYSIS_VERSION} {sys.hexversion:x} {sys.flags.optimize}"
        self._stored = self._load()
        self._facts: dict[str, ModuleFacts] = {}
        self._changed = False

    def digest(self, path: Path) -> str:
        """The BLAKE3 digest of a file's bytes.

        Raises:
            OSError: it can't be read.
        """
        return self._digest(str(path))[0]

    def facts(self, path: Path, name: str, *, package: bool, shown: str) -> ModuleFacts:
        """The analysis of one source file; `shown` is how errors call it.

        Raises:
            GraphError: it is not valid Python.
        """
        digest, data = self._digest(str(path))
        key = f"{digest} {name} {package:d} {shown}"
        found = self._facts.get(key)
        if found is not None:
            return found
        raw = self._stored.modules.get(key)
        with contextlib.suppress(msgspec.MsgspecError):
            found = msgspec.msgpack.decode(raw, type=ModuleFacts) if raw is not None else None
        if found is None:
            # Imported here: a process whose sources are all known never loads the parser.
            from mainspring.pipelines.code.source import analyse

            found = analyse(path.read_bytes() if data is None else data, name, package=package, filename=shown)
            self._stored.modules[key] = msgspec.Raw(msgspec.msgpack.encode(found))
            self._changed = True
        self._facts[key] = found
        return found

    def flush(self) -> None:
        """Write what was learnt, atomically. A cache that can't be written is no error: it is only slower."""
        if self._path is None or not self._changed:
            return
        if len(self._stored.files) + len(self._stored.modules) > _MOST_ENTRIES:
            self._stored.files.clear()
            self._stored.modules = {key: msgspec.Raw(msgspec.msgpack.encode(f)) for key, f in self._facts.items()}
        scratch = self._path.with_name(f"{_FILE_NAME}.{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            body = msgspec.msgpack.encode(self._stored)
            scratch.write_bytes(blake3(body).digest() + body)
            scratch.replace(self._path)
            self._changed = False
        except OSError:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)

    def _digest(self, path: str) -> tuple[str, bytes | None]:
        now = real_time_ns()
        found = os.stat(path)
        stat = _Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        known = self._stored.files.get(path)
        if known is not None and known.stat == stat:
            return known.digest, None
        with open(path, "rb") as file:
            data = file.read()
        digest = blake3(data).hexdigest()
        if not is_racy(max(stat.mtime_ns, stat.ctime_ns), now):
            self._stored.files[path] = _File(stat, digest)
            self._changed = True
        return digest, data

    def _load(self) -> _Stored:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            if self._path is not None:
                data = self._path.read_bytes()
                stored = msgspec.msgpack.decode(memoryview(data)[32:], type=_Stored)
                if blake3(memoryview(data)[32:]).digest() == data[:32] and stored.version == self._version:
                    return stored
        return _Stored(self._version, {}, {})
