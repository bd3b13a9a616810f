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
from mainspring.data.splits.target_leakage import strengths
from mainspring.data.splits.time import require_times
from mainspring.data.tables.frames import as_polars
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, counted, shorten

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
    """Look for what leaks from one part into another; each may be a table or a dataset version.

    * `key`: a key in both parts is a leak.
    * Always: rows equal in every column but the key's are a leak above 1 % of the test rows; a warning below it, or if
      less than half of the rows of `train` differ, since such rows are equal by nature.
    * `near_duplicates`: a warning above 1 % for rows that are equal in their features (neither key, time nor target) once
      numbers are rounded to three significant figures and text is reduced to its letters and digits, where there are three
      features or a text column; and for long texts of which about 80 % of the phrases are those of one in the other part.
    * `time`: test rows earlier than the newest row of `train` are a leak.
    * `target`: a single feature that, learned in bins on `train`, tells the target of `test` with an AUC of 0.99, or an R²
      of 0.98, is a leak; from 0.95, or 0.9, on a warning.

    Columns in `ignore` are left out of all comparisons.

    Raises:
        NotFoundError: a part lacks a column that is named.
        InvalidError: a key or time has another type in the other part, or a row lacks its time.

    >>> print(leakage(pl.DataFrame({"id": [1, 2], "x": [5, 6]}), pl.DataFrame({"id": [2, 3], "x": [7, 8]}), key="id"))
    train and test: they leak (2 rows to train on, 2 to test on)
      STOP  1 key (id) is in both parts: 1 test row (50 %)
      ok    no rows that are equal
    """
    known, asked = (as_polars(part.to_polars() if isinstance(part, DatasetVersion) else part) for part in (train, test))
    columns = key_columns(key, needed=False)
    for part in (known, asked):
        require_columns(part.columns, [*columns, *([time] if time else []), *([target] if target else []), *ignore])
    shared = [name for name in known.columns if name in asked.columns and known.schema[name] == asked.schema[name]]
    compared = [name for name in shared if name not in columns and name not in ignore]
    features = [name for name in compared if name not in (time, target)]
    findings = [
        *_shared_keys(known, asked, columns),
        *_equal_rows(known, asked, compared, features, near_duplicates=near_duplicates),
        *(_similar_texts(known, asked, features) if near_duplicates else ()),
        *(_time_overlap(known, asked, time) if time else ()),
        *(_target_leakage(known, asked, target, features) if target else ()),
    ]
    names = [
        str(part) if isinstance(part, DatasetVersion) else name for part, name in ((train, "train"), (test, "test"))
    ]
    return LeakageReport(names[0], names[1], known.height, asked.height, tuple(findings))


def _shared_keys(train: pl.DataFrame, test: pl.DataFrame, key: tuple[str, ...]) -> Iterator[Finding]:
    if not key:
        return
    named = ", ".join(key)
    try:
        both = test.join(train.select(key).unique(), on=list(key), how="semi", maintain_order="left")
    except pl.exceptions.PolarsError as error:
        kinds = " and ".join(", ".join(str(part.schema[name]) for name in key) for part in (train, test))
        raise InvalidError(named, kinds, "a key of one type in both parts", "Cast one of them first.") from error
    keys = both.select(key).unique(maintain_order=True)
    if not keys.height:
        yield Finding("shared_keys", "ok", f"no key ({named}) in both parts", key)
        return
    verb = "is" if keys.height == 1 else "are"
    message = f"{counted(keys.height, 'key')} ({named}) {verb} in both parts: {_rows(both.height, test)}"
    yield _finding("shared_keys", "stop", message, key, both.height, test, keys)


