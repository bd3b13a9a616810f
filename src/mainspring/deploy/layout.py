"""An OCI image layout, as a folder or as one tar of it: read, with each blob held to its digest, and written.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md. What Docker's own media types name has the same
bytes, and is read, too.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from mainspring.deploy.layers import Descriptor
from mainspring.errors import InvalidError, NotFoundError, StorageError, shorten
from mainspring.foreign import read_foreign

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
VERSION = {"imageLayoutVersion": "1.0.0"}
CHUNK_BYTES = 1 << 20
_MOST_DOCUMENT_BYTES = 4 << 20  # what registries take for a manifest
_DEPTH = 4  # of indexes within indexes
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Blobs(Protocol):
    """Where an image's blobs are read from: a folder, a tar, a registry."""

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """The bytes of a blob, not yet held to its digest.

        Raises:
            NotFoundError: there is no such blob.
        """
        ...


class Image(msgspec.Struct, frozen=True):
    """One image for one platform: its manifest's digest, its configuration as it is, and its layers, the lowest first."""

    digest: str
    config: dict[str, Any]
    layers: tuple[Descriptor, ...]


class FolderBlobs:
    """The blobs of a layout in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, descriptor: Descriptor) -> BinaryIO:
        return self.member(blob_path(descriptor.digest))

    def member(self, path: str) -> BinaryIO:
        """A file of the layout; raises as `open` does."""
        if not (self._root / path).is_file():
            raise NotFoundError("file", path, owner=str(self._root))
        return (self._root / path).open("rb")


class TarBlobs:
    """The blobs of a layout in a tar, which stays open as long as this does."""

    def __init__(self, archive: tarfile.TarFile, name: str) -> None:
        self._archive, self._name = archive, name
        self._members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}

    def open(self, descriptor: Descriptor) -> BinaryIO:
        return self.member(blob_path(descriptor.digest))

    def member(self, path: str) -> BinaryIO:
        """A file of the layout; raises as `open` does."""
        found = self._archive.extractfile(self._members[path]) if path in self._members else None
        if found is None:
            raise NotFoundError("file", path, owner=self._name)
        return found  # type: ignore[return-value]  # typeshed names the class that implements it


@contextmanager
def opened_layout(path: Path) -> Iterator[tuple[dict[str, Any], Blobs]]:
    """The index of a layout, and its blobs.

    Raises:
        InvalidError: it is neither a folder nor a tar with a layout.
    """
    with ExitStack() as stack:
        try:
            blobs: FolderBlobs | TarBlobs = (
                FolderBlobs(path) if path.is_dir() else TarBlobs(stack.enter_context(tarfile.open(path)), path.name)
            )
            with blobs.member("index.json") as file:
                index = read_foreign(file.read(_MOST_DOCUMENT_BYTES), _decode)
        except (OSError, tarfile.TarError, ValueError, NotFoundError) as error:
            said = (
                f"{shorten(str(error), 200)} Docker's older form becomes one by `skopeo copy docker-archive:… oci:…`."
            )
            raise InvalidError("base", str(path), "an OCI image layout, a folder or a tar of one", said) from error
        yield index, blobs


def image_of(index: dict[str, Any], blobs: Blobs, platform: str, name: str) -> Image:
    """The image of an index for a platform, `linux/amd64`; of an index that names no platforms, its only one.

    Raises:
        InvalidError: there is none for the platform, or what is there is no image.
        StorageError: a document is not what its digest says.
    """
    descriptor = _chosen(index, blobs, platform, name, _DEPTH)
    manifest = read_document(descriptor, blobs)
    try:
        config = read_document(msgspec.convert(manifest["config"], Descriptor), blobs)
        layers = msgspec.convert(manifest["layers"], tuple[Descriptor, ...])
        found = f"{config['os']}/{config['architecture']}"
        if len(config["rootfs"]["diff_ids"]) != len(layers):
            raise InvalidError("base", name, "an image with a `diff_id` for each layer")
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise InvalidError("base", name, "an OCI image", f"{shorten(str(error), 200)} is missing or wrong.") from error
    if found != platform:
        raise InvalidError("base", name, f"an image for {platform}", f"It is for {found}.")
    return Image(descriptor.digest, config, layers)


def read_document(descriptor: Descriptor, blobs: Blobs) -> dict[str, Any]:
    """A manifest or configuration, held to its digest.

    Raises:
        InvalidError: it is larger than one, or no JSON.
        StorageError: it is not what its digest says.
    """
    with blobs.open(descriptor) as file:
        data = file.read(_MOST_DOCUMENT_BYTES + 1)
    expect_digest(descriptor.digest, f"sha256:{hashlib.sha256(data).hexdigest()}")
    try:
        document: dict[str, Any] = read_foreign(data, _decode)
        return document
    except ValueError as error:
        raise InvalidError("base", descriptor.digest, "a JSON document", shorten(str(error), 200)) from error


def copy_blob(descriptor: Descriptor, source: Blobs, target: Path) -> None:
    """Copy a blob into a folder of blobs, held to its digest.

    Raises:
        StorageError: it is not what its digest says.
    """
    place = target / descriptor.digest.removeprefix("sha256:")
    if place.exists():
        return
    digest = hashlib.sha256()
    with source.open(descriptor) as reading, place.open("wb") as writing:
        while part := reading.read(CHUNK_BYTES):
            digest.update(part)
            writing.write(part)
    expect_digest(descriptor.digest, f"sha256:{digest.hexdigest()}")


def expect_digest(stated: str, found: str) -> None:
    """Go on only with bytes of a digest; raises `StorageError`."""
    if stated != found:
        raise StorageError(stated, f"the bytes of this blob hash to {found}", "Get the image again.")


def blob_path(digest: str) -> str:
    """Where a blob lies in a layout; raises `InvalidError` for what is no SHA-256."""
    algorithm, _, text = digest.partition(":")
    if algorithm != "sha256" or len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise InvalidError("digest", digest, "`sha256:` and 64 hexadecimal digits")
    return f"blobs/{algorithm}/{text}"


def put_document(document: Any, media_type: str, blobs: Path) -> Descriptor:
    """Write a JSON document among the blobs, the same bytes for the same document."""
    data = msgspec.json.encode(document, order="deterministic")
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return Descriptor(media_type, f"sha256:{digest}", len(data))


def finish_layout(root: Path, manifests: list[Descriptor]) -> None:
    """Write what makes a folder with blobs a layout."""
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    (root / "index.json").write_bytes(msgspec.json.encode(index, order="deterministic"))
    (root / "oci-layout").write_bytes(msgspec.json.encode(VERSION))


def pack_layout(root: Path, target: Path) -> None:
    """One tar of a layout, the same bytes for the same layout."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
                continue
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                archive.addfile(entry, file)


def _chosen(index: dict[str, Any], blobs: Blobs, platform: str, name: str, depth: int) -> Descriptor:
    try:
        listed = msgspec.convert(index["manifests"], list[Descriptor])
    except (KeyError, msgspec.ValidationError) as error:
        raise InvalidError("base", name, "an OCI index of images", shorten(str(error), 200)) from error
    system, _, machine = platform.partition("/")
    fitting = [
        each for each in listed
        if each.platform is None or (each.platform.get("os"), each.platform.get("architecture")) == (system, machine)
    ]  # fmt: skip
    images = [each for each in fitting if each.media_type in (*MANIFESTS, *INDEXES)]
    if len(images) != 1:
        several = f"It has {len(images)} that fit." if images else ""
        raise InvalidError("base", name, f"an index with one image for {platform}", several)
    if images[0].media_type in MANIFESTS:
        return images[0]
    if not depth:
        raise InvalidError("base", name, "an index of images", "It is an index of indexes.")
    return _chosen(read_document(images[0], blobs), blobs, platform, name, depth - 1)
