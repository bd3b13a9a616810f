"""The answers to a block of rows: its columns are checked, features are read or joined, the model is called as online.

Rows that don't fit stop the job, or are set apart with the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from mainspring.data.validation.quarantine import REASONS
from mainspring.errors import InvalidError, MainspringError, ModelError, counted, shorten
from mainspring.models import Field, Problem
from mainspring.models.predictor import Prediction
from mainspring.models.records import MOST_PROBLEMS
from mainspring.models.signature import Columns, Output
from mainspring.serving.batch.checking import Checked, check_table
from mainspring.serving.batch.files import read_texts
from mainspring.serving.online import OnlinePredictor
from mainspring.workspace import Workspace

if TYPE_CHECKING:
    from mainspring.data import DatasetVersion

VERSION_COLUMN = "model_version"
_TYPES: dict[type, Any] = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}


class History(NamedTuple):
    """Features are those that were known at each row's instant, the column `time`, in these versions of their sources."""

    time: str
    sources: Mapping[str, DatasetVersion]


class Answers(NamedTuple):
    """The rows with predictions, and those that were set apart."""

    answered: pl.DataFrame
    apart: pl.DataFrame | None


class Answering(NamedTuple):
    """How blocks are answered; the same for all blocks of a job. Features that are read are those at `at_us`.

    The columns of `texts` are read as what those fields are; rows that are set apart keep their texts.
    """

    predictor: OnlinePredictor
    model: str
    keep: list[str]
    column: str
    history: History | None
    at_us: int | None
    sets_apart: bool
    workspace: Workspace
    texts: Sequence[Field] = ()

    def __call__(self, block: pl.DataFrame, first_row: int) -> Answers:
        """The answers to rows, the first of which is called `first_row` in what is said.

        Raises:
            InvalidError: rows don't fit, and are not to be set apart; the first are named by row and column.
            ModelError: the model raised something on these rows.
            StorageError: the online store can't be read.
        """
        rows, apart = block.with_columns(_numbers(block, first_row)), []
        read, unread = read_texts(rows, self.texts)
        while (checked := self._checked(read.drop(_ROW), unread)).problems:
            if not self.sets_apart:
                raise _refused(rows, checked.problems)
            bad = sorted(checked.problems)
            reasons = ["; ".join(map(str, checked.problems[place])) for place in bad]
            apart.append(rows[bad].with_columns(pl.Series(REASONS, reasons, dtype=pl.String)))
            fits = ~pl.int_range(pl.len()).is_in(bad)
            rows, read, unread = rows.filter(fits), read.filter(fits), {}
        given = self._given(checked.columns, read[_ROW])
        answers = answer_columns(given, self.predictor.predictor.signature.output, self.column)
        made = pl.DataFrame([*read.select(self.keep).get_columns(), *answers])
        made = made.with_columns(pl.lit(self.model).alias(VERSION_COLUMN))
        return Answers(made, pl.concat(apart).sort(_ROW).drop(_ROW) if apart else None)

    def _given(self, columns: Columns, numbers: pl.Series) -> list[Prediction]:
        """What the model answers to the rows of these numbers."""
        try:
            return self.predictor.predictor.answer(columns, numbers.len())
        except MainspringError:
            raise
        except (Exception, SystemExit) as error:
            where = f"on rows {numbers[0]:,} to {numbers[-1]:,}"
            raise ModelError(self.model, type(error).__name__, shorten(str(error), 300), where=where) from error

    def _checked(self, rows: pl.DataFrame, unread: dict[int, list[Problem]]) -> Checked:
        """The model's columns, and what is wrong with them, by the row's place; texts that can't be read are null there."""
        signature, reader = self.predictor.predictor.signature, self.predictor.reader
        if unread:
            return Checked({}, _joined(unread, check_table(rows, self.predictor.takes.inputs).problems))
        if self.history is not None and reader is not None:
            from mainspring.features import training_set

            joined = training_set(
                rows, reader.service, time=self.history.time, sources=self.history.sources, workspace=self.workspace
            )
            return check_table(joined.frame, signature.inputs)
        checked = check_table(rows, self.predictor.takes.inputs)
        if reader is None or checked.problems:
            return checked
        filled = self.predictor.fill(checked.columns, rows.height, at_us=self.at_us).columns
        problems: dict[int, list[Problem]] = {}
        for field in self.predictor.features.values():
            if not field.nullable:
                said = f"there is no value, and the model takes no null: expected {field.expects}"
                for place, value in enumerate(filled[field.name]):
                    if value is None or value != value:  # NaN alone is not itself
                        problems.setdefault(place, []).append(Problem(field.name, said))
        return Checked(filled, problems)


def _joined(unread: dict[int, list[Problem]], others: Mapping[int, Sequence[Problem]]) -> dict[int, list[Problem]]:
    """Texts that can't be read, and the problems of all other values."""
    for row, problems in others.items():
        own = unread.setdefault(row, [])
        names = {each.path for each in own}
        own += [each for each in problems if each.path not in names]
    return unread


_ROW = "mainspring_row"


def _numbers(block: pl.DataFrame, first_row: int) -> pl.Series:
    return pl.Series(_ROW, range(first_row, first_row + block.height), dtype=pl.Int64)


def _refused(rows: pl.DataFrame, problems: Mapping[int, Sequence[Problem]]) -> InvalidError:
    first = sorted(problems)[:MOST_PROBLEMS]
    said = [f"row {rows[_ROW][place]:,}, {problem}" for place in first for problem in problems[place]]
    given = f"{counted(len(problems), 'row')} with problems"
    hint = "; ".join(said[:MOST_PROBLEMS]) + ". Name a dataset as `quarantine`, and such rows are set apart."
    return InvalidError("data", given, "what the signature takes", hint)


def answer_columns(given: Sequence[Prediction], output: Output, column: str) -> list[pl.Series]:
    """Predictions as columns: one, or one for each class.

    >>> answer_columns([{"a": .25, "b": .75}], Output("probabilities", ("a", "b")), "p")[1].name
    'p_b'
    """
    if output.kind == "probabilities":
        rows: Any = given
        return [pl.Series(f"{column}_{name}", [row[str(name)] for row in rows], pl.Float64) for name in output.classes]
    if given:
        return [pl.Series(column, given)]
    known = output.classes[0] if output.kind == "label" and output.classes else 0.0
    return [pl.Series(column, [], dtype=_TYPES[type(known)])]
