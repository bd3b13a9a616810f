"""The parts of a database or blob URL; a password in it may be a secret reference, resolved when connecting."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import parse_qsl, quote, unquote

from mainspring.errors import ConfigError

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?:(?P<user>[^:@/?]*)(?::(?P<password>secret:(?:env|file)/[^@]*|[^@/?]*))?@)?"
    r"(?P<host>\[[^\]]*\]|[^:/?]*)(?::(?P<port>\d+))?"
    r"(?P<path>/[^?]*)?(?:\?(?P<query>.*))?"
)
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
SECRET_BUCKET_OPTIONS = frozenset({"access_key_id", "secret_access_key", "session_token"})
_SECRET_OPTIONS = SECRET_BUCKET_OPTIONS | {"password", "sslpassword"}


class Address:
    """A URL taken apart. `place` shows it without anything secret.

    >>> Address("postgresql://me:pw@db.example/work?schema=dev").place
    'postgresql://me@db.example/work?schema=dev'
    """

    def __init__(self, url: str, default_port: int | None = None) -> None:
        match = _URL.fullmatch(url)
        if match is None:
            raise ConfigError(f"the URL of scheme `{url.partition(':')[0]}` can't be read; see the docs for its form")
        self.scheme: str = match["scheme"]
        self.user = unquote(match["user"] or "")
        self.password = unquote(match["password"] or "")
        self.host = unquote(match["host"] or "").strip("[]")
        self.port = int(match["port"]) if match["port"] else default_port
        self.path = unquote(match["path"] or "").lstrip("/")
        self.options: dict[str, str] = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
        shown = "&".join(
            f"{key}={quote(value, safe='/:')}" for key, value in self.options.items() if key not in _SECRET_OPTIONS
        )
        port = f":{match['port']}" if match["port"] else ""
        user = f"{self.user}@" if self.user else ""
        self.place = f"{self.scheme}://{user}{match['host'] or ''}{port}/{self.path}{'?' + shown if shown else ''}"

    def identifier(self, option: str, default: str) -> str:
        """An option that becomes a name in SQL.

        Raises:
            ConfigError: it is not lower-case letters, digits and underscores, 63 at most.
        """
        value: str = self.options.get(option, default)
        if _IDENTIFIER.fullmatch(value) is None:
            raise ConfigError(f"{self.place}: `{option}` takes lower-case letters, digits and underscores, 63 at most")
        return value

    def connection_settings(self, drop: Collection[str]) -> dict[str, str | int]:
        """What libpq needs to connect, secrets resolved.

        Raises:
            SecretError: a reference can't be resolved.
        """
        found: dict[str, str | int | None] = {"host": self.host, "user": self.user, "password": self.password}
        found |= {"port": self.port, "dbname": self.path}
        found |= {key: value for key, value in self.options.items() if key not in drop}
        return {key: self.revealed(value) for key, value in found.items() if value not in (None, "")}

    @staticmethod
    def revealed(value: str | int | None) -> str | int:
        """A value with secret references replaced."""
        if isinstance(value, str) and "secret:" in value:
            from mainspring.secrets import resolve

            return resolve(value)
        return value or ""
