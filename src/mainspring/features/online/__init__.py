"""Features for serving: keys and values as bytes in the online store, the newest event of each entity.

`entities` are keys, `packing` values, `places` where they stand; `materializing` brings them there, `reader` answers from
the `parts` of a service.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("entities_bytes", "entity_bytes"), ".entities"),
        **dict.fromkeys(("Fed", "feed", "fed_to", "fields_of"), ".feeding"),
        **dict.fromkeys(("Materialized", "iter_materialized", "materialize", "materialize_all"), ".materializing"),
        "push": ".pushing",
        **dict.fromkeys(("Packed", "Packing"), ".packing"),
        **dict.fromkeys(("Running", "Watermark", "read_watermark", "watermark_of"), ".watermark"),
        "FeatureReader": ".reader",
        "Vector": ".vector",
    },
)
