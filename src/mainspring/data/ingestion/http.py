"""JSON APIs over HTTP, page after page, by httpx.

The state of a reading is its next page; the state behind all pages is the greatest value of the cursor that was seen, which
the next reading asks to start from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import msgspec
from blake3 import blake3

from mainspring import clock
from mainspring.data._sources import source_of_address
from mainspring.data.ingestion.paging import LinkHeader, NextLink, Offset, Page, PageNumber, Paging, Token, at_path
from mainspring.data.ingestion.records import frame_of
from mainspring.data.ingestion.source import Batch, Interrupted, Reading, State
from mainspring.errors import InvalidError, MissingExtraError, NotFoundError, StorageError, UnavailableError, shorten
from mainspring.secrets import redact, resolve

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("httpx", "http", "Reading over HTTP") from error

_TIMEOUT_S = 60.0
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
Pages = Paging | LinkHeader | NextLink | PageNumber | Offset | Token


class Http(msgspec.Struct, frozen=True):
    """Records of a JSON API: a list at the path `records` of each page, or the page itself.

    `headers`, `params` and `token` (sent as `Authorization: Bearer`) may hold secret references. With `cursor`, a column that
    only grows, the parameter `since` of the first request says its greatest value so far; rows at that value which the API
    gives once more are left out. 408, 425, 429 and 5xx are tried again, after what `Retry-After` asks for.
    """

    url: str
    records: str = ""
    paging: Pages = LinkHeader()
    params: dict[str, str | int] = {}  # a Struct copies its defaults
    headers: dict[str, str] = {}
    token: str = ""
    cursor: str = ""
    since: str = ""
    timeout_s: float = _TIMEOUT_S

    @property
    def identity(self) -> str:
        """The address without its query, and the records' path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} {self.records}".rstrip()

    def batches(self, state: State | None, reading: Reading) -> Iterator[Batch]:
        """The records of each page from the state on."""
        if bool(self.cursor) != bool(self.since):
            raise InvalidError("cursor", self.cursor, "said together with `since`, the parameter that takes its value")
        seen = _Seen.of(state)
        page: Page | None = (state or {}).get("page")
        if page is None and not reading.is_resumed:
            page = self.paging.first()
        told = False
        with self._client() as client:
            while page is not None:
                answer = self._asked(client, page, seen.start)
                following = self._following(page, answer)
                records = seen.new(answer.found, self.cursor, self._origin)
                frame = frame_of(records, self._origin, reading) if records else None
                behind = seen.state(following)
                yield Batch(
                    frame=frame, state=behind, origin=self._origin, size_bytes=answer.size_bytes, sparse=True,
                    sources=() if told else (source_of_address(self.identity.partition(" ")[0]),),
                )  # fmt: skip
                told, page = True, following

    def _following(self, page: Page, answer: _Answer) -> Page | None:
        following = self.paging.after(page, answer)
        if following is None:
            return None
        if "url" in following:
            following = {"url": urljoin(answer.url, following["url"])}
            if urlsplit(following["url"]).netloc != urlsplit(self.url).netloc:
                raise InvalidError(
                    f"{self._origin}: next page", redact(following["url"]), "an address of the same host",
                    "What was sent to one host, such as a token, is not handed to another.",
                )  # fmt: skip
        if following == page:
            raise InvalidError(f"{self._origin}: next page", redact(str(page)), "another page than this one")
        return following

    def _asked(self, client: httpx.Client, page: Page, start: Any) -> _Answer:
        """One page."""
        url = page.get("url", self.url)
        params: dict[str, Any] = {} if "url" in page else dict(parse_qsl(urlsplit(self.url).query))
        if "url" not in page:
            params |= {name: resolve(value) if isinstance(value, str) else value for name, value in self.params.items()}
            params |= page
            if self.since and start is not None:
                params[self.since] = start
        try:
            response = client.get(url, params=params or None)
        except httpx.TransportError as error:
            reason = shorten(redact(str(error))) or type(error).__name__
            raise UnavailableError(self._origin, f"it can't be reached ({reason})") from error
        self._expect_success(response)
        return _Answer(response, self.records, self._origin)

    def _expect_success(self, response: httpx.Response) -> None:
        status = response.status_code
        if response.is_success:
            return
        reason = f"it answered {status} {response.reason_phrase}".rstrip()
        if status in _TRANSIENT:
            raise Interrupted(UnavailableError(self._origin, reason), _retry_after_s(response))
        if status in (404, 410):
            raise NotFoundError("address", self._origin, hint=f"It answered {status}.")
        said = shorten(redact(response.text))
        hint = "Check the token and what it may read." if status in (401, 403) else ""
        raise StorageError(self._origin, f"{reason}{f' ({said})' if said else ''}", hint)

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        headers = {name: resolve(value) for name, value in self.headers.items()}
        if self.token:
            headers["Authorization"] = f"Bearer {resolve(self.token)}"
        with httpx.Client(headers=headers, timeout=self.timeout_s, follow_redirects=True) as client:
            yield client

    @property
    def _origin(self) -> str:
        return self.identity.partition(" ")[0]


