"""JSON APIs over HTTP, page after page, by httpx.

The state of a reading is its next page; the state behind all pages is the greatest value of the cursor that was seen, which
the next reading asks to start from. What a source sends is sent to one origin only (scheme, host and port).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import msgspec

from mainspring import clock
from mainspring.data._sources import source_of_address
from mainspring.data.ingestion.kinds import has_decimal
from mainspring.data.ingestion.paging import LinkHeader, NextLink, Offset, Page, PageNumber, Paging, Token, at_path
from mainspring.data.ingestion.parameters import Pairs, SourceSecrets, telling
from mainspring.data.ingestion.records import frame_of
from mainspring.data.ingestion.retry import Retry
from mainspring.data.ingestion.seen import Seen
from mainspring.data.ingestion.source import Batch, Interrupted, Reading, State, behind_cursor
from mainspring.errors import (
    InvalidError,
    MainspringError,
    MissingExtraError,
    NotFoundError,
    StorageError,
    UnavailableError,
    counted,
    shorten,
)
from mainspring.foreign import read_foreign
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
    only grows, the parameter `since` of the first request says its greatest value so far; records that the reading before was
    given are left out, by their digests, and others are taken, also those below it; an upsert takes all. 408, 425, 429 and 5xx
    are tried again, after what `Retry-After` asks for.
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
    def is_of_one_go(self) -> bool:
        """Without a cursor, since nothing tells what shifted until an interrupted ingest goes on."""
        return not self.cursor

    @property
    def identity(self) -> str:
        """The address with the parameters that tell it from others, without secrets and paging, and the records' path."""
        return f"{self._address} {self.records}".rstrip()

    def batches(self, state: State | None, reading: Reading) -> Iterator[Batch]:
        """The records of each page from the state on."""
        if bool(self.cursor) != bool(self.since):
            raise InvalidError("cursor", self.cursor, "said together with `since`, the parameter that takes its value")
        if self.cursor:
            state = behind_cursor(state, self.cursor, self._origin, reading.mode)
        seen = Seen.of(state, self.cursor, is_again=reading.mode == "upsert")
        secrets = SourceSecrets([self.token, *self.headers.values(), *(str(value) for _, value in self._given)])
        page = self._page(state, reading, secrets)
        told = False
        with self._client() as client:
            while page is not None:
                answer = self._asked(client, page, seen.start)
                following = self._following(page, answer)
                asked = partial(self._again, client, reading.retry, seen.start, secrets)
                places = seen.new(answer.found, self._origin, _hidden(page, secrets), asked)
                records = answer.records_at(places, reading)
                frame = frame_of(records, self._origin, reading) if records else None
                yield Batch(
                    frame=frame, state=self._behind(seen, following, secrets), origin=self._origin,
                    size_bytes=answer.size_bytes, sparse=True, sources=() if told else (source_of_address(self._address),),
                    warning=self._told(seen) if following is None else "",
                )  # fmt: skip
                told, page = True, following

    def _told(self, seen: Seen) -> str:
        """How many records were given again, and how many came late."""
        told = []
        if seen.again:
            told.append(
                f"{counted(seen.again, 'record')} equal to what an earlier page of this reading of {self._origin} held"
                f" {_were(seen.again)} left out: pages shift when records come in between."
            )
        if seen.twice:
            told.append(
                f"{counted(seen.twice, 'record')} equal to what the page before of {self._origin} held {_were(seen.twice)}"
                " taken: if records came in between, so that pages shifted, they are there twice."
                f"{'' if self.cursor else ' A cursor takes each once, as'} mode='upsert' with a key"
                f"{' takes each once' if self.cursor else ' does'}."
            )
        if seen.left:
            told.append(f"{counted(seen.left, 'record')} that {self._origin} gave before {_were(seen.left)} left out.")
        if seen.late:
            below = f"whose `{self.cursor}` is below `{seen.start}`, from which on it was asked,"
            told.append(
                f"{counted(seen.late, 'record')} {below} {_were(seen.late)} appended: late, changed, or not known any more of"
                " so many. mode='upsert' with a key takes each once."
            )
        return " ".join(told)

    def _page(self, state: State | None, reading: Reading, secrets: SourceSecrets) -> Page | None:
        """The page to go on with; None if all were read."""
        stored = (state or {}).get("page")
        if stored:
            return _shown(stored, secrets)
        return None if reading.is_resumed else self.paging.first()

    def _behind(self, seen: Seen, page: Page | None, secrets: SourceSecrets) -> State | None:
        """The state behind a page; None if the next one can't be told without a secret, so that reading begins anew."""
        hidden = _hidden(page or {}, secrets)
        return None if hidden is None else seen.state(hidden or None)

    def _again(
        self, client: httpx.Client, retry: Retry, start: Any, secrets: SourceSecrets, page: Page
    ) -> list[dict[str, Any]] | None:
        """A page's records once more; None if it can't be read by now, as by a token that counts once."""
        for failures in count(1):
            try:
                return self._asked(client, _shown(page, secrets), start).found
            except Interrupted as error:
                # The page itself isn't asked for again: one after the other, a source that allows few requests gives both.
                if failures >= retry.attempts:
                    raise
                retry.sleep(retry.wait_s(failures, error.retry_after_s))
            except MainspringError as error:
                if error.transient:
                    raise
                return None
        raise AssertionError

    def _following(self, page: Page, answer: _Answer) -> Page | None:
        following = self.paging.after(page, answer)
        if following is None:
            return None
        if "url" in following:
            following = {"url": urljoin(answer.url, following["url"])}
            self._expect_own_origin("next page", following["url"])
        if following == page:
            raise InvalidError(f"{self._origin}: next page", redact(str(page)), "another page than this one")
        return following

    def _expect_own_origin(self, what: str, url: str) -> None:
        """Nothing that was sent to one origin, such as a key in a header, is handed to another."""
        try:
            is_own = _origin_of(url) == _origin_of(self.url)
        except httpx.InvalidURL:
            is_own = False
        if not is_own:
            raise InvalidError(
                f"{self._origin}: {what}", redact(url), "an address of the same scheme, host and port",
                "What was sent to one host, such as a token, is not handed to another; if that one is meant, name it.",
            )  # fmt: skip

    def _asked(self, client: httpx.Client, page: Page, start: Any) -> _Answer:
        """One page."""
        url, params = page.get("url"), None
        if url is None:
            asked = page | ({self.since: start} if self.since and start is not None else {})
            kept = [(name, _resolved(value)) for name, value in self._given if name not in asked]
            url, params = self.url.partition("?")[0], [*kept, *asked.items()] or None
        try:
            response = client.get(url, params=params)
        except httpx.TransportError as error:
            raise UnavailableError(self._origin, f"it can't be reached ({_reason(error)})") from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise StorageError(self._origin, f"it can't be read ({_reason(error)})") from error
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
        hooks: dict[str, list[Any]] = {"response": [self._expect_own_redirect]}
        with httpx.Client(headers=headers, timeout=self.timeout_s, follow_redirects=True, event_hooks=hooks) as client:
            yield client

    def _expect_own_redirect(self, response: httpx.Response) -> None:
        if response.has_redirect_location:
            self._expect_own_origin("redirect", urljoin(str(response.url), response.headers["location"]))

    @property
    def _given(self) -> Pairs:
        """The address's query and the parameters beside it, which count where both say something."""
        query: Pairs = [
            pair for pair in parse_qsl(urlsplit(self.url).query, keep_blank_values=True) if pair[0] not in self.params
        ]
        return [*query, *self.params.items()]

    @property
    def _address(self) -> str:
        own = {self.since, *self.paging.parameters}
        told = telling(pair for pair in self._given if pair[0] not in own)
        return f"{self._origin}?{told}" if told else self._origin

    @property
    def _origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _origin_of(url: str) -> tuple[str, str, int | None]:
    found = httpx.URL(url)
    return found.scheme, found.host, found.port


