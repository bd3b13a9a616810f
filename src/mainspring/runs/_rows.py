"""Between the record of a run and its rows: one in `run`, and one for each parameter and tag."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.runs.run import Run, RunState
from mainspring.store import batches

if TYPE_CHECKING:
    from mainspring.store import Database, Transaction

ASIDE = ("params", "tags")  # have tables of their own
FIELDS = tuple(name for name in Run.__struct_fields__ if name not in ASIDE)
SELECT = "SELECT {} FROM run LEFT JOIN experiment ON experiment.id = run.experiment".format(
    ", ".join("experiment.name" if name == "experiment" else f"run.{name}" for name in FIELDS)
)
"""The rows that `to_runs` takes."""


def to_runs(database: Database | Transaction, rows: Sequence[tuple[Any, ...]]) -> list[Run]:
    """The records of rows, in their order, each with its parameters and tags."""
    params: dict[str, dict[str, Any]] = {row[0]: {} for row in rows}
    tags: dict[str, dict[str, Any]] = {row[0]: {} for row in rows}
    for batch, marks in batches(params):
        for run, key, value in database.query(f"SELECT run, key, value FROM run_param WHERE run IN ({marks})", batch):
            params[run][key] = msgspec.json.decode(value)
        for run, key, value in database.query(f"SELECT run, key, text FROM run_tag WHERE run IN ({marks})", batch):
            tags[run][key] = value
    return [
        msgspec.convert(
            dict(zip(FIELDS, row, strict=True)) | {"params": params[row[0]], "tags": tags[row[0]]}, Run, strict=False
        )
        for row in rows
    ]


def param_row(value: object) -> tuple[str, str]:
    """A parameter's value as JSON, and as the text that searches and MLflow's clients see.

    >>> param_row(3), param_row("a"), param_row([1, 2]), param_row(None)
    (('3', '3'), ('"a"', 'a'), ('[1,2]', '[1,2]'), ('null', 'None'))
    """
    value = plain(value)
    encoded = msgspec.json.encode(value, enc_hook=plain).decode()
    if isinstance(value, str):
        return encoded, value
    return encoded, str(value) if value is None or isinstance(value, bool | int | float) else encoded


def plain(value: Any) -> Any:
    """A value in the terms of JSON as far as it has any: numbers of libraries are numbers, arrays lists, definitions their
    names, and whatever else its text; NaN and the infinities are the texts `NaN`, `Infinity` and `-Infinity`.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> plain({"rate": np.float64(0.5), "sizes": np.arange(2), "out": Path("a/b"), "kind": dict, "worst": float("nan")})
    {'rate': 0.5, 'sizes': [0, 1], 'out': 'a/b', 'kind': 'builtins.dict', 'worst': 'NaN'}
    """
    if value is None or type(value) in (str, bool, int):
        return value
    if isinstance(value, float):
        return named_numbers(float(value))
    if isinstance(value, Mapping):
        return {key if isinstance(key, str | int) else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=str)  # the order of a set is that of the hash seed
    if hasattr(value, "tolist") and hasattr(value, "dtype"):  # scalars and arrays of NumPy, PyTorch …
        return plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    with suppress(TypeError, ValueError, RecursionError):
        return msgspec.to_builtins(value)
    return str(value)


def blank(run_id: str) -> Run:
    """A run of which nothing is known but its id."""
    return Run(
        id=run_id, kind="", name="", experiment="Default", parent=None, state=RunState.RUNNING, started_at=0,
        ended_at=None, actor="", note="", target="", module="", params={}, tags={}, seed=0, threads=0, hash_seed_fixed=False,
        code=None, code_digest=None, environment=None, environment_digest=None, git_commit=None, git_diff=None,
        replay_of=None, series=run_id, error=None,
    )  # fmt: skip


def stored(value: Any) -> Any:
    """A field's value as a column takes it."""
    return int(value) if isinstance(value, bool) else value


def named_numbers(value: Any) -> Any:
    """A value for JSON, which has no NaN and no infinities: they become the texts `NaN`, `Infinity` and `-Infinity`.

    >>> named_numbers({"a": [1.5, float("nan"), float("-inf")]})
    {'a': [1.5, 'NaN', '-Infinity']}
    """
    if isinstance(value, float):
        return (
            value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        )
    if isinstance(value, Mapping):
        return {key: named_numbers(item) for key, item in value.items()}
    return [named_numbers(item) for item in value] if isinstance(value, list | tuple) else value
