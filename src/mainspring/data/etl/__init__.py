"""Transformations: SQL over versions and frames, lazy frames larger than memory, versions batch by batch."""

__all__: list[str] = []
