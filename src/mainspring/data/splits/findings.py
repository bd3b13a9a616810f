"""What was found to leak between two parts: as data, as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import Any, Literal

import msgspec

from mainspring.errors import InvalidError, counted

Severity = Literal["ok", "warn", "stop"]
Kind = Literal[
    "shared_keys", "exact_duplicates", "near_duplicates", "similar_texts", "time_overlap", "target_leakage", "not_compared"
]  # fmt: skip
_RANK: dict[Severity, int] = {"ok": 0, "warn": 1, "stop": 2}
_WORD: dict[Severity, str] = {"ok": "ok   ", "warn": "warn ", "stop": "STOP "}
_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;vertical-align:top;"
    "border-bottom:1px solid #8884}code{overflow-wrap:anywhere}.stop{color:#d33}.warn{color:#b70}.ok{color:#293}"
)


class Finding(msgspec.Struct, frozen=True):
    """One way to leak that was looked for. `rows` and `share` (0–1) are of the test part; `score` is target leakage's."""

    kind: Kind
    severity: Severity
    message: str
    columns: tuple[str, ...] = ()
    rows: int = 0
    share: float = 0.0
    score: float | None = None
    examples: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{_WORD[self.severity]} {self.message}"


class LeakageReport(msgspec.Struct, frozen=True):
    """Everything that was looked for between a part to train on and a part to test on."""

    train: str
    test: str
    train_rows: int
    test_rows: int
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """The worst of the findings."""
        return max((finding.severity for finding in self.findings), key=_RANK.__getitem__, default="ok")

    @property
    def passed(self) -> bool:
        """Whether nothing of severity `stop` was found."""
        return self.severity != "stop"

    @property
    def _verdict(self) -> str:
        if {finding.kind for finding in self.findings if finding.severity == "stop"} == {"not_compared"}:
            return "nothing was compared"
        return {"ok": "no leak found", "warn": "worth a look", "stop": "they leak"}[self.severity]

    def raise_for_stop(self) -> None:
        """Go on only if nothing of severity `stop` was found.

        Raises:
            InvalidError: something was; the text names each.
        """
        if not self.passed:
            said = "; ".join(finding.message for finding in self.findings if finding.severity == "stop")
            raise InvalidError(
                f"{self.train} and {self.test}", self._verdict, "the verdict on separate parts", f"{said}."
            )

    def __str__(self) -> str:
        return "\n".join([self._head(), *(f"  {finding}" for finding in self.findings)])

    def _head(self) -> str:
        sizes = f"{counted(self.train_rows, 'row')} to train on, {self.test_rows:,} to test on"
        return f"{self.train} and {self.test}: {self._verdict} ({sizes})"

    def to_json(self) -> str:
        """The report as JSON, with `severity` and `passed`."""
        document = msgspec.to_builtins(self, enc_hook=str) | {"severity": self.severity, "passed": self.passed}
        return msgspec.json.encode(document).decode()

    def to_html(self) -> str:
        """The report as a page that needs no other file."""
        title = escape(f"{self.train} and {self.test}")
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Leakage between {title}</title>'
            f"<style>{_STYLE}</style></head><body>{self._repr_html_()}</body></html>\n"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td class="{each.severity}">{each.severity}</td><td>{escape(each.message)}</td>'
            f"<td>{'<br>'.join(f'<code>{escape(str(row))}</code>' for row in each.examples)}</td></tr>"
            for each in self.findings
        )
        head = "<tr><th></th><th>found</th><th>examples</th></tr>"
        return f"<p><b>{escape(self._head())}</b></p><table>{head}{rows}</table>"
