"""From records to predictions: check against the signature, make the table the model knows, call it, give plain values.

No state but the model: the same records give the same answers. Polars and pandas are loaded only for models fitted on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from inspect import isgeneratorfunction
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from mainspring.errors import InvalidError, UnsupportedError, WrongTypeError, counted, shorten
from mainspring.models.records import RecordCheck
from mainspring.models.rows import RowDecoder
from mainspring.models.signature import Columns, Output, Problem, Signature, plain
from mainspring.models.threads import FEW_ROWS, by_one_thread, runtimes_of
from mainspring.models.version import InputKind, ModelVersion, expect_model
from mainspring.store import BlobStore
from mainspring.workspace import Workspace, current_workspace

_NUMBERS = {f"{kind}{size * 8}": f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {
    "f16": "f2",
    "f32": "f4",
    "f64": "f8",
}
_FEW = 64  # answers whose values are looked at faster one by one
Prediction = float | int | str | bool | dict[str, float]


class Predictor:
    """A model that answers records.

    >>> from mainspring.models import Field
    >>> class Doubler:
    ...     def predict(self, rows):
    ...         return rows[:, 0] * 2
    >>> predictor = Predictor(Doubler(), Signature((Field("n", "f64"),)), "numpy")
    >>> predictor([{"n": 1}, {"n": 2.5}])
    [2.0, 5.0]
    """

    def __init__(self, model: Any, signature: Signature, input_kind: InputKind) -> None:
        if not hasattr(model, "predict"):
            raise WrongTypeError("model", model, "a model with a `predict` method")
        if f"{type(model).__module__}.{type(model).__qualname__}" == "xgboost.core.Booster":
            told = "Register an estimator: `made = xgboost.XGBRegressor(); made.load_model(booster.save_raw())`."
            raise WrongTypeError(
                "model", model, "a model that takes rows; a bare booster takes XGBoost's own matrix", told
            )
        self.model = model
        self.signature, self.input_kind = signature, input_kind
        self._runtimes = runtimes_of(model)
        self._check = RecordCheck(signature)
        self.decode = RowDecoder(signature).decode
        self._table = _TABLES[input_kind](signature)
        self._yields = getattr(model, "predict_stream", None)
        self._only_yields = self._yields is None and isgeneratorfunction(model.predict)
        if self._only_yields:
            self._yields = model.predict

    @property
    def streams(self) -> bool:
        """Whether the model can give its answer to a row in parts."""
        return self._yields is not None

    @classmethod
    def load(cls, version: ModelVersion, blobs: BlobStore, *, workspace: Workspace | None = None) -> Predictor:
        """The predictor of a registered version. `workspace` (default: the present one) says whether its pickle is allowed.

        Raises:
            NotAllowedError: the version is files that aren't loaded here, or a pickle that nobody allowed; the text says
                what to do.
        """
        from mainspring.artifacts import load
        from mainspring.models.pickled import CODEC, load_version

        encoded, signature = expect_model(version)
        is_pickle = encoded.codec == CODEC
        model = load_version(version, workspace or current_workspace()) if is_pickle else load(encoded, blobs)
        return cls(model, signature, version.input_kind)

    def __call__(self, records: Sequence[Any]) -> list[Prediction]:
        """One prediction for each record, in order.

        Raises:
            WrongTypeError: it is a table, or something else than a list of records.
            InvalidError: a record doesn't fit the signature; every problem is named with its path.
        """
        given: object = records  # whatever its type says
        if not isinstance(given, Sequence) or isinstance(given, str | bytes):
            told = "Of a table take `to_dicts()` (Polars), `to_dict('records')` (pandas) or `to_pylist()` (Arrow)."
            raise WrongTypeError("records", records, "a list of records, each a dict of columns", told)
        columns, problems = self.check(records)
        expect_none(problems, len(records))
        return self.answer(columns, len(records))

    @property
    def restarts(self) -> int | None:
        """How often the model's own process was replaced; None if it is in this one."""
        return None

    @property
    def away_s(self) -> float:
        """For how long the model's own process has been away; 0 if it is there, or the model is in this one."""
        return 0.0

    def give_up(self, after_s: float) -> bool:  # noqa: ARG002  # nothing ends what runs in this process
        """End what has taken the model so long, which fails then; whether that is all that keeps who waits for the model."""
        return False

    def close(self) -> None:
        """Let go of what it holds outside this process."""

    def check(self, records: Sequence[Any]) -> tuple[Columns, list[Problem]]:
        """Records as columns, and what is wrong with them."""
        return self._check(records)

    def answer(self, columns: Columns, rows: int) -> list[Prediction]:
        """Predictions for columns that were checked, in any order; those that the model doesn't take are left alone.

        Raises:
            InvalidError: the model gave no finite number, or not one answer for each record.
        """
        if not rows:
            return []
        if self._only_yields:
            names = [field.name for field in self.signature.inputs]
            return [
                whole([*self.stream({name: columns[name][row : row + 1] for name in names})]) for row in range(rows)
            ]
        if self._runtimes and rows <= FEW_ROWS:
            return by_one_thread(self._runtimes, lambda: self._answered(columns, rows))
        return self._answered(columns, rows)

    def _answered(self, columns: Columns, rows: int) -> list[Prediction]:
        table, output = self._table(columns), self.signature.output
        if output.kind in ("probability", "probabilities"):
            given = np.asarray(self.model.predict_proba(table))
            _check_answers(given, (rows, len(output.classes)))
            if output.kind == "probability":
                return given[:, 1].tolist()  # type: ignore[no-any-return]  # NumPy types it loosely
            names = [str(name) for name in output.classes]
            return [dict(zip(names, row, strict=True)) for row in given.tolist()]
        given = np.asarray(self.model.predict(table))
        if given.shape == (rows, 1):
            given = given[:, 0]
        _check_answers(given, (rows,))
        _expect_kind(given, output)
        return given.tolist()  # type: ignore[no-any-return]  # NumPy types it loosely

    def expect_one_label(self, records: Sequence[Any]) -> None:
        """Refuse a classifier that predicts several labels for each of these records: its probabilities are of no one label.

        Raises:
            InvalidError: it does.
        """
        if self.signature.output.kind in ("probability", "probabilities") and not self._only_yields:
            given = np.asarray(self.model.predict(self._table(self.check(records)[0])))
            if given.ndim > 1:
                _check_answers(given[:, 0] if given.shape[1] == 1 else given, (len(records),))

    def stream(self, columns: Columns) -> Generator[Any, None, None]:
        """The parts of the answer to one row that was checked, as plain values, each made when it is asked for.

        Raises:
            UnsupportedError: the model answers in one piece.
            WrongTypeError: a part is nothing that JSON has a form for, or holds a whole number that 64 bits don't.
        """
        if self._yields is None:
            raise UnsupportedError("This model answers in one piece.")
        parts = self._yields(self._table(columns))
        try:
            for part in parts:
                yield _plain_part(part)
        finally:
            if hasattr(
                parts, "close"
            ):  # what it raises then is told, which a generator that is dropped keeps to itself
                parts.close()


