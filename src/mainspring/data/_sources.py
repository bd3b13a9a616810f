"""What a version was read from, as nodes of the lineage: files by their bytes, addresses, other versions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blake3 import blake3

from mainspring.artifacts.paths import stored_name
from mainspring.data.version import Source
from mainspring.errors import NotFoundError, StorageError, WrongTypeError
from mainspring.secrets import redact
from mainspring.store import blob_digest

Origin = Any  # a path, an address, or a record of the lineage


def describe_sources(origins: Origin | Iterable[Origin]) -> tuple[Source, ...]:
    """Each origin once, in the order given; files are digested here.

    Raises:
        NotFoundError: no such file.
        StorageError: it is a folder, or can't be read.
        WrongTypeError: neither a path, an address, nor a record of the lineage.
    """
    if isinstance(origins, str | Path | Source) or hasattr(origins, "ledger_id") or not isinstance(origins, Iterable):
        origins = [origins]
    return tuple({source.node: source for source in map(_describe, origins)}.values())


def _describe(origin: Origin) -> Source:
    if isinstance(origin, Source):
        return origin
    if isinstance(getattr(origin, "ledger_id", None), str):
        return Source("record", str(origin), origin.ledger_id)
    if isinstance(origin, str) and "://" in origin and not origin.startswith("file://"):
        return source_of_address(origin)
    if isinstance(origin, str | Path):
        return _file(Path(str(origin).removeprefix("file://")))
    raise WrongTypeError("source", origin, "a path, an address, or a version, such as `dataset(name).latest()`")


def _file(path: Path) -> Source:
    path = path.expanduser().absolute()
    try:
        digest, size_bytes = blob_digest(path), path.stat().st_size
    except FileNotFoundError as error:
        raise NotFoundError("file", str(path)) from error
    except OSError as error:
        raise StorageError(str(path), f"the source can't be read ({error.strerror or error})") from error
    return source_of_file(name_of(path), digest, size_bytes)


def source_of_file(uri: str, digest: str, size_bytes: int) -> Source:
    """A file whose bytes were digested when they were read."""
    return _digested("source_file", uri, digest, size_bytes)


def source_of_folder(path: Path, digest: str, size_bytes: int) -> Source:
    """A folder whose files were digested as a tree when they were read."""
    return _digested("source_folder", name_of(path), digest, size_bytes)


def name_of(path: Path) -> str:
    """What an absolute path is called in the lineage: by the artifact or package it is in, else by its redacted address."""
    return stored_name(path) or _shipped_name(path) or redact(path.as_uri())


def _digested(kind: str, uri: str, digest: str, size_bytes: int) -> Source:
    return Source(kind, uri, _node(kind, uri, digest), digest, size_bytes)


def source_of_address(address: str) -> Source:
    """An address, secrets taken out."""
    address = redact(address)
    return Source("source_address", address, _node("source_address", address))


def _shipped_name(path: Path) -> str | None:
    """`package:name/file` for what an installed package ships, the same on every machine; None for any other path."""
    for folder in path.parents:
        if folder.name in ("site-packages", "dist-packages"):
            return f"package:{path.relative_to(folder).as_posix()}"
    return None


def _node(*parts: str) -> str:
    return blake3("\0".join(parts).encode()).hexdigest()[:32]
