"""Where the features of an entity stand in the online store: under the version of the view, so that versions don't meet."""

from __future__ import annotations

from mainspring.features.aggregation.tiles import TileId
from mainspring.features.definitions.records import Definition

_VALUES, _TILES, _WATERMARK = b"features/v", b"features/t", b"features/w"
_LENGTH_BYTES = 4
TILE_BYTES = len(TileId(0, 0).key(b""))
"""By how many of its last bytes the key of a tile differs from those of the entity's others."""


def values_prefix(view: Definition) -> bytes:
    """What the keys of a view's values begin with."""
    return _VALUES + bytes.fromhex(view.id)


def tiles_prefix(view: Definition) -> bytes:
    """What the keys of a view's tiles begin with."""
    return _TILES + bytes.fromhex(view.id)


def watermark_place(view: Definition) -> bytes:
    """The key of what a view's online state reflects."""
    return _WATERMARK + bytes.fromhex(view.id)


def tiles_of_entity(prefix: bytes, entity: bytes) -> bytes:
    """What the keys of an entity's tiles begin with; no entity's is the beginning of another's."""
    return prefix + len(entity).to_bytes(_LENGTH_BYTES, "little") + entity


def tile_place(prefix: bytes, entity: bytes, tile: TileId) -> bytes:
    """The key of one tile of an entity."""
    return tile.key(tiles_of_entity(prefix, entity))


def entity_of_tile(prefix: bytes, place: bytes) -> bytes:
    """The entity of a tile, by its key.

    >>> entity_of_tile(b"view", tile_place(b"view", b"UA", TileId(60, 7)))
    b'UA'
    """
    return place[len(prefix) + _LENGTH_BYTES : -TILE_BYTES]
