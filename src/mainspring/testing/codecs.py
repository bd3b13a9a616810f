"""The laws that every codec obeys, in one checker, and what its tests need: blobs in a folder, a fresh process's digest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from mainspring.artifacts.codec import BlobAccess, Codec, Encoded, SavesAtOnce, Tolerance
from mainspring.artifacts.registry import codec_for, codec_named, compare
from mainspring.errors import CodecError, CorruptBlobError
from mainspring.store.scratch import Scratch

PREVIEW_BYTES = 64 * 1024


class FolderBlobs:
    """Blobs as files in a folder, verified on read."""

    def __init__(self, folder: Path | None = None) -> None:
        self._scratch = Scratch()
        self.folder = folder or self._scratch.path
        self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes | Path) -> str:
        """Keep bytes, or a file's bytes."""
        content = data if isinstance(data, bytes) else data.read_bytes()
        digest = blake3(content).hexdigest()
        (self.folder / digest).write_bytes(content)
        return digest

    def read(self, digest: str) -> bytes:
        """The verified bytes."""
        content = (self.folder / digest).read_bytes()
        found = blake3(content).hexdigest()
        if found != digest:
            raise CorruptBlobError(digest, found, str(self.folder))
        return content

    def path(self, digest: str) -> Path:
        """The verified file."""
        self.read(digest)
        return self.folder / digest


class _Only:
    """Access to some blobs and no others."""

    def __init__(self, blobs: BlobAccess, allowed: Iterable[str]) -> None:
        self.blobs, self.allowed = blobs, set(allowed)

    def put(self, data: bytes | Path) -> str:
        raise AssertionError(f"decoding writes a blob: {data!r:.80}")

    def read(self, digest: str) -> bytes:
        assert digest in self.allowed, f"`blobs` does not name `{digest}`, which decoding reads"
        return self.blobs.read(digest)

    def path(self, digest: str) -> Path:
        assert digest in self.allowed, f"`blobs` does not name `{digest}`, which decoding reads"
        return self.blobs.path(digest)


def check_codec_laws(
    codec: Codec | None,
    values: Iterable[Any],
    blobs: BlobAccess | None = None,
    *,
    same: Callable[[Any, Any], bool] | None = None,
) -> None:
    """Check every law of codecs on values that all differ in meaning; with `None`, on the codec that each value gets.

    `same` says whether a value and what comes back for it are alike in all that the value's own library can tell: its
    schema, say. That the types are the same is always checked.

    Raises:
        AssertionError: a law is broken; the text says which, and by which value.

    >>> check_codec_laws(None, [1, 1.0, True, "1", [1], (1,), {"a": {2, 3}}])
    """
    blobs = blobs or FolderBlobs()
    met: dict[str, Any] = {}
    last: Any = None
    for value in values:
        digest = _check_value(codec or codec_for(value), value, blobs, same)
        assert digest not in met, f"distinct values have one digest: {_short(met[digest])} and {_short(value)}"
        if met:
            result = codec.compare(last, value, Tolerance()) if codec else compare(last, value)
            assert result.kind != "equal", f"distinct values compare as equal: {_short(last)} and {_short(value)}"
        met[digest] = last = value


def _check_value(codec: Codec, value: Any, blobs: BlobAccess, same: Callable[[Any, Any], bool] | None) -> str:
    shown = f"{codec.name}: {_short(value)}"
    digest, encoded = _save(codec, value, blobs)
    assert len(digest) == 64, f"a digest is not 64 hexadecimal digits: {shown}"
    assert set(digest) <= set("0123456789abcdef"), f"a digest is not 64 hexadecimal digits: {shown}"
    assert codec.digest(value) == digest, f"digesting twice gives two digests: {shown}"
    assert encoded.codec == codec.name, f"the bytes name another codec, `{encoded.codec}`: {shown}"
    assert _save(codec, value, blobs) == (digest, encoded), f"encoding twice gives other bytes: {shown}"
    again = codec_of(encoded, codec).decode(encoded, _Only(blobs, (encoded.blob, *encoded.blobs)))
    assert codec.digest(again) == digest, f"the digest differs after a round trip: {shown}"
    assert _save(codec, again, blobs)[0] == digest, f"the digest differs when encoded again: {shown}"
    assert type(again) is type(value), f"a `{type(again).__qualname__}` comes back for a value: {shown}"
    assert same is None or same(value, again), f"what comes back is not the same ({again!r:.120}): {shown}"
    for old, new in ((value, value), (value, again)):
        result = codec.compare(old, new, Tolerance())
        assert result.kind == "equal", f"a value isn't equal to its copy ({result.detail}): {shown}"
    assert codec.digest(value) == digest, f"saving, loading or comparing changed the value: {shown}"
    preview = msgspec.json.encode(codec.preview(value))
    assert len(preview) < PREVIEW_BYTES, f"the preview is {len(preview)} bytes long: {shown}"
    _check_corruption(codec, value, encoded, blobs, shown)
    return digest


def _save(codec: Codec, value: Any, blobs: BlobAccess) -> tuple[str, Encoded]:
    return (
        codec.save(value, blobs)
        if isinstance(codec, SavesAtOnce)
        else (codec.digest(value), codec.encode(value, blobs))
    )


def codec_of(encoded: Encoded, codec: Codec) -> Codec:
    """The codec that a stored name stands for; the one at hand if it has the name, registered or not."""
    return codec if codec.name == encoded.codec else codec_named(encoded.codec)


def _check_corruption(codec: Codec, value: Any, encoded: Encoded, blobs: BlobAccess, shown: str) -> None:
    # A store verifies what it reads, so this stands for bytes that were never right: cut off, or not ours.
    data = blobs.read(encoded.blob)
    for bad in (b"", b"\x00garbage\xff", data[: len(data) // 2]):
        if bad == data:
            continue
        broken = msgspec.structs.replace(encoded, blob=blobs.put(bad))
        try:
            found = codec.digest(codec.decode(broken, blobs))
        except CodecError:
            continue
        assert found != codec.digest(value), f"corrupt bytes ({bad[:12]!r}…) are decoded as if they were right: {shown}"


def check_immutability(value: Any, blobs: BlobAccess | None = None) -> None:
    """Check that a value whose codec calls it mutable comes back as an object of its own, and compares equal."""
    codec, blobs = codec_for(value), blobs or FolderBlobs()
    _, encoded = _save(codec, value, blobs)
    first, second = (codec_of(encoded, codec).decode(encoded, blobs) for _ in range(2))
    assert codec.immutable or first is not second, f"two decodings are one object: {_short(value)}"
    assert compare(first, second).kind == "equal"


def digest_in_fresh_process(expression: str, *, hash_seed: int, setup: str = "", timeout_s: float = 120) -> str:
    """The content digest of a Python expression's value, as a new process with a hash seed of its own computes it."""
    script = (
        f"{setup}\nfrom mainspring.artifacts.registry import save\nfrom mainspring.testing.codecs import FolderBlobs\n"
        f"print(save({expression}, FolderBlobs())[0])\n"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"the fresh process failed:\n{done.stderr}"
    return done.stdout.strip().splitlines()[-1]


def _short(value: object) -> str:
    return f"{type(value).__qualname__} {value!r:.120}"
