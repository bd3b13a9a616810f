"""On-demand features: one computation for a request of one row and for a training set of millions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mainspring.errors import InvalidError, WrongTypeError, close_names, counted
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import OnDemandRecord, Python
from mainspring.features.definitions.single import of_one_row
from mainspring.features.definitions.types import is_of
from mainspring.features.history.instants import expect_values_shown

if TYPE_CHECKING:
    import polars as pl


def computed(record: OnDemandRecord, frame: pl.DataFrame, functions: Functions) -> pl.DataFrame:
    """The features of a frame that holds the columns of the request and of the inputs; a row for each row, in order.

    Raises:
        InvalidError: the function or an expression fails, gives other rows or types, or misses a feature.
        WrongTypeError: the function gives no frame.
    """
    import polars as pl

    from mainspring.data.validation.evaluation import evaluated

    if record.transform is not None:
        return _typed(record, _called(record, record.transform, frame, functions))
    try:
        return _typed(record, evaluated(frame, {field.name: field.formula for field in record.fields}))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        said = str(error).split("\n")[0]
        raise InvalidError(f"{record.name}.features", said, "expressions over request and inputs") from error


def _typed(record: OnDemandRecord, found: pl.DataFrame) -> pl.DataFrame:
    """What was computed, of the types of this version as far as they are known; nulls alone may be of any.

    A time that nobody could be shown is refused, here as where it would be stored.
    """
    from mainspring.data.tables.type_names import name_of_type, named_type

    changed = []
    for field in record.fields:
        column = found.get_column(field.name)
        expect_values_shown(column, f"{record.name}.{field.name}")
        if not field.dtype or column.dtype == (wanted := named_type(field.dtype, field.name)):
            continue
        if not is_of(wanted, column.dtype):
            given, expected = name_of_type(column.dtype), f"{field.dtype}, its type in this version of the view"
            raise InvalidError(f"{record.name}.{field.name}", given, expected)
        changed.append(column.cast(wanted))
    return found.with_columns(changed) if changed else found


def _called(record: OnDemandRecord, transform: Python, frame: pl.DataFrame, functions: Functions) -> pl.DataFrame:
    """What the function gives; of a single row with the bits of a batch."""
    function = functions.load(transform)

    def made(rows: pl.DataFrame) -> pl.DataFrame:
        return _given(record, transform, function, rows)

    return of_one_row(made, frame) if frame.height == 1 else made(frame)


def _given(
    record: OnDemandRecord, transform: Python, function: Callable[[pl.DataFrame], object], frame: pl.DataFrame
) -> pl.DataFrame:
    import polars as pl

    names = [field.name for field in record.fields]
    where = f"{transform.module}:{transform.qualname}"
    try:
        found = function(frame)
    except InvalidError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        said = f"{type(error).__name__}: {error}"
        raise InvalidError(f"{record.name}.transform", where, "computable of these rows", said) from error
    if not isinstance(found, pl.DataFrame):
        raise WrongTypeError(f"{record.name}.transform", found, f"a data frame from {where}")
    if missing := [name for name in names if name not in found.columns]:
        raise InvalidError(
            f"{record.name}.{missing[0]}", ", ".join(found.columns), f"a column `{missing[0]}` from {where}",
            " ".join(f"Nearest: {near}." for near in close_names(missing[0], found.columns)[:1]),
        )  # fmt: skip
    if found.height != frame.height:
        raise InvalidError(
            f"{record.name}.transform", counted(found.height, "row"), f"{counted(frame.height, 'row')}, as given"
        )
    return found.select(names)
