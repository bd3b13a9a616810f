"""Tables: their manifests, Parquet parts and leaf digests, and the drafts by which versions of them are made."""

__all__: list[str] = []
