"""Versions from and for other tools: Parquet files, Delta tables, DVC repositories; and copies in other workspaces."""

__all__ = ["copies", "delta", "dvc", "parquet", "pinned"]
