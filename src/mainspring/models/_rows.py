"""Between records of the registry and their rows: one of their own, and one for each tag and parameter, by the record's id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from mainspring import clock
from mainspring.ledger import Ledger
from mainspring.runs.listing import Term
from mainspring.store import Database, Transaction, batches

Record = TypeVar("Record", bound=Any)
SaidKind = Literal["tag", "param"]
_SAID: dict[str, SaidKind] = {"tags": "tag", "params": "param"}
_JSON = frozenset({"encoded", "signature", "metrics", "evaluation", "gates", "needs"})


def columns(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The columns of a record's row, `id` first: its fields but tags and parameters."""
    return tuple(name for name in kind.__struct_fields__ if name not in _SAID)


def read(database: Database, kind: type[Record], select: str, params: Sequence[Any] = ()) -> list[Record]:
    """The records of a statement that gives their columns, in its order."""
    rows = database.query(select, params)
    said = {
        name: _read_said(database, [row[0] for row in rows], _SAID[name])
        for name in kind.__struct_fields__
        if name in _SAID
    }
    return [_record(kind, row, {name: of[row[0]] for name, of in said.items()}) for row in rows]


def insert(tx: Transaction, table: str, record: msgspec.Struct, *, without: str = "", **others: Any) -> None:
    """Write a new record, but for a field that is no column; `others` are columns that are no fields."""
    values = _row(msgspec.structs.asdict(record))
    tx.insert(table, {name: value for name, value in values.items() if name != without} | others)
    _write_said(tx, record)


def by_ids(database: Database, kind: type[Record], select: str, column: str, ids: Sequence[str]) -> list[Record]:
    """The records of these ids, in their order."""
    found: dict[str, Record] = {}
    for batch, marks in batches(ids):
        found |= {each.id: each for each in read(database, kind, f"{select} WHERE {column} IN ({marks})", batch)}
    return [found[each] for each in ids]


def change(
    tx: Transaction, ledger: Ledger, table: str, event: str, record: Record, fields: Mapping[str, Any]
) -> Record:
    """The record with other values of some fields, written with an event that tells both; if none is other, nothing is."""
    now = {name: value for name, value in fields.items() if getattr(record, name) != value}
    if not now:
        return record
    after = replace(record, updated_at=clock.now_us(), **now)
    values = _row({"updated_at": after.updated_at, **now})
    tx.execute(
        f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?", [*values.values(), record.id]
    )
    _write_said(tx, after, [name for name in now if name in _SAID])
    was = {name: getattr(record, name) for name in now}
    ledger.append(tx, f"{table}.{event}", record.id, {"was": was, "now": now})
    return after


def term(owner: str, kind: SaidKind, key: str) -> Term:
    """A tag's text, or a parameter's, in a search; `owner` is the column with the record's id."""
    return Term(
        f"(SELECT s.text FROM model_said s WHERE s.owner = {owner} AND s.kind = '{kind}' AND s.key = ?)", (key,)
    )


def _row(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: msgspec.json.encode(value).decode() if name in _JSON else value
        for name, value in values.items()
        if name not in _SAID
    }


def _record(kind: type[Record], row: Sequence[Any], said: dict[str, dict[str, str]]) -> Record:
    values = dict(zip(columns(kind), row, strict=True))
    plain = {name: msgspec.json.decode(value) if name in _JSON else value for name, value in values.items()}
    found: Record = msgspec.convert(plain | said, kind)
    return found


def _write_said(tx: Transaction, record: Any, names: Iterable[str] = tuple(_SAID)) -> None:
    for name in names:
        said = getattr(record, name, None)
        if said is not None:
            tx.execute("DELETE FROM model_said WHERE owner = ? AND kind = ?", (record.id, _SAID[name]))
            rows = [(record.id, _SAID[name], *item) for item in said.items()]
            tx.executemany("INSERT INTO model_said VALUES (?, ?, ?, ?)", rows)


def _read_said(database: Database, owners: Sequence[str], kind: SaidKind) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {owner: {} for owner in owners}
    for batch, marks in batches(owners):
        rows = database.query(
            f"SELECT owner, key, text FROM model_said WHERE owner IN ({marks}) AND kind = ? ORDER BY key",
            [*batch, kind],
        )
        for owner, key, text in rows:
            found[owner][key] = text
    return found
