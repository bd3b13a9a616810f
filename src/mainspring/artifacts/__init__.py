"""Values and their meaning: codecs between Python values and blobs, content digests, previews and comparison.

`save` writes a value and says what it means, `load` gives it back, `compare` says how two differ, `register` adds a codec.
`table` digests tables for artifacts and dataset versions alike. Nothing heavy is imported until a value needs it.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(
            (
                "BlobAccess",
                "Codec",
                "Comparison",
                "Encoded",
                "EncodesMany",
                "Preview",
                "SavesAtOnce",
                "TakesUnordered",
                "Tolerance",
            ),
            "mainspring.artifacts.codec",
        ),
        "keep_arguments": "mainspring.artifacts.arguments",
        "meaning_digest": "mainspring.artifacts.codec",
        **dict.fromkeys(
            (
                "codec_for",
                "codec_named",
                "compare",
                "content_digest",
                "in_canonical_order",
                "load",
                "register",
                "save",
            ),
            "mainspring.artifacts.registry",
        ),
        **dict.fromkeys(
            ("LEAF_ROWS", "TableDigest", "TableHasher", "sort_rows", "table_digest", "unordered_digest"),
            "mainspring.artifacts.table",
        ),
    },
)
