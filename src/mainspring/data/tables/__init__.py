"""Tables: their manifests, Parquet parts and leaf digests; the drafts, edits and compactions that make and change them."""

__all__: list[str] = []
