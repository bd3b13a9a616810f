"""Checks on tables and images: how they are declared, proposed and read, held to data, and reported."""

__all__: list[str] = []
