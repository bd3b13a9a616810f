from mainspring.artifacts.codec import (
    BlobAccess as BlobAccess,
    Codec as Codec,
    Comparison as Comparison,
    Encoded as Encoded,
    Preview as Preview,
    SavesAtOnce as SavesAtOnce,
    TakesUnordered as TakesUnordered,
    Tolerance as Tolerance,
    meaning_digest as meaning_digest,
)
from mainspring.artifacts.registry import (
    codec_for as codec_for,
    codec_named as codec_named,
    compare as compare,
    content_digest as content_digest,
    in_canonical_order as in_canonical_order,
    load as load,
    register as register,
    save as save,
)
from mainspring.artifacts.table import (
    LEAF_ROWS as LEAF_ROWS,
    TableDigest as TableDigest,
    TableHasher as TableHasher,
    sort_rows as sort_rows,
    table_digest as table_digest,
    unordered_digest as unordered_digest,
)