def _hidden(page: Page, secrets: SourceSecrets) -> Page | None:
    """A page as it is recorded; None if it can't be told without a secret."""
    found = {name: secrets.hidden(value) if isinstance(value, str) else value for name, value in page.items()}
    return None if None in found.values() else found


def _shown(page: Page, secrets: SourceSecrets) -> Page:
    """A page that was `_hidden`, as it was."""
    return {name: secrets.shown(value) if isinstance(value, str) else value for name, value in page.items()}


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _resolved(value: str | int) -> str | int:
    return resolve(value) if isinstance(value, str) else value


def _reason(error: Exception) -> str:
    return shorten(redact(str(error))) or type(error).__name__


class _Answer:
    """One page as JSON, and the records in it."""

    def __init__(self, response: httpx.Response, path: str, origin: str) -> None:
        self.url = str(response.url)
        self.size_bytes = len(response.content)
        self.next_link = response.links.get("next", {}).get("url")
        self._content, self._path = response.content, path
        try:
            self.document: Any = read_foreign(response.content)
        except ValueError as error:
            raise InvalidError(origin, shorten(redact(response.text)), f"a JSON document ({error})") from error
        found = at_path(self.document, path)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            expected = f"a list of JSON objects at `records={path!r}`"
            raise InvalidError(origin, shorten(redact(response.text)), expected)
        self.found: list[dict[str, Any]] = found
        self.records = len(found)

    def records_at(self, places: list[int], reading: Reading) -> list[dict[str, Any]]:
        """Some of the records, with numbers as they are written where decimals are decided on."""
        names = [name for name, dtype in reading.types.items() if has_decimal(dtype)]
        if not names:
            return [self.found[place] for place in places]
        exact = at_path(read_foreign(self._content, msgspec.json.Decoder(float_hook=Decimal).decode), self._path)
        return [
            {**self.found[place], **{name: exact[place][name] for name in names if name in exact[place]}}
            for place in places
        ]


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
