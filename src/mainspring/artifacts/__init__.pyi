from mainspring.artifacts.arguments import (
    keep_arguments as keep_arguments,
)
from mainspring.artifacts.codec import (
    BlobAccess as BlobAccess,
)
from mainspring.artifacts.codec import (
    Codec as Codec,
)
from mainspring.artifacts.codec import (
    Comparison as Comparison,
)
from mainspring.artifacts.codec import (
    Encoded as Encoded,
)
from mainspring.artifacts.codec import (
    EncodesMany as EncodesMany,
)
from mainspring.artifacts.codec import (
    Preview as Preview,
)
from mainspring.artifacts.codec import (
    SavesAtOnce as SavesAtOnce,
)
from mainspring.artifacts.codec import (
    TakesUnordered as TakesUnordered,
)
from mainspring.artifacts.codec import (
    Tolerance as Tolerance,
)
from mainspring.artifacts.codec import (
    meaning_digest as meaning_digest,
)
from mainspring.artifacts.registry import (
    codec_for as codec_for,
)
from mainspring.artifacts.registry import (
    codec_named as codec_named,
)
from mainspring.artifacts.registry import (
    compare as compare,
)
from mainspring.artifacts.registry import (
    content_digest as content_digest,
)
from mainspring.artifacts.registry import (
    in_canonical_order as in_canonical_order,
)
from mainspring.artifacts.registry import (
    load as load,
)
from mainspring.artifacts.registry import (
    register as register,
)
from mainspring.artifacts.registry import (
    save as save,
)
from mainspring.artifacts.table import (
    LEAF_ROWS as LEAF_ROWS,
)
from mainspring.artifacts.table import (
    TableDigest as TableDigest,
)
from mainspring.artifacts.table import (
    TableHasher as TableHasher,
)
from mainspring.artifacts.table import (
    sort_rows as sort_rows,
)
from mainspring.artifacts.table import (
    table_digest as table_digest,
)
from mainspring.artifacts.table import (
    unordered_digest as unordered_digest,
)
