"""Holds an OCI image layout to the specification (v1.1.0), by the standard library and the words of the specification alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
ANNOTATIONS = (
    "created authors url documentation source version revision vendor licenses ref.name title description base.digest base.name"
).split()


class Checked:
    """One image of a layout: its configuration, manifest, and the layers unpacked in memory, each a list of entries."""

    def __init__(self, layout: Path) -> None:
        self.layout = layout
        assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
        index = json.loads((layout / "index.json").read_text())
        assert index["schemaVersion"] == 2
        assert index.get("mediaType", INDEX) == INDEX
        (described,) = index["manifests"]
        assert described["mediaType"] == MANIFEST
        self.reference = described["annotations"]["org.opencontainers.image.ref.name"]
        assert re.fullmatch(r"[A-Za-z0-9]+([-._:@/+]+[A-Za-z0-9]+)*", self.reference)
        self.digest: str = described["digest"]
        self.manifest: dict[str, Any] = json.loads(self.blob(described))
        assert self.manifest["schemaVersion"] == 2
        assert self.manifest["mediaType"] == MANIFEST
        check_annotations(self.manifest["annotations"])
        assert self.manifest["config"]["mediaType"] == CONFIG
        self.config = json.loads(self.blob(self.manifest["config"]))
        assert {"os", "architecture", "rootfs"} <= self.config.keys()
        assert described["platform"] == {name: self.config[name] for name in ("os", "architecture")}
        check_config(self.config)
        self.layers = [self.layer(each) for each in self.manifest["layers"]]
        stated = self.config["rootfs"]["diff_ids"]
        assert stated == [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in self.layers]
        filled = [each for each in self.config["history"] if not each.get("empty_layer")]
        assert len(filled) == len(stated)
        named = {path.name for path in (layout / "blobs" / "sha256").iterdir()}
        known = [described, self.manifest["config"], *self.manifest["layers"]]
        assert named == {each["digest"].removeprefix("sha256:") for each in known}, "a blob that nothing names"

    def blob(self, descriptor: dict[str, Any]) -> bytes:
        assert DIGEST.fullmatch(descriptor["digest"])
        data: bytes = (self.layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        assert len(data) == descriptor["size"]
        assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
        return data

    def layer(self, descriptor: dict[str, Any]) -> bytes:
        assert descriptor["mediaType"] in (GZIP, PLAIN)
        data = self.blob(descriptor)
        return gzip.decompress(data) if descriptor["mediaType"] == GZIP else data

    def entries(self, number: int) -> dict[str, tarfile.TarInfo]:
        """The entries of a layer by their paths, each below a folder that came before it."""
        found: dict[str, tarfile.TarInfo] = {}
        with tarfile.open(fileobj=io.BytesIO(self.layers[number])) as archive:
            for entry in archive:
                path = entry.name
                assert not path.startswith("/")
                assert ".." not in path.split("/")
                assert path not in found
                above = path.rpartition("/")[0]
                assert not above or found[above].isdir()
                found[path] = entry
        return found

    def read(self, path: str) -> bytes:
        """What a file of the image holds, in the last layer that has it."""
        for data in reversed(self.layers):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                if path in archive.getnames():
                    file = archive.extractfile(path)
                    assert file is not None
                    return file.read()
        raise AssertionError(path)

    def unpack(self, target: Path) -> Path:
        """All layers in a folder, as a container finds them."""
        for data in self.layers:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(target, filter="fully_trusted")
        return target

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.config["config"]["Env"])


def check_annotations(annotations: dict[str, Any]) -> None:
    for name, value in annotations.items():
        assert isinstance(value, str)
        assert name
        if name.startswith("org.opencontainers.image."):
            assert name.removeprefix("org.opencontainers.image.") in ANNOTATIONS
    assert DATE.fullmatch(annotations["org.opencontainers.image.created"])


def check_config(config: dict[str, Any]) -> None:
    assert config["rootfs"]["type"] == "layers"
    assert DATE.fullmatch(config["created"])
    inner = config["config"]
    for name in ("Entrypoint", "Cmd", "Env"):
        assert all(isinstance(each, str) for each in inner[name])
    assert all(re.fullmatch(r"[^=]+=.*", each) for each in inner["Env"])
    assert all(re.fullmatch(r"\d+/(tcp|udp)", each) for each in inner["ExposedPorts"])
    assert all(value == {} for value in (*inner["ExposedPorts"].values(), *inner["Volumes"].values()))
    assert all(isinstance(value, str) for value in inner["Labels"].values())
    assert inner["WorkingDir"].startswith("/")
    assert re.fullmatch(r"\d+:\d+", inner["User"])


def unpacked(archive: Path, target: Path) -> Path:
    """The layout in a tar."""
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
    return target
