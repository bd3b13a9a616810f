"""The page of a report: everything in it, nothing from elsewhere, and no text that becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data import check, validate

VOID = {"meta"}


class Balance(HTMLParser):
    """Reads a page, and says which elements were left open, and which attributes lead elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.leads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.leads += [name for name, _ in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Balance:
    page = Balance()
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.leads == []
    assert not re.search(r"https?:|url\(|@import|<script", html)
    return page


def test_a_page_holds_findings_worst_first_with_examples() -> None:
    frame = pl.DataFrame({"id": [1, 2, 3, 4], "x": [1, None, 300, 4]})
    wanted = [
        check.not_null("id"),
        check.not_null("x", severity="warn"),
        check.between("x", 0, 100),
        check.not_null("y"),
    ]
    report = validate(frame, wanted, subject="flights/3", key="id")
    text = read(report.to_html()).text
    order = [text.index(name) for name in ("x between 0 and 100", "y is not null", "x is not null", "id is not null")]
    assert order == sorted(order)
    assert "there is no column `y`" in text
    assert "25 %" in text
    assert "it is not fit for use" in text


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_text_becomes_markup(name: str, value: str) -> None:
    frame = pl.DataFrame({name: [value + "!"]})
    report = validate(frame, [check.is_in(name, [value])] if name else [], subject=f"<b>{value}")
    page = read(report.to_html())
    assert "b" not in re.findall(r"<(b|i|img)>", report.to_html().replace("<b>1</b>", "").replace("<b>0</b>", ""))
    assert page.text


def test_a_table_without_rows_or_checks() -> None:
    assert "Every check passed" in read(validate(pl.DataFrame(), []).to_html()).text
