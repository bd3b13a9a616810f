"""The contract of a blob store. A backend's own test subclasses it and gives a URL and a way to spoil a stored blob."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from mainspring.clock import now_us
from mainspring.errors import CorruptBlobError, InvalidError, NotFoundError, StorageError
from mainspring.store import BlobStore, blob_digest, open_blobs
from mainspring.testing.processes import Child, crowd

_ACTORS = "mainspring.testing._actors"
_LARGE_BYTES = 3 << 20
ABSENT = "ab" * 32


class BlobStoreContract:
    """Every law that a `BlobStore` obeys."""

    @pytest.fixture
    def url(self) -> str:
        """A blob store that nobody uses, and whose place need not exist yet."""
        pytest.fail("a subclass gives this")

    @pytest.fixture
    def blobs(self, url: str) -> BlobStore:
        """That store."""
        return open_blobs(url)

    def spoil(self, url: str, digest: str) -> None:  # noqa: ARG002  # a subclass uses them
        """Change the stored bytes of a blob behind the store's back, their number unchanged."""
        pytest.fail("a subclass gives this")

    @pytest.mark.parametrize("size_bytes", [0, 1, 4096, _LARGE_BYTES])
    def test_bytes_come_back_under_their_digest(self, blobs: BlobStore, url: str, size_bytes: int) -> None:
        data = random.Random(size_bytes).randbytes(size_bytes)
        digest = blobs.put(data)
        assert digest == blob_digest(data)
        for store in (blobs, open_blobs(url)):
            assert store.exists(digest)
            assert store.read(digest) == data
            assert store.path(digest).read_bytes() == data
        assert [(info.digest, info.size_bytes) for info in blobs.list()] == [(digest, size_bytes)]

    @pytest.mark.parametrize("size_bytes", [0, 10, _LARGE_BYTES])
    def test_a_file_is_kept_like_its_bytes(self, blobs: BlobStore, url: str, tmp_path: Path, size_bytes: int) -> None:
        source = tmp_path / "source"
        source.write_bytes(random.Random(size_bytes).randbytes(size_bytes))
        digest = blobs.put(source)
        assert digest == blob_digest(source) == blobs.put(source.read_bytes())
        source.write_bytes(b"changed since")
        assert len(open_blobs(url).read(digest)) == size_bytes

    def test_an_unknown_store_is_empty(self, blobs: BlobStore) -> None:
        assert list(blobs.list()) == list(blobs.list_condemned()) == []
        assert not blobs.exists(ABSENT)
        for look in (blobs.read, blobs.path):
            with pytest.raises(NotFoundError, match="ababab"):
                look(ABSENT)
        for change in (blobs.condemn, blobs.restore, blobs.destroy):
            change(ABSENT)
        assert blobs.sweep_temporary(0) == 0

    @pytest.mark.parametrize("digest", ["", "../../etc/passwd", "AB" * 32, "é" * 64, "ab" * 31 + "/a"])
    def test_what_is_no_digest_is_refused(self, blobs: BlobStore, digest: str) -> None:
        for act in (blobs.read, blobs.path, blobs.exists, blobs.condemn, blobs.restore, blobs.destroy):
            with pytest.raises(InvalidError):
                act(digest)

    def test_a_source_that_is_no_file_is_named(self, blobs: BlobStore, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="missing"):
            blobs.put(tmp_path / "missing")
        with pytest.raises(InvalidError, match="regular"):
            blobs.put(tmp_path)

    @pytest.mark.parametrize("size_bytes", [10, _LARGE_BYTES])
    def test_a_corrupt_blob_is_found(self, blobs: BlobStore, url: str, size_bytes: int) -> None:
        digest = blobs.put(b"x" * size_bytes)
        self.spoil(url, digest)
        for look in (open_blobs(url).read, open_blobs(url).path):
            with pytest.raises(CorruptBlobError) as found:
                look(digest)
            assert found.value.digest == digest

    @pytest.mark.parametrize("size_bytes", [10, _LARGE_BYTES])
    @pytest.mark.parametrize("look", ["read", "path"])
    def test_a_corrupt_blob_that_was_noticed_is_repaired_by_the_next_put(
        self, blobs: BlobStore, url: str, size_bytes: int, look: str
    ) -> None:
        data = b"x" * size_bytes
        digest = blobs.put(data)
        self.spoil(url, digest)
        reader, writer = open_blobs(url), open_blobs(url)
        for _ in range(2):
            with pytest.raises(CorruptBlobError):
                getattr(reader, look)(digest)
        assert not writer.exists(digest)
        assert list(writer.list()) == []
        assert [(info.digest, info.size_bytes) for info in writer.list_corrupt()] == [(digest, size_bytes)]
        left = writer.remains(digest)
        assert (left[1:], left[:1] != data[:1]) == (data[1:], True)
        assert writer.put(data) == digest
        assert list(writer.list_corrupt()) == []
        assert reader.read(digest) == data
        assert reader.path(digest).read_bytes() == data
        assert writer.sweep_temporary(0) == 0
        assert [info.digest for info in open_blobs(url).list()] == [digest]

    def test_nothing_is_left_of_a_blob_that_was_never_set_aside(self, blobs: BlobStore) -> None:
        digest = blobs.put(b"whole")
        assert list(blobs.list_corrupt()) == []
        for name in (digest, ABSENT):
            with pytest.raises(NotFoundError):
                blobs.remains(name)

    def test_a_condemned_blob_is_still_there(self, blobs: BlobStore) -> None:
        read, path, kept, gone = (blobs.put(text) for text in (b"read", b"path", b"kept", b"gone"))
        for digest in (read, path, kept, gone):
            blobs.condemn(digest)
        assert list(blobs.list()) == []
        assert {info.digest for info in blobs.list_condemned()} == {read, path, kept, gone}
        assert blobs.exists(gone)
        assert blobs.read(read) == b"read"
        assert blobs.path(path).read_bytes() == b"path"
        assert blobs.put(b"kept") == kept
        blobs.destroy(gone)
        assert not blobs.exists(gone)
        for digest in (read, path, kept):
            blobs.destroy(digest)
        assert {info.digest for info in blobs.list()} == {read, path, kept}
        with pytest.raises(NotFoundError):
            blobs.read(gone)

    def test_restore_takes_it_back(self, blobs: BlobStore) -> None:
        digest = blobs.put(b"back")
        blobs.condemn(digest)
        blobs.restore(digest)
        blobs.destroy(digest)
        assert [info.digest for info in blobs.list()] == [digest]
        assert list(blobs.list_condemned()) == []

    def test_times_are_of_the_last_put_and_of_the_condemning(self, blobs: BlobStore) -> None:
        before_us = now_us() - 2_000_000  # S3 tells whole seconds
        digest = blobs.put(b"timed")
        (kept,) = blobs.list()
        blobs.condemn(digest)
        (condemned,) = blobs.list_condemned()
        after_us = now_us() + 2_000_000
        assert before_us <= kept.touched_at_us <= condemned.touched_at_us <= after_us

    def test_many_processes_put_one_file_at_one_instant(self, blobs: BlobStore, url: str, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(os.urandom(200_000))
        crowd(8, f"{_ACTORS}:put_same", url, str(source))
        assert [info.digest for info in blobs.list()] == [blob_digest(source)]

    def test_a_kill_while_putting_leaves_no_part_of_a_blob(self, blobs: BlobStore, url: str) -> None:
        chance = random.Random(5)
        for _ in range(3):
            with Child(f"{_ACTORS}:put_large", url, 4 << 20) as child:
                assert child.read() == "writing"
                time.sleep(chance.random() * 0.05)
                child.signal(signal.SIGKILL)
        for info in blobs.list():
            assert blob_digest(blobs.read(info.digest)) == info.digest
        blobs.sweep_temporary(0)
        assert blobs.sweep_temporary(0) == 0

    def test_a_file_that_changes_meanwhile_is_kept_as_it_was_copied(self, blobs: BlobStore, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"0" * _LARGE_BYTES)
        done = threading.Event()

        def change() -> None:
            number = 0
            while not done.is_set():
                number += 1
                with source.open("r+b") as file:
                    file.seek(number * 7919 % _LARGE_BYTES)
                    file.write(bytes([number % 256]) * 1000)
                    file.truncate(_LARGE_BYTES - number % 3 * 100_000)

        thread = threading.Thread(target=change)
        thread.start()
        try:
            digests = [blobs.put(source) for _ in range(5)]
        finally:
            done.set()
            thread.join()
        for digest in digests:
            assert blob_digest(blobs.read(digest)) == digest

    def test_a_put_that_races_the_collector_loses_nothing(self, blobs: BlobStore, url: str) -> None:
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        digests = [blobs.put(text) for text in (b"one", b"two", b"three")]
        done = threading.Event()
        failed: list[Exception] = []

        def collect() -> None:
            collector = open_blobs(url)
            while not done.is_set():
                try:
                    collector.condemn(chance.choice(digests))
                except StorageError as error:
                    failed.append(error)
                    return

        thread = threading.Thread(target=collect)
        thread.start()
        try:
            for _ in range(40):
                digest = blobs.put(b"two")
                # A collector destroys only after a grace, and not what is referenced by then: here, nothing.
                assert open_blobs(url).read(digest) == b"two", f"seed {seed}"
        finally:
            done.set()
            thread.join()
        assert not failed
        assert all(blobs.exists(digest) for digest in digests)