def whole(parts: Sequence[Any]) -> Any:
    """The answer that came in these parts: their text, if all are texts, else a list of them.

    >>> whole(["on ", "time"]), whole([1, "x"])
    ('on time', [1, 'x'])
    """
    return "".join(parts) if parts and all(isinstance(part, str) for part in parts) else list(parts)


def _plain_part(part: Any) -> Any:
    """A part in the terms of JSON, which the log and the way from a process have a form for, too."""
    if type(part) is bool:
        return part
    try:  # a text may hold half of a surrogate pair, and a whole number be of any length
        plain = msgspec.json.decode(msgspec.json.encode(part, enc_hook=_plain_array))
        msgspec.msgpack.encode(plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongTypeError("model", part, "parts that JSON has a form for, with whole numbers of 64 bits") from error
    return plain


def _plain_array(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(type(value).__name__)


def expect_none(problems: Sequence[Problem], records: int) -> None:
    """Refuse so many records if there is something wrong with them.

    Raises:
        InvalidError: there is; every problem is named with its path.
    """
    if problems:
        given = f"{counted(records, 'record')} with {counted(len(problems), 'problem')}"
        raise InvalidError("records", given, "what the signature takes", "; ".join(map(str, problems)))


def inputs_of(records: Sequence[dict[str, Any]], signature: Signature) -> list[dict[str, Any]]:
    """What a signature takes of records that may hold more, such as keys by which features are read; none if one lacks some."""
    names = [field.name for field in signature.inputs]
    whole = all(name in record for record in records for name in names)
    return [{name: record[name] for name in names} for record in records] if whole else []


def example_of(version: ModelVersion, blobs: BlobStore) -> list[dict[str, Any]]:
    """The records that a version was registered with as its example; none if it had none.

    Where features are read for it, they may hold the columns of a request beside the inputs.
    """
    return [] if version.input_example is None else msgspec.json.decode(blobs.read(version.input_example))


def _check_answers(given: Any, shape: tuple[int, ...]) -> None:
    if given.shape != shape:
        is_several = len(shape) == 1 and given.shape[:1] == shape
        hint = "It gives several values for a record: register a model for each of them." if is_several else ""
        raise InvalidError("model", f"answers of shape {given.shape}", f"answers of shape {shape}", hint)
    if given.dtype.kind == "f" and not _is_finite(given):
        raise InvalidError("model", "NaN or infinity", "a finite answer for every record")


def _is_finite(given: Any) -> bool:
    if given.size <= _FEW:
        return all(map(math.isfinite, given.ravel().tolist()))
    return bool(np.isfinite(given).all())


def _expect_kind(given: Any, output: Output) -> None:
    """Hold the type of answers to what the version gives: numbers, or labels such as its classes."""
    if given.dtype.kind in "biuf":
        return
    if output.kind == "label" and not all(isinstance(each, int | float) for each in output.classes or ("",)):
        return
    wrong = [each for each in given.tolist() if not isinstance(each, int | float)]
    if wrong:
        hint = (
            "Of texts say so: `signature=Signature.infer(table, output=Output('label'))`."
            if output.kind == "number"
            else ""
        )
        raise InvalidError("model", f"the answer {shorten(repr(wrong[0]), 60)}", "a number for every record", hint)


def _numpy(signature: Signature) -> Callable[[Columns], Any]:
    names = [field.name for field in signature.inputs]
    of_names = itemgetter(*names) if len(names) > 1 else lambda columns: [columns[name] for name in names]

    def table(columns: Columns) -> Any:
        if names and len(columns[names[0]]) == 1:  # without lists within a list, a third of the time
            return np.array([[*chain.from_iterable(of_names(columns))]], dtype=np.float64)
        return np.array([columns[name] for name in names], dtype=np.float64).T

    return table


def _pandas(signature: Signature) -> Callable[[Columns], Any]:
    import pandas as pd

    numbers = {field.name: np.dtype(_NUMBERS[field.dtype]) for field in signature.inputs if field.dtype in _NUMBERS}

    def column(name: str, values: Sequence[Any]) -> Any:
        if name not in numbers:
            return values
        if None in values:
            return np.array(values, dtype=np.float64)  # what pandas makes of numbers with a null, too
        return np.array(values, dtype=numbers[name])

    names = [field.name for field in signature.inputs]
    return lambda columns: pd.DataFrame({name: column(name, columns[name]) for name in names})


def _polars(signature: Signature) -> Callable[[Columns], Any]:
    import polars as pl

    from mainspring.data.tables.type_names import named_type

    types = {field.name: named_type(field.dtype, f"signature.{field.name}") for field in signature.inputs}
    return lambda columns: pl.DataFrame(
        [pl.Series(name, columns[name], dtype=dtype, strict=False) for name, dtype in types.items()]
    )


def _records(signature: Signature) -> Callable[[Columns], Any]:
    names = [field.name for field in signature.inputs]
    return lambda columns: [
        dict(zip(names, row, strict=True)) for row in zip(*(plain(columns[name]) for name in names), strict=True)
    ]


_TABLES: dict[str, Callable[[Signature], Callable[[Columns], Any]]] = {
    "numpy": _numpy, "pandas": _pandas, "polars": _polars, "records": _records,
    "columns": lambda signature: lambda columns: columns,
}  # fmt: skip
