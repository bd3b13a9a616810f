"""Who acts: the owner of an authenticated token, or the operating system's user on an embedded workspace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import msgspec


class Actor(msgspec.Struct, frozen=True):
    """A name and whether somebody vouches for it. A name typed on a command line is a note, never an actor.

    `roles` are those in which they may decide, where whoever vouches for them says so; empty says nothing.
    """

    name: str
    verified: bool = False
    roles: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name if self.verified else f"{self.name} (local, unverified)"


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)


def current_actor() -> Actor:
    """Who acts in this context."""
    return _actor.get() or Actor(_system_user())


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Act as somebody whose identity was established, for the block."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def _system_user() -> str:
    return _name_of(os.getuid())


@cache
def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user without an entry
        return f"uid {uid}"