def _equal_rows(
    train: pl.DataFrame, test: pl.DataFrame, compared: list[str], features: list[str], *, near_duplicates: bool
) -> Iterator[Finding]:
    if not compared or not train.height or not test.height:
        return
    known = _row_hashes(train.select(compared))
    exact = _row_hashes(test.select(compared)).is_in(known.unique().implode())
    distinct = known.n_unique() / train.height
    repeats = distinct < DISTINCT_SHARE
    said = f", and only {100 * distinct:.3g} % of the rows of train differ" if repeats else ""
    yield _equal("exact_duplicates", exact, test, compared, "that are equal", "warn" if repeats else "stop", said)
    has_text = bool(near.long_texts(test.select(features)))
    if near_duplicates and (len(features) >= FEWEST_FEATURES or (features and has_text)):
        plain = [near.simplified(part.select(features)) for part in (train, test)]
        known, asked = (_row_hashes(part) for part in plain)
        almost = asked.is_in(known.unique().implode()) & ~exact
        yield _equal("near_duplicates", almost, test, features, "that are almost equal", "warn", "")


def _equal(
    kind: Kind, mask: pl.Series, test: pl.DataFrame, columns: list[str], what: str, worst: Severity, said: str
) -> Finding:
    """A finding about rows; up to 1 % of the test rows an exact one is a warning and one that is not exact is none."""
    count = int(mask.sum())
    if not count:
        return Finding(kind, "ok", f"no rows {what}", tuple(columns))
    few: Severity = "warn" if kind == "exact_duplicates" else "ok"
    severity = worst if count / test.height > TOLERATED_SHARE else few
    message = f"rows of train {what}: {_rows(count, test)}{said}"
    return _finding(kind, severity, message, tuple(columns), count, test, test.filter(mask).select(columns))


def _row_hashes(table: pl.DataFrame) -> pl.Series:
    """A 64-bit hash of each row: of 10⁵ pairs of parts of 10⁷ rows, one has a row too many that seems to be in both."""
    # The codes of categories may differ between tables; equal texts don't.
    return table.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String)).hash_rows()


def _similar_texts(train: pl.DataFrame, test: pl.DataFrame, features: list[str]) -> Iterator[Finding]:
    for name in near.long_texts(test.select(features)):
        ours, theirs = near.sampled(test.select(name)), near.sampled(train.select(name))
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
        message = f"texts in `{name}` with nearly the phrases of one in train: {_rows(differing.height, ours)}{whole}"
        yield _finding("similar_texts", severity, message, (name,), differing.height, ours, differing)


def _time_overlap(train: pl.DataFrame, test: pl.DataFrame, time: str) -> Iterator[Finding]:
    for part in (train, test):
        require_times(part.get_column(time))
    if not train.height:
        return
    newest = train.get_column(time).max()
    try:
        early = test.filter(pl.col(time) < pl.lit(newest, train.schema[time]))
    except pl.exceptions.PolarsError as error:
        kinds = f"{train.schema[time]} and {test.schema[time]}"
        raise InvalidError(time, kinds, "a time of one type in both parts", "Cast one of them first.") from error
    if not early.height:
        yield Finding("time_overlap", "ok", f"no test row is earlier than the newest to train on ({time})", (time,))
        return
    message = f"test rows earlier than the newest to train on ({time} {newest!s}): {_rows(early.height, test)}"
    yield _finding("time_overlap", "stop", message, (time,), early.height, test, early.select(time))


def _target_leakage(train: pl.DataFrame, test: pl.DataFrame, target: str, features: list[str]) -> Iterator[Finding]:
    if train.schema[target] != test.schema[target]:
        kinds = f"{train.schema[target]} and {test.schema[target]}"
        raise InvalidError(target, kinds, "a target of one type in both parts", "Cast one of them first.")
    told = [each for each in strengths(train, test, target, features) if each.value == each.value]
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
    kind: Kind, severity: Severity, message: str, columns: tuple[str, ...], rows: int, test: pl.DataFrame,
    shown: pl.DataFrame,
) -> Finding:  # fmt: skip
    examples = tuple({name: _plain(value) for name, value in row.items()} for row in shown.head(_EXAMPLES).to_dicts())
    return Finding(kind, severity, message, columns, rows, rows / test.height, examples=examples)


def _rows(count: int, table: pl.DataFrame) -> str:
    return f"{counted(count, 'test row')} ({100 * count / table.height:.3g} %)"


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else shorten(str(value))
