"""What validation found, as data, as text and as HTML."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.data.validation.checks import Check
from mainspring.errors import InvalidError, counted
from mainspring.store.named_file import write_named

if TYPE_CHECKING:
    import polars as pl

_WORDS = {"stop": "STOP ", "quarantine": "quar ", "warn": "warn "}


class CheckResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check's outcome: how many rows fail it and their share of the table (0–1), with a few of them.

    `message` says what was found where no rows are counted, or what kept the check from being applied; `against` is the
    version that the table was held to, if the check speaks of another one.
    """

    check: Check
    passed: bool
    failing: int = 0
    share: float = 0.0
    message: str = ""
    examples: tuple[dict[str, Any], ...] = ()
    against: str = ""

    @property
    def stops(self) -> bool:
        """Whether the table must not be used: failed with severity `stop`, or rows that nobody could set apart."""
        if self.passed or self.check.severity == "warn":
            return False
        return self.check.severity == "stop" or bool(self.message)

    @property
    def finding(self) -> str:
        """What was found, in words; empty for a check that passed."""
        if self.message or self.passed:
            return self.message
        rows = "row fails" if self.failing == 1 else "rows fail"
        return f"{self.failing:,} {rows} ({100 * self.share:.3g} %)"

    def __str__(self) -> str:
        said = f": {self.finding}" if self.finding else ""
        if self.against:
            said += f" [{self.against}]"
        word = "ok   " if self.passed else _WORDS["stop" if self.stops else self.check.severity]
        return f"{word} {self.check.name}{said}"


class Report(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """The outcome of every check on one table; `notes` name what a schema asks for that wasn't checked."""

    subject: str
    rows: int
    results: tuple[CheckResult, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing stops the table from being used, the rows of severity `quarantine` set apart."""
        return not any(result.stops for result in self.results)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The results that did not pass, warnings included."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def verdict(self) -> str:
        """The worst that was found: `stopped`, `quarantined`, `warned` or `passed`."""
        if not self.passed:
            return "stopped"
        severities = {result.check.severity for result in self.failed}
        return "quarantined" if "quarantine" in severities else "warned" if severities else "passed"

    def raise_for_stop(self) -> None:
        """Go on only if no check of severity `stop` failed, and none of `quarantine` that couldn't be applied.

        Raises:
            InvalidError: one did; the text names each with its count.
        """
        stops = [result for result in self.results if result.stops]
        if stops:
            count = f"{len(stops)} of {len(self.results)} checks failed"
            said = "; ".join(str(result).removeprefix("STOP").strip() for result in stops)
            raise InvalidError(self.subject, count, "a table that passes its checks", f"{said}.")

    def split(self, table: Any = None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that no check of severity `quarantine` fails on, and the others, both in their order.

        The others have a column more, `quarantine_reasons`: the names of the checks that each row fails. `table` is what
        was validated; a report remembers it until it is stored.

        Raises:
            InvalidError: the report was stored and read, and no table is given; or a check stops the table.
        """
        table = self.__dict__.get("table") if table is None else table
        if table is None:
            raise InvalidError("table", None, "the table that was validated", "A stored report doesn't hold it.")
        parts: tuple[pl.DataFrame, pl.DataFrame] = _home("quarantine").divided(self, table)
        return parts

    def about(self, table: Any) -> Report:
        """The report, remembering its table for `split`."""
        self.__dict__["table"] = table
        return self

    def to_html(self) -> str:
        """A page of its own that needs nothing from elsewhere, with examples of the rows that fail."""
        text: str = _home("page").page([self])
        return text

    def save_html(self, path: Path | str) -> Path:
        """Write the page to a file; raises `StorageError`."""
        return write_named(path, self.to_html())

    def __repr__(self) -> str:
        stops = "" if self.passed else ", stopped"
        return f"<report on {self.subject}, {self._counted()}{stops}>"

    def __str__(self) -> str:
        head = f"{self.subject}: {self._counted()}"
        notes = (f"  not checked: {note}" for note in self.notes)
        return "\n".join([head, *(f"  {result}" for result in self.results), *notes])

    def _counted(self) -> str:
        passed = sum(result.passed for result in self.results)
        return f"{passed} of {len(self.results)} checks passed on {counted(self.rows, 'row')}"

    def _repr_html_(self) -> str:
        text: str = _home("page").fragment(self)
        return text


def _home(module: str) -> Any:
    """A module of what can be done with a report, by name: those stand on this record."""
    return import_module(f"mainspring.data.validation.{module}")
