"""A workspace on each pair of backends."""

from __future__ import annotations

from tests.serving.conftest import workspace

__all__ = ["workspace"]