class _Answer:
    """One page as JSON, and the records in it."""

    def __init__(self, response: httpx.Response, path: str, origin: str) -> None:
        self.url = str(response.url)
        self.size_bytes = len(response.content)
        self.next_link = response.links.get("next", {}).get("url")
        try:
            self.document: Any = msgspec.json.decode(response.content)
        except msgspec.MsgspecError as error:
            raise InvalidError(origin, shorten(redact(response.text)), f"a JSON document ({error})") from error
        found = at_path(self.document, path)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            expected = f"a list of JSON objects at `records={path!r}`"
            raise InvalidError(origin, shorten(redact(response.text)), expected)
        self.found: list[dict[str, Any]] = found
        self.records = len(found)


class _Seen:
    """The greatest value of the cursor: `start` when the reading began, `high` so far, with the records that have it."""

    def __init__(self, start: Any, known: list[str], high: Any, digests: list[str]) -> None:
        self.start, self.known, self.high, self.digests = start, known, high, digests

    @classmethod
    def of(cls, state: State | None) -> _Seen:
        """From its JSON. Behind the last page the next reading starts from what was the greatest."""
        found = state or {}
        if not found.get("page"):
            found = {**found, "start": found.get("high"), "known": found.get("digests", [])}
        return cls(found.get("start"), found.get("known", []), found.get("high"), found.get("digests", []))

    def new(self, records: list[dict[str, Any]], cursor: str, origin: str) -> list[dict[str, Any]]:
        """The records that were not taken by a reading before; the greatest value moves with them."""
        if not cursor:
            return records
        kept = []
        for record in records:
            value = at_path(record, cursor)
            if not isinstance(value, int | float | str) or isinstance(value, bool):
                raise InvalidError(
                    f"{origin}, column `{cursor}`", value, "a cursor that each record has: text or number"
                )
            digest = msgspec.json.encode(record, order="sorted").decode()
            if value == self.start and _short(digest) in self.known:
                continue
            kept.append(record)
            if self.high is None or value > self.high:
                self.high, self.digests = value, []
            if value == self.high:
                self.digests = [*self.digests, _short(digest)]
        return kept

    def state(self, page: Page | None) -> State:
        """As JSON, with the page to go on with."""
        found: State = {"page": page, "high": self.high, "digests": self.digests}
        return found | {"start": self.start, "known": self.known} if page else found


def _short(text: str) -> str:
    return blake3(text.encode()).hexdigest()[:32]


def _retry_after_s(response: httpx.Response) -> float | None:
    """What `Retry-After` asks for: seconds, or a time (RFC 9110, section 10.2.3)."""
    text = response.headers.get("retry-after", "")
    if text.isdecimal():
        return float(text)
    try:
        at: datetime = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((at.replace(tzinfo=at.tzinfo or UTC) - clock.now()).total_seconds(), 0.0)
