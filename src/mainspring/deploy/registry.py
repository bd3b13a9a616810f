"""An image in a registry, over its HTTP API (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md).

Blobs are kept by their digests among this machine's caches, so that an image that was named by its digest needs no network
again. Nobody logs in: only what anybody may pull is.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from mainspring.config import is_loopback
from mainspring.deploy.layers import Descriptor
from mainspring.deploy.layout import CHUNK_BYTES, INDEXES, MANIFESTS, blob_path, expect_digest
from mainspring.errors import InvalidError, NotFoundError, UnavailableError, shorten
from mainspring.foreign import read_foreign

_TIMEOUT_S = 30.0
_HUB, _HUB_HOST, _OFFICIAL = "docker.io", "registry-1.docker.io", "library"
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*")
_HOST = re.compile(r"[\w.-]+(?::\d+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Reference(msgspec.Struct, frozen=True):
    """The name of an image in a registry; of tag and digest the digest counts."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str, name: str = "base") -> Reference:
        """A reference as people write it; `name` is what they gave it as.

        Raises:
            InvalidError: it is none.

        >>> str(Reference.parse("python:3.11-slim"))
        'docker.io/library/python:3.11-slim'
        """
        place, _, digest = text.partition("@")
        first, slash, rest = place.partition("/")
        is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
        registry, path = (first, rest) if is_host else (_HUB, place)
        repository, colon, tag = path.partition(":")
        if registry == _HUB and "/" not in repository:
            repository = f"{_OFFICIAL}/{repository}"
        if digest:
            blob_path(digest)
        is_name = _HOST.fullmatch(registry) and _NAME.fullmatch(repository)
        if not is_name or (colon and not _TAG.fullmatch(tag)):
            raise InvalidError(name, text, "an image such as docker.io/library/python:3.11-slim, or a path of one")
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)

    def __str__(self) -> str:
        tag, digest = self.tag and f":{self.tag}", self.digest and f"@{self.digest}"
        return f"{self.registry}/{self.repository}{tag}{digest}"


class RegistryBlobs:
    """The blobs of a repository, each kept in a folder of caches once it was read."""

    def __init__(self, reference: Reference, cache: Path) -> None:
        self._reference, self._cache = reference, cache
        host = _HUB_HOST if reference.registry == _HUB else reference.registry
        scheme = "http" if is_loopback(urllib.parse.urlsplit(f"//{host}").hostname or "") else "https"
        self._url = f"{scheme}://{host}/v2/{reference.repository}"
        self._token = ""

    def index(self) -> dict[str, Any]:
        """What the reference names, as an index with one entry.

        Raises:
            NotFoundError: the registry has no such image.
            UnavailableError: the registry can't be reached, or wants a login.
            StorageError: what it answers is not what the digest says.
        """
        wanted = self._reference.digest
        kept = self._cache / wanted.removeprefix("sha256:") if wanted else None
        if kept is not None and kept.is_file():
            return {"manifests": [self._described(kept.read_bytes(), wanted)]}
        accept = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}
        with self._get(f"manifests/{wanted or self._reference.tag}", accept) as answer:
            data = answer.read()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if wanted:
            expect_digest(wanted, digest)
        self._keep(digest, data)
        return {"manifests": [self._described(data, digest)]}

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A blob, from the caches if it is there."""
        kept = self._cache / blob_path(descriptor.digest).rpartition("/")[2]
        if not kept.is_file():
            is_document = descriptor.media_type in (*MANIFESTS, *INDEXES)
            kind, accept = ("manifests", {"Accept": descriptor.media_type}) if is_document else ("blobs", {})
            scratch = self._scratch(kept)
            digest = hashlib.sha256()
            with self._get(f"{kind}/{descriptor.digest}", accept) as answer, scratch.open("wb") as file:
                while part := self._read(answer):
                    digest.update(part)
                    file.write(part)
            expect_digest(descriptor.digest, f"sha256:{digest.hexdigest()}")
            scratch.replace(kept)
        return kept.open("rb")

    def _described(self, data: bytes, digest: str) -> dict[str, Any]:
        with suppress(ValueError):
            found = read_foreign(data, _decode)
            kind = found.get("mediaType") or (INDEXES if "manifests" in found else MANIFESTS)[0]
            return {"mediaType": kind, "digest": digest, "size": len(data)}
        raise InvalidError("base", str(self._reference), "an image: the registry answers with no manifest")

    def _keep(self, digest: str, data: bytes) -> None:
        place = self._cache / digest.removeprefix("sha256:")
        scratch = self._scratch(place)
        scratch.write_bytes(data)
        scratch.replace(place)

    def _scratch(self, place: Path) -> Path:
        self._cache.mkdir(parents=True, exist_ok=True)
        return place.with_name(f"{place.name}.{os.getpid()}.tmp")

    def _read(self, answer: Any) -> bytes:
        try:
            return bytes(answer.read(CHUNK_BYTES))
        except (OSError, HTTPException) as error:
            raise self._away(error) from error

    def _get(self, path: str, headers: dict[str, str]) -> Any:
        try:
            try:
                return self._asked(f"{self._url}/{path}", headers | self._bearing())
            except urllib.error.HTTPError as error:
                if error.code != 401 or self._token:
                    raise
                self._token = self._fetched_token(error.headers)
                return self._asked(f"{self._url}/{path}", headers | self._bearing())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise NotFoundError("image", str(self._reference), owner=self._reference.registry) from error
            raise self._away(error) from error
        except (OSError, HTTPException, ValueError) as error:
            raise self._away(error) from error

    def _bearing(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _fetched_token(self, headers: Message) -> str:
        """A token for whoever asks, from where the registry says."""
        asked = dict(_PARAMETER.findall(headers.get("WWW-Authenticate", "")))
        realm = asked.pop("realm", "")
        if not realm.startswith(("https://", f"{urllib.parse.urlsplit(self._url).scheme}://")):
            raise ValueError("it wants a login")
        with self._asked(f"{realm}?{urllib.parse.urlencode(asked)}", {}) as answer:
            said = read_foreign(answer.read(), _decode)
        return str(said.get("token") or said.get("access_token") or "")

    @staticmethod
    def _asked(url: str, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.build_opener(_ToStores()).open(request, timeout=_TIMEOUT_S)

    def _away(self, error: Exception) -> UnavailableError:
        reason = getattr(error, "reason", None) or error
        return UnavailableError(
            str(self._reference), f"the image can't be pulled ({shorten(str(reason), 200)})",
            "Give one that lies on this machine, --base PATH: an OCI layout, as `skopeo copy docker://… oci:PATH` writes it.",
        )  # fmt: skip


class _ToStores(urllib.request.HTTPRedirectHandler):
    """Registries send to stores of other names, which are not to see the token."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None and found.host != req.host:
            found.remove_header("Authorization")
        return found
