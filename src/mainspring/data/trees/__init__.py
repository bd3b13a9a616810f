"""File trees: their manifests and packs, the folders they are read from and written to, and what can be asked of them."""

__all__ = ["checkout", "intake", "manifest", "reading", "status"]
