"""Transformations: SQL over versions and frames."""

__all__: list[str] = []
