"""MLflow's scoring protocol, which SageMaker's and Vertex AI's containers are asked in, too: a table in, predictions out.

Source: MLflow's documentation of its scoring server; SageMaker's of inference containers (`/ping` and `/invocations` on 8080);
Vertex AI's of custom containers (`instances` and `parameters`).
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mainspring.errors import article, shorten
from mainspring.models import Problem, Signature
from mainspring.models.signature import FLOATS, INTEGERS, Columns
from mainspring.serving.protocols.call import Call, Outcome
from mainspring.web.app import JSON, Answer, encode
from mainspring.web.body import empty, read_json
from mainspring.web.request_error import RequestError

CSV = b"text/csv"
_ENCODINGS = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252", "utf-16", "utf-16-be", "utf-16-le"})
"""By Python's own names: what is called latin-1, iso-8859-1 or l1 is one."""
_EMPTY = [None]
_ORDERS = (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_BESIDE = {"params", "parameters"}
_ANY_TEXT = frozenset({"str", "cat", "bin"})
"""Types whose values may look like the name of a column."""
Check = Callable[[Sequence[Any]], tuple[Columns, list[Problem]]]


class Invocations:
    """Reads requests for one signature, and writes their answers. `check` looks at records."""

    def __init__(self, takes: Signature, check: Check) -> None:
        self._names = [field.name for field in takes.inputs]
        self._types = {field.name: field.dtype for field in takes.inputs}
        self._nullable = {field.name for field in takes.inputs if field.nullable}
        self._check = check

    def read(self, body: bytes, kind: bytes, told: Mapping[str, str] | None = None) -> Call:
        """What is asked. A CSV is read as the parameters `charset` and `header` of its media type tell (RFC 4180, section 3).

        Without a `charset` it is UTF-8, and without `header` its first line must show by itself whether it is one.

        Raises:
            RequestError: 415, it is neither JSON nor CSV, or in an encoding that isn't read; 400, it is none of the forms, or
                nothing tells whether a CSV has a header; 422, the rows are not what the model takes.
        """
        if kind == CSV:
            told = told or {}
            records = self._table(body, _encoding(told.get("charset", "")), told.get("header", "").lower())
        elif kind == JSON:
            records = self._rows(read_json(body, f"one of {', '.join(FORMS)} in a JSON object"))
        else:
            raise RequestError(415, "Send `application/json` or `text/csv`.")
        columns, problems = self._check(records)
        if problems:
            raise _refused(problems)
        return Call(columns, len(records))

    @staticmethod
    def write(call: Call, outcome: Outcome) -> Answer:
        """The answer to a call."""
        return Answer(encode({"predictions": outcome.answers}), rows=call.rows)

    def _rows(self, given: Any) -> list[Any]:
        found = [form for form in FORMS if isinstance(given, dict) and form in given]
        if len(found) != 1:
            raise RequestError(
                400, f"Expected one of {', '.join(FORMS)} in a JSON object, found {', '.join(found) or 'none'}."
            )
        (form,) = found
        if more := given.keys() - {form} - _BESIDE:
            raise RequestError(400, f"`{shorten(min(more), 40)}` is nothing that is known beside `{form}`.")
        if any(given.get(each) for each in _BESIDE):
            raise RequestError(400, "This model takes no parameters with a request.")
        value = given[form]
        if form == "dataframe_split":
            return self._split(value)
        if form == "inputs" and isinstance(value, dict):
            return self._by_column(value)
        if not isinstance(value, list):
            raise RequestError(400, f"`{form}` is {article(type(value).__name__)}, expected a list of rows.")
        return value if form == "dataframe_records" else [self._named(at, row) for at, row in enumerate(value)]

    def _split(self, value: Any) -> list[Any]:
        rows = value.get("data") if isinstance(value, dict) else None
        names = value.get("columns") if isinstance(value, dict) else None
        names = self._names if names is None else names
        if (
            not isinstance(rows, list)
            or not isinstance(names, list)
            or not all(isinstance(each, str) for each in names)
        ):
            raise RequestError(400, "`dataframe_split` takes `columns`, a list of names, and `data`, a list of rows.")
        twice = _twice(names)
        if twice is not None:
            raise _refused([Problem(shorten(twice, 40), "stands twice")])
        return [self._zipped(names, at, row) for at, row in enumerate(rows)]

    def _by_column(self, value: dict[str, Any]) -> list[Any]:
        columns = {name: given if isinstance(given, list) else [given] for name, given in value.items()}
        counts = {len(given) for given in columns.values()}
        if len(counts) > 1:
            raise RequestError(
                400, f"The columns of `inputs` have {', '.join(map(str, sorted(counts)))} rows, expected as many each."
            )
        rows = zip(*columns.values(), strict=True)
        return [{name: self._bare(name, each) for name, each in zip(columns, row, strict=True)} for row in rows]

    def _bare(self, name: str, value: Any) -> Any:
        """The value of a row that is a list of one, as a tensor of one column has it; where lists are taken it is that list."""
        is_one = (
            isinstance(value, list) and len(value) == 1 and not self._types.get(name, "").startswith(("list", "array"))
        )
        return value[0] if is_one else value

    def _named(self, at: int, row: Any) -> Any:
        """A row as a record: one without names has the columns of the signature, in order."""
        if isinstance(row, list):
            return self._zipped(self._names, at, row)
        return row if isinstance(row, dict) or len(self._names) != 1 else {self._names[0]: row}

    @staticmethod
    def _zipped(names: list[str], at: int, row: Any) -> Any:
        if not isinstance(row, list) or len(row) != len(names):
            said = f"{shorten(row, 60)} is no row of {len(names)} values: {shorten(', '.join(names), 200)}"
            raise _refused([Problem(f"[{at}]", said)])
        return dict(zip(names, row, strict=True))

    def _table(self, body: bytes, encoding: str, header: str) -> list[Any]:
        try:
            rows = list(csv.reader(io.StringIO(_decoded(body, encoding), newline="")))
        except (UnicodeDecodeError, csv.Error) as error:
            raise RequestError(400, f"This is no CSV: {error}.") from error
        may_be_missing = len(self._names) == 1 and self._nullable.issuperset(self._names)  # as Polars writes it
        if not may_be_missing or any(len(row) > 1 for row in rows):
            rows = [*filter(None, rows)]
        if not rows:
            raise empty(f"a table in CSV with the columns {shorten(', '.join(self._names), 200)}")
        if not self._has_header(rows[0], header):
            return self._records(self._names, rows)
        names, *data = rows
        twice = _twice(names)
        if twice is not None:
            raise RequestError(400, f"The column `{shorten(twice, 40)}` stands twice in the header.")
        if not data and (strange := [name for name in names if name not in self._types]):
            raise RequestError(422, f"The header names `{shorten(strange[0], 40)}`, which is no column that is taken.")
        if not data and (missing := [name for name in self._names if name not in names]):
            raise RequestError(
                422, f"The header doesn't name `{shorten(missing[0], 40)}`, which is a column that is taken."
            )
        return self._records(names, data)

    def _has_header(self, first: list[str], told: str) -> bool:
        """Whether the first line is the header: as the request tells, or as the line itself shows."""
        if told:
            if told not in ("present", "absent"):
                raise RequestError(
                    400, f"`header={shorten(told, 40)}` is neither `header=present` nor `header=absent`."
                )
            return told == "present"
        is_named = {*self._names} <= {*first}
        if not self._is_row(first):  # if it isn't a header either, it is refused as what it looks like
            return is_named or len(first) != len(self._names) or bool(_alike(self._names) & _alike(first))
        if is_named and _ANY_TEXT.issuperset(self._types.values()) and not any(map(_may_be_value, first)):
            return True
        is_like = _alike(self._names) == _alike(first)
        cells = zip(self._names, first or _EMPTY, strict=True)
        no_texts = [text for name, text in cells if self._types[name] not in _ANY_TEXT]
        are_values = any(no_texts) or (len(no_texts) == len(self._names) and "" not in self._names)
        if not is_like and are_values:
            return False
        if is_like:
            why = f"it has the columns' names{'' if is_named else ' but for case or spaces'}, and values that they take"
        else:
            why = (
                f"it doesn't name the columns ({shorten(', '.join(self._names), 80)}), but any text may be their values"
            )
        line = shorten(",".join(first), 60)
        said = "Send it as `Content-Type: text/csv; header=present`, or `header=absent`."
        raise RequestError(400, f"The first line, `{line}`, may be a header or a row: {why}. {said}")

    def _is_row(self, cells: list[str]) -> bool:
        """Whether the columns take the cells of a line, in order."""
        return len(cells or _EMPTY) == len(self._names) and not self._check(self._records(self._names, [cells]))[1]

    def _records(self, names: list[str], rows: Sequence[list[str]]) -> list[Any]:
        return [
            {name: self._value(name, text) for name, text in self._zipped(names, at, row or _EMPTY).items()}
            for at, row in enumerate(rows)
        ]

    def _value(self, name: str, text: str | None) -> Any:
        """A cell in the terms of JSON; what it can't be is left as text, which the check then names."""
        dtype = self._types.get(name, "str")
        if text is None or (not text and (name in self._nullable or dtype in FLOATS or dtype in INTEGERS)):
            return None
        if dtype == "bool":
            return {"true": True, "false": False}.get(text.lower(), text)
        if dtype in FLOATS or dtype in INTEGERS:
            try:
                return int(text) if dtype in INTEGERS else float(text)
            except ValueError:
                return text
        return text


def _alike(names: Sequence[str]) -> Counter[str]:
    """Names without what people write otherwise: case, and spaces around them."""
    return Counter(name.strip().casefold() for name in names)


def _may_be_value(name: str) -> bool:
    """Whether a name looks like a value, too, as it is a number or empty.

    >>> [name for name in ("city", "10", "1e3", "nan", " ") if _may_be_value(name)]
    ['10', '1e3', 'nan', ' ']
    """
    try:
        float(name)
    except ValueError:
        return not name.strip()
    return True


def _encoding(charset: str) -> str:
    """Python's name of the encoding that a table says it has.

    Raises:
        RequestError: 415, it is none that is read.
    """
    try:
        name = codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):  # a name with a null is a ValueError
        name = ""
    if name not in _ENCODINGS:
        said = "UTF-8, US-ASCII, ISO-8859-1, Windows-1252 and UTF-16 are."
        raise RequestError(415, f"CSV in `charset={shorten(charset, 40)}` is not read; {said}")
    return name


def _decoded(body: bytes, encoding: str) -> str:
    """The text of a table without a mark of its byte order; UTF-16 without one is big-endian (RFC 2781, section 4.3)."""
    if encoding == "utf-16" and not body.startswith(_ORDERS):
        encoding = "utf-16-be"
    return body.decode(encoding).removeprefix("\ufeff")


def _refused(problems: list[Problem]) -> RequestError:
    """Rows that don't fit: the first problem is the message, and all have their places."""
    return RequestError(422, str(problems[0]), problems=problems)


def _twice(names: list[str]) -> str | None:
    """The first name that stands more than once."""
    return next((name for name, times in Counter(names).items() if times > 1), None)
