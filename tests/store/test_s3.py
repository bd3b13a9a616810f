"""What only S3 has: options and secrets in the URL, a bounded cache, touching, a server that is away."""

from __future__ import annotations

import gc
import signal
import socket
import time
from datetime import timedelta
from pathlib import Path

import obstore.exceptions
import pytest

from mainspring.errors import ConfigError, MainspringError, StorageError, UnavailableError
from mainspring.store import open_blobs
from mainspring.store import s3 as adapter
from mainspring.testing.processes import Child
from mainspring.testing.services import S3


def test_options_are_checked_and_secrets_are_references() -> None:
    with pytest.raises(ConfigError, match="bogus"):
        open_blobs("s3://bucket/prefix?bogus=1")
    with pytest.raises(ConfigError, match="secret reference") as found:
        open_blobs("s3://bucket/prefix?secret_access_key=hunter2")
    assert "hunter2" not in str(found.value)


def test_a_bucket_that_is_not_there_is_named(s3: S3) -> None:
    blobs = open_blobs(s3.url().replace("//workspace/", "//elsewhere/"))
    for act in (lambda: blobs.put(b"x"), lambda: blobs.read("ab" * 32), lambda: list(blobs.list())):
        with pytest.raises(StorageError, match=r"elsewhere.*no such bucket"):
            act()


def test_a_server_that_is_away_is_told_within_a_second(s3: S3) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        blobs = open_blobs(s3.url().replace(s3.endpoint, f"http://127.0.0.1:{taken.getsockname()[1]}"))
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
            blobs.put(b"x")
        assert time.monotonic() - started < 2  # three retries


@pytest.mark.parametrize("size_bytes", [10, 3 << 20])
def test_an_old_blob_is_touched_by_a_put(s3: S3, monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    blobs = open_blobs(s3.url())
    digest = blobs.put(b"x" * size_bytes)
    (before,) = blobs.list()
    monkeypatch.setattr(adapter, "_TOUCH_AFTER", timedelta(0))
    while blobs.put(b"x" * size_bytes):
        (after,) = blobs.list()
        if after.touched_at_us > before.touched_at_us:  # whole seconds
            break
    assert (after.digest, after.size_bytes) == (digest, size_bytes)
    assert blobs.read(digest) == b"x" * size_bytes


def test_the_cache_stays_within_its_bound_and_is_verified(s3: S3, tmp_path: Path) -> None:
    url = f"{s3.url()}&cache={tmp_path}/cache&cache_bytes=100000"
    blobs = open_blobs(url)
    digests = [blobs.put(bytes([number]) * 30_000) for number in range(8)]
    for number, digest in enumerate(digests):
        assert blobs.path(digest).read_bytes() == bytes([number]) * 30_000
        assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()) <= 100_000
    cached = blobs.path(digests[0])
    cached.chmod(0o644)
    cached.write_bytes(b"spoilt")
    assert open_blobs(url).read(digests[0]) == bytes(30_000)
    assert open_blobs(url).path(digests[0]).read_bytes() == bytes(30_000)


def test_a_killed_process_leaves_no_cache_for_long(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Child("mainspring.testing._actors:put_large", s3.url(), 1 << 20) as child:
        assert child.read() == "writing"
        alive = open_blobs(s3.url())
        assert len(list(tmp_path.glob("mainspring-*"))) == 2
        child.signal(signal.SIGKILL)
    (tmp_path / "mainspring-scratch-halfgone" / "ab").mkdir(parents=True)  # a removal that was killed behind the lock
    again = open_blobs(s3.url())
    assert len(list(tmp_path.glob("mainspring-*"))) == 2
    del alive, again
    gc.collect()
    assert list(tmp_path.glob("mainspring-*")) == []


def test_every_error_of_obstore_becomes_ours(s3: S3) -> None:
    blobs = open_blobs(s3.url())
    assert isinstance(blobs, adapter.S3Blobs)
    kinds = [
        kind for kind in vars(obstore.exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert len(kinds) > 8
    for kind in (*kinds, FileNotFoundError, PermissionError, OSError):
        assert isinstance(blobs._mapped(kind("told")), MainspringError)
