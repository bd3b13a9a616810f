"""The key of a workspace, by which it knows bytes again that it signed.

It lives in the database and never in the blob store, so that whoever may write blobs alone can sign nothing, and a workspace
believes no other's signatures.
"""

from __future__ import annotations

import secrets
from hmac import compare_digest

from blake3 import blake3

from mainspring import clock
from mainspring.errors import NotAllowedError
from mainspring.store import Database

MIGRATIONS = ["CREATE TABLE signing_key (name TEXT PRIMARY KEY, key TEXT NOT NULL, made_at INTEGER NOT NULL)"]
_MAGIC = b"mainspring signed 1\n"
_SIGNATURE_BYTES = 32
_KEY = "workspace"


def sign(database: Database, purpose: str, data: bytes) -> bytes:
    """The bytes behind a keyed BLAKE3 hash of the purpose and them; the workspace gets its key when it first signs."""
    database.migrate("signing", MIGRATIONS)
    with database.transaction() as tx:
        key = _key(database)
        if key is None:
            key = secrets.token_bytes(_SIGNATURE_BYTES)
            tx.insert("signing_key", {"name": _KEY, "key": key.hex(), "made_at": clock.now_us()})
    return _MAGIC + _hash(key, purpose, data) + data


def verified(database: Database, purpose: str, signed: bytes) -> bytes:
    """What this workspace signed for this purpose.

    Raises:
        NotAllowedError: it signed no such bytes: they are another workspace's, were changed, or are no signed bytes at all.
    """
    database.migrate("signing", MIGRATIONS)
    head, data = len(_MAGIC) + _SIGNATURE_BYTES, memoryview(signed)
    if len(signed) < head or bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise NotAllowedError("The bytes bear no signature, so they are not opened: they came from elsewhere.")
    key, content = _key(database), bytes(data[head:])
    if key is None or not compare_digest(_hash(key, purpose, content), bytes(data[len(_MAGIC) : head])):
        raise NotAllowedError(
            "The signature is not this workspace's, so the bytes are not opened: they came from elsewhere, or were changed."
        )
    return content


def _key(database: Database) -> bytes | None:
    row = database.query_one("SELECT key FROM signing_key WHERE name = ?", (_KEY,))
    return bytes.fromhex(row[0]) if row else None


def _hash(key: bytes, purpose: str, data: bytes) -> bytes:
    hasher = blake3(len(purpose.encode()).to_bytes(8, "little"), key=key)
    return hasher.update(purpose.encode()).update(data).digest()
