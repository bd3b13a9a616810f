"""Tokens of people, by which a server knows who calls. Only a digest is stored: a token is shown once, when it is made.

Whoever may write the workspace's database vouches for the names. A token is found by the id in it, and its digest is compared
in constant time.
"""

from __future__ import annotations

import re
from hmac import compare_digest
from secrets import token_hex, token_urlsafe
from typing import Literal

import msgspec
from blake3 import blake3

from mainspring import clock
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import Actor, Ledger, current_actor
from mainspring.store import Database

MIGRATIONS = [
    """
    CREATE TABLE server_token (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, roles TEXT NOT NULL, digest TEXT NOT NULL, created_at INTEGER NOT NULL,
        actor TEXT NOT NULL, expires_at INTEGER, revoked_at INTEGER
    )
    """,
]
PREFIX = "ms_"
_SHAPE = re.compile(rf"{PREFIX}(?P<id>[0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}")
_LONGEST_NAME = 100
_DAY_US = 86_400_000_000
_COLUMNS = ("id", "name", "roles", "created_at", "actor", "expires_at", "revoked_at")


class Token(msgspec.Struct, frozen=True):
    """A token without its secret. Times are microseconds since 1970; `actor` made it for the person called `name`.

    `roles` are those in which the person may decide on versions; empty leaves that to the policies.
    """

    id: str
    name: str
    roles: tuple[str, ...]
    created_at: int
    actor: str
    expires_at: int | None = None
    revoked_at: int | None = None

    @property
    def state(self) -> Literal["active", "expired", "revoked"]:
        """Whether it admits now."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= clock.now_us() else "active"


class TokenStore:
    """The tokens of a workspace; each change is an event."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database, self._ledger = database, ledger
        database.migrate("tokens", MIGRATIONS)

    def create(self, name: str, *, roles: tuple[str, ...] = (), expires_days: float | None = None) -> tuple[Token, str]:
        """A new token for a person, and its text, which can't be had again.

        Raises:
            InvalidError: the name or a role is no text on one line, or it would have expired already.
        """
        _expect_line("name", name)
        for role in roles:
            _expect_line("role", role)
        if expires_days is not None and not 0 < expires_days <= 36_500:
            raise InvalidError("expires_days", expires_days, "a number of days above 0, at most 36,500")
        now = clock.now_us()
        until = None if expires_days is None else now + int(expires_days * _DAY_US)
        made = Token(token_hex(6), name, tuple(dict.fromkeys(roles)), now, str(current_actor()), until)
        text = f"{PREFIX}{made.id}_{token_urlsafe(32)}"
        row = msgspec.structs.asdict(made) | {
            "roles": msgspec.json.encode(made.roles).decode(),
            "digest": _digest(text),
        }
        with self._database.transaction() as tx:
            tx.insert("server_token", row)
            told = {"name": name, "roles": made.roles, "expires_at": until}
            self._ledger.append(tx, "token.created", made.id, told)
        return made, text

    def list(self) -> list[Token]:
        """Every token, revoked and expired ones too, newest first."""
        order = "ORDER BY created_at DESC, id"
        return [_read(row) for row in self._database.query(f"SELECT {', '.join(_COLUMNS)} FROM server_token {order}")]

    def revoke(self, token_id: str) -> Token:
        """Let a token admit no longer, from the next request on; one that was revoked stays as it is.

        Raises:
            NotFoundError: there is no token of this id.
        """
        with self._database.transaction() as tx:
            found = self._find(token_id)
            if found is None:
                raise NotFoundError("token", token_id, hint="See: mainspring tokens list")
            if found[0].revoked_at is None:
                tx.execute("UPDATE server_token SET revoked_at = ? WHERE id = ?", (clock.now_us(), token_id))
                self._ledger.append(tx, "token.revoked", token_id, {"name": found[0].name})
        return next(each for each in self.list() if each.id == token_id)

    def owner(self, text: str) -> Actor:
        """Whose token a text is; raises `NotAllowedError`, which never holds it, if it admits nobody."""
        shape = _SHAPE.fullmatch(text)
        found = self._find(shape["id"]) if shape else None
        if found is None or not compare_digest(found[1], _digest(text)):
            raise NotAllowedError("This token is not known here.")
        token = found[0]
        if token.state != "active":
            at = clock.from_us(token.revoked_at or token.expires_at or 0).isoformat(timespec="seconds")
            said = "was revoked" if token.state == "revoked" else "expired"
            raise NotAllowedError(f"The token {token.id} of `{token.name}` {said} at {at}.")
        return Actor(token.name, verified=True, roles=token.roles)

    def _find(self, token_id: str) -> tuple[Token, str] | None:
        columns = f"{', '.join(_COLUMNS)}, digest"
        row = self._database.query_one(f"SELECT {columns} FROM server_token WHERE id = ?", (token_id,))
        return (_read(row[:-1]), row[-1]) if row else None


def _read(row: tuple[object, ...]) -> Token:
    values = dict(zip(_COLUMNS, row, strict=True))
    return msgspec.convert(values | {"roles": msgspec.json.decode(str(values["roles"]))}, Token)


def _digest(text: str) -> str:
    # The secret has 256 random bits, so nothing slower than a hash keeps it from being guessed.
    return blake3(text.encode()).hexdigest()


def _expect_line(path: str, text: str) -> None:
    if not text or text != text.strip() or len(text) > _LONGEST_NAME or not text.isprintable():
        raise InvalidError(path, text, f"a text of 1 to {_LONGEST_NAME} characters on one line")
