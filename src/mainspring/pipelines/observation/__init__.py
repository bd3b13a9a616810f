"""What a step does while it runs: undeclared reads that are seen and named, and what it prints."""

__all__ = ["capture", "observer"]
