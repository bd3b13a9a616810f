"""What validation found, as data, as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import Any

import msgspec

from mainspring.data.validation.checks import Check
from mainspring.errors import InvalidError


class CheckResult(msgspec.Struct, frozen=True):
    """One check's outcome: how many rows fail it and their share of the table (0–1), with a few of them.

    `message` says what kept the check from being counted: a missing column, a type it can't be applied to.
    """

    check: Check
    passed: bool
    failing: int
    share: float
    message: str = ""
    examples: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        if self.passed:
            return f"ok    {self.check.name}"
        word = "STOP " if self.check.severity == "stop" else "warn "
        rows = "row fails" if self.failing == 1 else "rows fail"
        said = self.message or f"{self.failing:,} {rows} ({100 * self.share:.3g} %)"
        return f"{word} {self.check.name}: {said}"


class Report(msgspec.Struct, frozen=True):
    """The outcome of every check on one table."""

    subject: str
    rows: int
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no check of severity `stop` failed."""
        return not any(result.check.severity == "stop" for result in self.failed)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The results that did not pass, warnings included."""
        return tuple(result for result in self.results if not result.passed)

    def raise_for_stop(self) -> None:
        """Go on only if no check of severity `stop` failed.

        Raises:
            InvalidError: one did; the text names each with its count.
        """
        stops = [result for result in self.failed if result.check.severity == "stop"]
        if stops:
            count = f"{len(stops)} of {len(self.results)} checks failed"
            said = "; ".join(str(result).removeprefix("STOP").strip() for result in stops)
            raise InvalidError(self.subject, count, "a table that passes its checks", f"{said}.")

    def __repr__(self) -> str:
        passed, stops = len(self.results) - len(self.failed), "" if self.passed else ", stopped"
        return f"<report on {self.subject}, {passed} of {len(self.results)} checks passed on {self.rows:,} rows{stops}>"

    def __str__(self) -> str:
        passed = sum(result.passed for result in self.results)
        head = f"{self.subject}: {passed} of {len(self.results)} checks passed on {self.rows:,} rows"
        return "\n".join([head, *(f"  {result}" for result in self.results)])

    def _repr_html_(self) -> str:
        rows = []
        for result in self.results:
            state = "ok" if result.passed else result.check.severity
            said = result.message or ("" if result.passed else f"{result.failing:,} ({100 * result.share:.3g} %)")
            shown = "; ".join(str(example) for example in result.examples[:3])
            cells = "".join(f"<td>{escape(text)}</td>" for text in (state, result.check.name, said, shown))
            rows.append(f"<tr>{cells}</tr>")
        head = "<tr><th></th><th>check</th><th>failing</th><th>examples</th></tr>"
        return f"<b>{escape(self.subject)}</b> {self.rows:,} rows<table>{head}{''.join(rows)}</table>"
