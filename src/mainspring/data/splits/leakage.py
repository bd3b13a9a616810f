"""What a test part has in common with the part that is trained on: keys, rows, texts, times, and columns that tell too much.

Everything is counted in rows of the test part, since those are what a score is taken over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from mainspring.data.splits import near
from mainspring.data.splits.findings import Finding, Kind, LeakageReport, Severity
from mainspring.data.splits.rule import Key, key_columns, require_columns
from mainspring.data.splits.sides import Side, sampled, shared_type
from mainspring.data.splits.target_leakage import SAMPLED_ROWS, strengths
from mainspring.data.splits.time import require_time_type, require_times
from mainspring.errors import InvalidError, counted, listed, shorten

TOLERATED_SHARE = 0.01  # of the test rows: more equal rows than this are a leak, fewer a warning
SUSPICIOUS = {"AUC": (0.95, 0.99), "R²": (0.9, 0.98)}  # from where a single column is worth a look, and a leak
DISTINCT_SHARE = 0.5  # of the rows of train: with fewer that differ, rows are equal by nature
FEWEST_FEATURES = 3  # fewer columns agree by chance
_EXAMPLES = 5
_MOST_COLUMNS = 10


def leakage(
    train: Any, test: Any, *, key: Key = (), time: str = "", target: str = "", ignore: Sequence[str] = (),
    near_duplicates: bool = True,
) -> LeakageReport:  # fmt: skip
    """Look for what leaks from one part into another; each may be a table, a lazy one, or a dataset version of any size.

    * `key`: a key in both parts is a leak. Rows without one are a warning, and a part that has none stops.
    * Always: rows equal in every column but the key's are a leak above 1 % of the test rows; a warning below it, or if
      less than half of the rows of `train` differ, since such rows are equal by nature.
    * `near_duplicates`: a warning above 1 % for rows that are equal in their features (neither key, time nor target) once
      numbers are rounded to three significant figures and text is reduced to its letters and digits, where there are three
      features or a text column; and for long texts of which about 80 % of the phrases are those of one in the other part.
    * `time`: test rows earlier than the newest row of `train` are a leak.
    * A part without rows, or parts of which nothing can be compared, stop as a leak does.
    * `target`: a single feature that, learned in bins on `train`, tells the target of `test` with an AUC of 0.99, or an R²
      of 0.98, is a leak; from 0.95, or 0.9, on a warning.

    Columns of different types are compared in the type that both fit into; what can't be compared is named. Columns in
    `ignore` are left out of all comparisons. Large versions are walked over; only keys, times and hashes of rows are held.

    Raises:
        NotFoundError: a part lacks a column that is named.
        InvalidError: a key, time or target doesn't compare with that of the other part, or its type is of another kind; or
            a row lacks its time.

    >>> print(leakage(pl.DataFrame({"id": [1, 2], "x": [5, 6]}), pl.DataFrame({"id": [2, 3], "x": [7, 8]}), key="id"))
    train and test: they leak (2 rows to train on, 2 to test on)
      STOP  1 key (id) is in both parts: 1 test row (50 %)
      ok    no rows that are equal
      ok    rows that are almost equal were not looked for: 1 feature without a long text may agree by chance
    """
    known, asked = Side(train, "train"), Side(test, "test")
    columns = key_columns(key, needed=False)
    named = {
        **dict.fromkeys(columns, "key"),
        **({time: "time"} if time else {}),
        **({target: "target"} if target else {}),
    }
    for side in (known, asked):
        require_columns(side.schema, [*named, *ignore])
    compared, apart = _align(known, asked, named, ignore)
    if time:
        require_time_type(time, known.types[time])
    if target:
        _require_target_type(target, known.types[target])
    features = [name for name in compared if name not in (time, target)]
    findings: list[Finding] = []
    if known.height and asked.height:
        findings += _shared_keys(known, asked, columns)
        findings += _equal_rows(known, asked, compared, features, near_duplicates=near_duplicates)
        findings += _similar_texts(known, asked, features) if near_duplicates else ()
        findings += _time_overlap(known, asked, time) if time else ()
        findings += _target_leakage(known, asked, target, features) if target else ()
    findings += _not_compared(known, asked, apart, is_all=not findings)
    return LeakageReport(known.name, asked.name, known.height, asked.height, tuple(findings))


def _align(train: Side, test: Side, named: dict[str, str], ignore: Sequence[str]) -> tuple[list[str], list[str]]:
    """Set the types in which both give their columns; gives those to compare rows by, and those that don't compare.

    Raises:
        InvalidError: a column that is named has types that don't compare.
    """
    found = {name: shared_type(dtype, test.schema[name]) for name, dtype in train.schema.items() if name in test.schema}
    for name, what in named.items():
        if found[name] is None:
            kinds = f"{train.schema[name]} and {test.schema[name]}"
            raise InvalidError(name, kinds, f"a {what} of one type in both parts", "Cast one of them first.")
    types = {name: dtype for name, dtype in found.items() if dtype is not None}
    train.types, test.types = types, types
    compared = [name for name in types if named.get(name) != "key" and name not in ignore]
    return compared, [name for name in found if name not in types and name not in ignore]


def _require_target_type(target: str, dtype: pl.DataType) -> None:
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise InvalidError(target, str(dtype), "a target of numbers, truth values, text or times")


def _not_compared(train: Side, test: Side, apart: list[str], *, is_all: bool) -> Iterator[Finding]:
    """What was left out, so that nobody takes it for clean."""
    if apart:
        kinds = ", ".join(f"{name} ({train.schema[name]} and {test.schema[name]})" for name in apart)
        yield Finding("not_compared", "warn", f"not compared, as their types differ: {kinds}", tuple(apart))
    for one, other in ((train, test), (test, train)):
        alone = tuple(name for name in one.schema if name not in other.schema)
        if alone:
            yield Finding("not_compared", "ok", f"not compared, as only {one.name} has them: {listed(alone)}", alone)
    if is_all:
        why = "the parts have no column in common that can be"
        if not (train.height and test.height):
            why = f"{(test if train.height else train).name} has no rows"
        yield Finding("not_compared", "stop", f"nothing was compared: {why}")


def _shared_keys(train: Side, test: Side, key: tuple[str, ...]) -> Iterator[Finding]:
    if not key:
        return
    named = ", ".join(key)
    known, asked = train.table(key), test.table(key)
    for side, table in ((train, known), (test, asked)):
        lacking = table.select(pl.any_horizontal(pl.all().is_null()).sum()).item()
        if lacking == table.height:
            yield Finding("not_compared", "stop", f"no keys were compared: {side.name} has none ({named} is null)", key)
            return
        if lacking:
            told = f"{counted(lacking, 'row')} of {side.name}, as the key ({named}) is null there"
            yield Finding("not_compared", "warn", f"not compared by key: {told}", key)
    both = asked.join(known.unique(), on=list(key), how="semi", maintain_order="left")
    keys = both.unique(maintain_order=True)
    if not keys.height:
        yield Finding("shared_keys", "ok", f"no key ({named}) in both parts", key)
        return
    verb = "is" if keys.height == 1 else "are"
    message = f"{counted(keys.height, 'key')} ({named}) {verb} in both parts: {_rows(both.height, test.height)}"
    yield _finding("shared_keys", "stop", message, key, both.height, test.height, keys)


def _equal_rows(
    train: Side, test: Side, compared: list[str], features: list[str], *, near_duplicates: bool
) -> Iterator[Finding]:
    if not compared:
        return
    has_text = bool(near.long_texts(test.lazy(features)))
    looks_near = near_duplicates and (len(features) >= FEWEST_FEATURES or (features and has_text))
    known, almost_known = _row_hashes(train, compared, features if looks_near else [])
    asked, almost_asked = _row_hashes(test, compared, features if looks_near else [])
    distinct = known.n_unique() / train.height
    exact = asked.is_in(known.unique().implode())
    repeats = distinct < DISTINCT_SHARE
    said = f", and only {100 * distinct:.3g} % of the rows of train differ" if repeats else ""
    yield _equal("exact_duplicates", exact, test, compared, "that are equal", "warn" if repeats else "stop", said)
    if looks_near:
        almost = almost_asked.is_in(almost_known.unique().implode()) & ~exact
        yield _equal("near_duplicates", almost, test, features, "that are almost equal", "warn", "")
    elif near_duplicates:
        why = f"{counted(len(features), 'feature')} without a long text may agree by chance"
        yield Finding(
            "near_duplicates", "ok", f"rows that are almost equal were not looked for: {why}", tuple(features)
        )


def _equal(
    kind: Kind, mask: pl.Series, test: Side, columns: list[str], what: str, worst: Severity, said: str
) -> Finding:
    """A finding about rows; up to 1 % of the test rows an exact one is a warning and one that is not exact is none."""
    count = int(mask.sum())
    if not count:
        return Finding(kind, "ok", f"no rows {what}", tuple(columns))
    few: Severity = "warn" if kind == "exact_duplicates" else "ok"
    severity = worst if count / test.height > TOLERATED_SHARE else few
    message = f"rows of train {what}: {_rows(count, test.height)}{said}"
    shown = test.rows_at(mask.arg_true().head(_EXAMPLES).to_list(), columns)
    return _finding(kind, severity, message, tuple(columns), count, test.height, shown)


def _row_hashes(side: Side, columns: list[str], simplified: list[str]) -> tuple[pl.Series, pl.Series]:
    """A 64-bit hash of each row, and one of its simplified columns: of 10⁵ pairs of parts of 10⁷ rows, one has a row too
    many that seems to be in both.
    """
    exact, almost = [], []
    for batch in side.batches(columns):
        exact.append(_hashed(batch))
        almost.append(_hashed(near.simplified(batch.select(simplified))) if simplified else exact[-1].clear())
    return pl.concat(exact), pl.concat(almost)


def _hashed(table: pl.DataFrame) -> pl.Series:
    # The codes of categories may differ between tables; equal texts don't.
    return table.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String)).hash_rows()


def _similar_texts(train: Side, test: Side, features: list[str]) -> Iterator[Finding]:
    for name in near.long_texts(test.lazy(features)):
        ours, theirs = (sampled(side.lazy([name]), near.SAMPLED_ROWS) for side in (test, train))
        places = pl.Series(near.alike_texts(theirs[name], ours[name]))
        found = places >= 0
        # Those that are equal letter by letter are told of as equal rows.
        pairs = pl.DataFrame({"test": ours[name].filter(found), "train": theirs[name].gather(places.filter(found))})
        differing = pairs.filter(pl.col("test") != pl.col("train"))
        if not differing.height:
            yield Finding("similar_texts", "ok", f"no texts in `{name}` with nearly the same phrases", (name,))
            continue
        severity: Severity = "warn" if differing.height / ours.height > TOLERATED_SHARE else "ok"
        whole = "" if ours.height == test.height and theirs.height == train.height else " of a sample"
        told = _rows(differing.height, ours.height)
        message = f"texts in `{name}` with nearly the phrases of one in train: {told}{whole}"
        yield _finding("similar_texts", severity, message, (name,), differing.height, ours.height, differing)


def _time_overlap(train: Side, test: Side, time: str) -> Iterator[Finding]:
    known, asked = (side.table([time]).get_column(time) for side in (train, test))
    for times in (known, asked):
        require_times(times)
    newest = known.max()
    early = asked.filter(asked < pl.Series([newest], dtype=known.dtype))
    if not len(early):
        yield Finding("time_overlap", "ok", f"no test row is earlier than the newest to train on ({time})", (time,))
        return
    told = _rows(len(early), test.height)
    message = f"test rows earlier than the newest to train on ({time} {newest!s}): {told}"
    yield _finding("time_overlap", "stop", message, (time,), len(early), test.height, early.to_frame())


def _target_leakage(train: Side, test: Side, target: str, features: list[str]) -> Iterator[Finding]:
    known, asked = (
        sampled(side.lazy([target, *features]).filter(pl.col(target).is_not_null()), SAMPLED_ROWS)
        for side in (train, test)
    )
    told = [each for each in strengths(known, asked, target, features) if each.value == each.value]
    suspicious = [each for each in told if each.value >= SUSPICIOUS[each.measure][0]]
    for name, measure, value in suspicious[:_MOST_COLUMNS]:
        severity: Severity = "stop" if value >= SUSPICIOUS[measure][1] else "warn"
        message = f"`{name}` alone tells `{target}`: {measure} {value:.3f}"
        yield Finding("target_leakage", severity, message, (name,), score=value)
    if told and not suspicious:
        best = told[0]
        message = f"no column leaks `{target}` (the most: `{best.column}`, {best.measure} {best.value:.3f})"
        yield Finding("target_leakage", "ok", message, score=best.value)
    if features and not told:
        yield Finding("target_leakage", "warn", f"the parts don't show what leaks `{target}`: it doesn't vary in both")


def _finding(
    kind: Kind, severity: Severity, message: str, columns: tuple[str, ...], rows: int, total: int, shown: pl.DataFrame
) -> Finding:
    examples = tuple({name: _plain(value) for name, value in row.items()} for row in shown.head(_EXAMPLES).to_dicts())
    return Finding(kind, severity, message, columns, rows, rows / total, examples=examples)


def _rows(count: int, total: int) -> str:
    return f"{counted(count, 'test row')} ({100 * count / total:.3g} %)"


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else shorten(str(value))
