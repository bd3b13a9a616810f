"""The image below: Python and the libraries of its system, from a layout on this machine or from a registry."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from mainspring.deploy.layers import LAYER, Descriptor
from mainspring.deploy.layout import Blobs, copy_blob, image_of, opened_layout
from mainspring.deploy.registry import Reference, RegistryBlobs
from mainspring.deploy.tree import File, Tree
from mainspring.errors import InvalidError, shorten

_PLAIN = "application/vnd.oci.image.layer.v1.tar"
_LAYERS: Mapping[str, str] = {
    LAYER: LAYER, _PLAIN: _PLAIN, "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar": _PLAIN,
}  # fmt: skip
_LIBRARY = re.compile(r"(?:usr/)?(?:local/)?lib(?:64)?/(?:[^/]+-linux-gnu/)?(?P<name>[^/]+\.so(?:\.\d+)*)")
_REMOVED = ".wh."  # layer.md, "Whiteouts"
_MUSL = re.compile(r"(?:usr/)?lib/ld-musl-[^/]+")


class Base(msgspec.Struct, frozen=True):
    """An image to build on: how it is called, its digest, its configuration, its layers, where its Python is.

    `libraries` are the names of its shared libraries, where the loader looks for them.
    """

    name: str
    digest: str
    config: dict[str, Any]
    layers: tuple[Descriptor, ...]
    python: str
    libraries: frozenset[str]

    @property
    def variables(self) -> dict[str, str]:
        """The environment that it declares."""
        declared = self.config.get("config", {}).get("Env") or []
        return dict(line.partition("=")[::2] for line in declared)


def default_base(python_minor: str) -> str:
    """The image that is built on unless another is named, here or in the setting `image_base`."""
    return f"docker.io/library/python:{python_minor}-slim"


def is_path(given: str) -> bool:
    """Whether a base is meant that lies on this machine: something is there, or it is written as a path.

    >>> is_path("./base"), is_path("docker.io/library/python:3.11-slim")
    (True, False)
    """
    return given.startswith(("/", "./", "../", "~")) or Path(given).exists()


@contextmanager
def opened_base(given: str, cache: Path) -> Iterator[tuple[Reference | None, dict[str, Any], Blobs]]:
    """What a base is read from: its reference if it is in a registry, its index, its blobs.

    Raises:
        InvalidError: it is no image.
        NotFoundError: the registry has none of this name.
        UnavailableError: the registry can't be reached.
    """
    if is_path(given):
        with opened_layout(Path(given).expanduser()) as (index, blobs):
            yield None, index, blobs
        return
    reference = Reference.parse(given)
    remote = RegistryBlobs(reference, cache / "images")
    yield reference, remote.index(), remote


def check_base(given: str, platform: str, cache: Path) -> None:
    """Go on only with a base that is there for a platform; no layer is read.

    Raises:
        InvalidError: it is no image, or not of this platform.
        NotFoundError: the registry has none of this name.
        UnavailableError: the registry can't be reached.
        StorageError: what describes it is not what its digest says.
    """
    with opened_base(given, cache) as (_, index, blobs):
        image_of(index, blobs, platform, given)


def read_base(given: str, platform: str, python_minor: str, cache: Path, target: Path) -> Base:
    """Copy a base's layers into a folder of blobs, each held to its digest, and look for its Python.

    Raises:
        InvalidError: it is no image, has no Python of this version, or has musl, for which other wheels are made.
        NotFoundError: the registry has none of this name, or a blob is missing.
        UnavailableError: the registry can't be reached.
        StorageError: a blob is not what its digest says.
    """
    with opened_base(given, cache) as (reference, index, blobs):
        image = image_of(index, blobs, platform, given)
        layers = []
        for layer in image.layers:
            if layer.media_type not in _LAYERS:
                raise InvalidError("base", given, "an image with layers of tar or gzip", f"One is {layer.media_type}.")
            copy_blob(layer, blobs, target)
            layers.append(Descriptor(_LAYERS[layer.media_type], layer.digest, layer.size))
    paths = _paths(given, [target / layer.digest.removeprefix("sha256:") for layer in layers])
    libraries = frozenset(found["name"] for found in map(_LIBRARY.fullmatch, paths) if found)
    python, name = _python(given, python_minor, paths), str(reference) if reference else ""
    return Base(name, image.digest, image.config, tuple(layers), python, libraries)


def library_of(base: Base, blobs: Path, wanted: Collection[str]) -> tuple[str, Tree]:
    """The folder of Python's own library in a base, and those of its sources that are `wanted` and have no bytecode there."""
    folder = re.sub(r"bin/(python[\d.]+)$", r"lib/\1", base.python).lstrip("/")
    sources: dict[str, File] = {}
    compiled: set[str] = set()
    for layer in base.layers:
        with tarfile.open(blobs / layer.digest.removeprefix("sha256:")) as archive:
            for entry in archive:
                path = PurePosixPath(entry.name.removeprefix("./"))
                if not path.is_relative_to(folder):
                    continue
                inside = path.relative_to(folder)
                if inside.name.startswith(_REMOVED):
                    gone = inside.with_name(inside.name.removeprefix(_REMOVED))
                    sources = {
                        each: file for each, file in sources.items() if not PurePosixPath(each).is_relative_to(gone)
                    }
                elif inside.parent.name == "__pycache__":
                    compiled.add(str(inside.parent.parent / f"{inside.name.partition('.')[0]}.py"))
                elif str(inside) in wanted:
                    sources.pop(str(inside), None)
                    if (
                        entry.isfile()
                    ):  # a link may lead to another layer, so what it leads to is compiled at each start
                        content = archive.extractfile(entry)
                        sources[str(inside)] = File(content.read() if content else b"")
    return folder, {path: file for path, file in sorted(sources.items()) if path not in compiled}


def _paths(name: str, layers: list[Path]) -> set[str]:
    """The paths of all layers, none with the loader of musl."""
    found: set[str] = set()
    for layer in layers:
        try:
            with tarfile.open(layer) as archive:
                paths = [path.removeprefix("./") for path in archive.getnames()]
        except (OSError, tarfile.TarError) as error:
            raise InvalidError("base", name, "an image whose layers are tars", shorten(str(error), 200)) from error
        if any(map(_MUSL.fullmatch, paths)):
            raise InvalidError("base", name, "an image with glibc", "musl has other wheels: take `slim`, not `alpine`.")
        found.update(paths)
    return found


def _python(name: str, minor: str, paths: set[str]) -> str:
    """The interpreter of a minor version, the one of /usr/local first, as images of Python have it."""
    program = re.compile(rf"(?:usr/local/|usr/|opt/[^/]+/)?bin/python{re.escape(minor)}")
    found = set(filter(program.fullmatch, paths))
    if not found:
        raise InvalidError("base", name, f"an image with Python {minor}", f"It has no bin/python{minor}.")
    return "/" + min(found, key=lambda path: (not path.startswith("usr/local/"), path))
