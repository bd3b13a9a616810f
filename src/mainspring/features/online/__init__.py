"""Features for serving: keys and values as bytes in the online store, the newest event of each entity.

`entities` are keys, `packing` values, `places` where they stand; `materializing` brings them there, `reader` answers.
"""

__all__ = ["entities", "frames", "materializing", "packing", "places", "reader"]
