"""The codec of `bytes`: the blob is the value."""

from __future__ import annotations

from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.errors import CodecError


class BytesCodec:
    """Stores bytes as they are."""

    name, recipe, immutable = "bytes", 1, True
    types = ("builtins.bytes",)

    def digest(self, value: bytes) -> str:
        """Over the bytes."""
        if type(value) is not bytes:
            raise CodecError(
                f"A value of `{type(value).__qualname__}` is not plain `bytes`; convert it with `bytes(value)`."
            )
        return meaning_digest("bytes", self.recipe, value)

    def encode(self, value: bytes, blobs: BlobAccess) -> Encoded:
        """One blob."""
        return Encoded(self.name, blobs.put(bytes(value)), len(value))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> bytes:
        """The blob."""
        return blobs.read(encoded.blob)

    def preview(self, value: bytes) -> Preview:
        """The length and the first bytes."""
        return Preview("bytes", f"{len(value):,} bytes", {"size_bytes": len(value), "head": value[:64].hex(" ")})

    def compare(self, old: bytes, new: bytes, tolerance: Tolerance) -> Comparison:  # noqa: ARG002  # nothing here is a float
        """The first differing byte."""
        if old == new:
            return EQUAL
        at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        return Comparison("values", f"The bytes differ from position {at:,} on ({len(old):,} → {len(new):,} bytes).")
