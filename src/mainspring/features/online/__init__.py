"""Features for serving: keys and values as bytes in the online store, the newest event of each entity.

`entities` are keys, `packing` values.
"""

__all__ = ["entities", "packing"]
