"""Small folders and small limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.data.trees import archiver, chunks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five files in three folders, one executable, one empty, one link."""
    root = tmp_path / "photos"
    (root / "a" / "deep").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "a" / "one.txt").write_bytes(b"one")
    (root / "a" / "deep" / "two.bin").write_bytes(bytes(range(256)) * 2_000)
    (root / "b" / "empty").touch()
    (root / "b" / "ünï.txt").write_text("ünï")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "b" / "link").symlink_to("../a/one.txt")
    return root


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are small, middle and large at a sixteenth of their sizes."""
    for module, names in ((archiver, ("SMALL", "LARGE")), (chunks, ("LEAST", "AVERAGE", "MOST"))):
        for name in names:
            monkeypatch.setattr(module, f"{name}_BYTES", getattr(module, f"{name}_BYTES") // 16)
