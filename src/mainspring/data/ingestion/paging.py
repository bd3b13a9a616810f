"""How an HTTP API says where its next page is."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

Page = dict[str, Any]  # the parameters of a request, or the address of it as `url`


class Answered(Protocol):
    """An answer, as far as paging looks into it."""

    document: Any
    records: int
    next_link: str | None
    """What a `Link` header calls next."""


class Paging(msgspec.Struct, frozen=True, tag=True):
    """One page and no more."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of what requests say of pages; it tells no source from another."""
        return ()

    def first(self) -> Page:
        """What the first request has."""
        return {}

    def after(self, page: Page, answer: Answered) -> Page | None:  # noqa: ARG002  # the ways below look at both
        """What the next request has; None if this was the last page."""
        return None


class LinkHeader(Paging, frozen=True, tag=True):
    """The next page is the `Link` header's `rel="next"` (RFC 8288), as on GitHub."""

    def after(self, page: Page, answer: Answered) -> Page | None:  # noqa: ARG002  # the base's signature
        """Its address."""
        return {"url": answer.next_link} if answer.next_link else None


class NextLink(Paging, frozen=True, tag=True):
    """The next page's address stands in the document, at a path such as `paging.next`."""

    path: str = "next"

    def after(self, page: Page, answer: Answered) -> Page | None:  # noqa: ARG002  # the base's signature
        """The address found there, if any."""
        link = at_path(answer.document, self.path)
        return {"url": str(link)} if link else None


class PageNumber(Paging, frozen=True, tag=True):
    """Pages have numbers; the one without records is the last, or the one whose number is what `last_path` says."""

    parameter: str = "page"
    start: int = 1
    last_path: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """What is said above."""
        return (self.parameter,)

    def first(self) -> Page:
        """The first number."""
        return {self.parameter: self.start}

    def after(self, page: Page, answer: Answered) -> Page | None:
        """The next number."""
        last = at_path(answer.document, self.last_path) if self.last_path else None
        if not answer.records or (last is not None and page[self.parameter] >= int(last)):
            return None
        return {self.parameter: page[self.parameter] + 1}


class Offset(Paging, frozen=True, tag=True):
    """Requests say how many records to leave out; a page with fewer than `limit` is the last."""

    limit: int = 100
    parameter: str = "offset"
    limit_parameter: str = "limit"

    @property
    def parameters(self) -> tuple[str, ...]:
        """What is said above."""
        return (self.parameter, self.limit_parameter)

    def first(self) -> Page:
        """None left out."""
        return {self.parameter: 0, self.limit_parameter: self.limit}

    def after(self, page: Page, answer: Answered) -> Page | None:
        """Those so far left out."""
        if answer.records < self.limit:
            return None
        return {**page, self.parameter: page[self.parameter] + answer.records}


class Token(Paging, frozen=True, tag=True):
    """The document holds a token, at a path such as `meta.cursor`, that the next request hands back."""

    path: str = "next_cursor"
    parameter: str = "cursor"

    @property
    def parameters(self) -> tuple[str, ...]:
        """What is said above."""
        return (self.parameter,)

    def after(self, page: Page, answer: Answered) -> Page | None:  # noqa: ARG002  # the base's signature
        """The token, if there is one."""
        token = at_path(answer.document, self.path)
        return {self.parameter: token} if token else None


def at_path(document: Any, path: str) -> Any:
    """What stands at a dotted path; None if there is nothing.

    >>> at_path({"meta": {"next": 7}}, "meta.next"), at_path([], "meta")
    (7, None)
    """
    for part in path.split(".") if path else ():
        document = document.get(part) if isinstance(document, dict) else None
    return document
