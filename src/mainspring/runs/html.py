"""Records as tables of HTML, for notebooks and pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def html_table(table: Sequence[Sequence[str | None]]) -> str:
    """Cells as a table of HTML, the first row as its head; None is an empty cell.

    >>> html_table([["step", ""], ["a<b", None]])
    '<table><tr><th>step</th><th></th></tr><tr><td>a&lt;b</td><td></td></tr></table>'
    """
    head, *rows = ([escape(cell or "") for cell in row] for row in table)
    first = "".join(f"<th>{cell}</th>" for cell in head)
    rest = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{first}</tr>{rest}</table>"
