"""What is wrong with a request, for all who answer one; it is also imported by what runs without a server."""

from __future__ import annotations

from typing import Any

Headers = tuple[tuple[bytes, bytes], ...]


class RequestError(Exception):
    """A request that is not answered as asked: a status, what is wrong, and more to say."""

    def __init__(self, status: int, error: str, headers: Headers = (), **more: Any) -> None:
        super().__init__(error)
        self.status, self.headers = status, headers
        self.body = {"error": error, **more}
