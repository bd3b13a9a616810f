"""Both blob stores obey the one contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.store import open_blobs
from mainspring.store.s3 import S3Blobs
from mainspring.testing.blobs import BlobStoreContract
from mainspring.testing.services import S3


class TestLocal(BlobStoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/not/there/yet"

    def spoil(self, url: str, digest: str) -> None:
        path = Path(url.removeprefix("file://")) / digest[:2] / digest
        path.chmod(0o644)
        path.write_bytes(b"y" + path.read_bytes()[1:])

    @pytest.mark.parametrize("as_file", [False, True])
    def test_a_put_sees_that_the_blob_that_is_there_is_corrupt(self, url: str, tmp_path: Path, as_file: bool) -> None:
        """S3 verifies what it keeps by itself, and asking for the bytes would cost what sending them does."""
        source = tmp_path / "source"
        source.write_bytes(data := b"x" * 5_000)
        digest = open_blobs(url).put(data)
        self.spoil(url, digest)
        writer = open_blobs(url)
        assert writer.put(source if as_file else data) == digest
        assert writer.read(digest) == data
        assert list(writer.list_corrupt()) == []


class TestS3(BlobStoreContract):
    @pytest.fixture
    def url(self, s3: S3) -> str:
        return s3.url()

    def spoil(self, url: str, digest: str) -> None:
        import obstore

        store = S3Blobs(url)._bucket
        data = bytes(obstore.get(store, f"blob/{digest}").bytes())
        obstore.put(store, f"blob/{digest}", b"y" + data[1:])
