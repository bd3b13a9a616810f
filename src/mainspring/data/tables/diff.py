"""How two versions of tables differ: rows by a key, or as whole rows, and columns.

Rows that both surely have are not read: those of parts that both have, or those of leaves with one digest. What is left is
compared some million rows at a time, so that memory holds a share of two tables, never both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import polars as pl

from mainspring.artifacts import LEAF_ROWS
from mainspring.data.differences import ColumnDiff, SchemaChange, TableDiff
from mainspring.data.tables.manifest import Listing, Part, read_listing
from mainspring.data.tables.parts import scan_parts
from mainspring.data.tables.positions import Positions, read_dropped
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, close_names, listed, shorten
from mainspring.store import BlobStore
from mainspring.workspace import current_workspace

EXAMPLES = 5
_AT_ONCE = 1 << 22  # rows of one side
_INDEX = "stored at"


def diff_tables(
    old: DatasetVersion, new: DatasetVersion, key: str | Sequence[str] | None = None, blobs: BlobStore | None = None
) -> TableDiff:
    """How a table differs from an older one, of the same dataset or not.

    Raises:
        InvalidError: one of the two is a tree; a column of the key is missing, of two types, or nested; a key is there twice.
    """
    for version in (old, new):
        version.expect("table")
    names = [] if key is None else [key] if isinstance(key, str) else list(key)
    _check_key(names, old, new)
    found = TableDiff(key=tuple(names), old_rows=old.rows, new_rows=new.rows, schema=_schema_changes(old, new))
    if old.content_digest == new.content_digest:
        return found
    blobs = blobs or current_workspace().blobs
    if names:
        for version, where in ((old, "the old version"), (new, "the new version")):
            _expect_unique(version.scan().select(names), where)
    before, after = _remainders(blobs, old, new)
    types = dict(new.schema)
    shared = [name for name, kind in old.schema if types.get(name) == kind]
    if not shared:
        found = msgspec.structs.replace(found, removed=old.rows, added=new.rows)
    elif names:
        found = _by_key(found, before, after, names, [name for name in shared if name not in names])
    else:
        found = _by_rows(found, before, after, shared)
    return msgspec.structs.replace(found, reordered=found.is_empty)


def scan_added(
    old: DatasetVersion, new: DatasetVersion, columns: Sequence[str], blobs: BlobStore | None = None
) -> pl.LazyFrame:
    """Some columns of a table's rows, those that an older version lacks; what both surely have is not read.

    A row that both have may be given nevertheless if one of them has it several times. If the older one lacks a column, or has
    it with another type, all rows are given.

    Raises:
        InvalidError: one of the two is a tree.
    """
    for version in (old, new):
        version.expect("table")
    before, after = dict(old.schema), dict(new.schema)
    names = list(columns)
    if any(before.get(name) != after[name] for name in names):
        return new.scan().select(names)
    if old.content_digest == new.content_digest:
        return new.scan().select(names).clear()
    rest = _remainders(blobs or current_workspace().blobs, old, new)
    left, right = (frame.select(names).with_columns(pl.col(pl.Categorical).cast(pl.String)) for frame in rest)
    return right.join(left, on=names, how="anti", nulls_equal=True)


def _check_key(names: list[str], old: DatasetVersion, new: DatasetVersion) -> None:
    for name in names:
        kinds = []
        for version in (old, new):
            if name not in version.columns:
                near = listed(close_names(name, version.columns) or list(version.columns))
                raise InvalidError("key", name, f"a column of {version}", f"Near: {near}.")
            kinds.append(dict(version.schema)[name])
        if kinds[0] != kinds[1]:
            raise InvalidError("key", name, f"of one type in both: `{kinds[0]}` in {old}, `{kinds[1]}` in {new}")
        if kinds[0].startswith(("list[", "array[", "struct{")):
            raise InvalidError("key", name, "a column of plain values", f"It is `{kinds[0]}`.")


def _schema_changes(old: DatasetVersion, new: DatasetVersion) -> tuple[SchemaChange, ...]:
    before, after = dict(old.schema), dict(new.schema)
    return tuple(
        SchemaChange(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )


# ------------------------------------------------------------------ what has to be compared


class _Rest(msgspec.Struct):
    """The rows of one side that have to be read: of each part all, or those at some positions; or of some leaves."""

    rows: int
    parts: list[tuple[Part, Positions | None]]
    leaves: list[int] | None = None

    def scan(self, blobs: BlobStore) -> pl.LazyFrame:
        if self.leaves is not None:
            whole = tuple(part for part, _ in self.parts)
            return (
                scan_parts(blobs, whole, _INDEX).filter((pl.col(_INDEX) // LEAF_ROWS).is_in(self.leaves)).drop(_INDEX)
            )
        frames = []
        full = tuple(part for part, positions in self.parts if positions is None)
        for part, positions in self.parts:
            if positions is not None:
                stored = Part(part.blob, part.stored_rows, part.size_bytes)
                wanted = pl.Series(positions).implode()
                frames.append(scan_parts(blobs, (stored,), _INDEX).filter(pl.col(_INDEX).is_in(wanted)).drop(_INDEX))
        if full or not frames:
            frames.append(scan_parts(blobs, full or (self.parts[0][0],)) if self.parts else pl.LazyFrame())
        return pl.concat(frames) if len(frames) > 1 else frames[0]


def _remainders(blobs: BlobStore, old: DatasetVersion, new: DatasetVersion) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """The rows of both that may differ. The rows left out are the same on both sides, each as often."""
    if old.pinned or new.pinned:
        return old.scan(), new.scan()
    before, after = read_listing(blobs, old.manifest), read_listing(blobs, new.manifest)
    by_part = _without_shared_parts(blobs, before.parts, after.parts)
    rests = by_part
    if old.schema == new.schema and not any(part.dropped for part in (*before.parts, *after.parts)):
        by_leaf = _without_shared_leaves(before, after)
        if sum(rest.rows for rest in by_leaf) < sum(rest.rows for rest in by_part):
            rests = by_leaf
    frames = []
    for rest, listing in zip(rests, (before, after), strict=True):
        if rest.rows or not listing.parts:
            frames.append(rest.scan(blobs))
        else:
            frames.append(scan_parts(blobs, listing.parts[:1]).clear())
    return frames[0], frames[1]


def _without_shared_parts(blobs: BlobStore, old: tuple[Part, ...], new: tuple[Part, ...]) -> tuple[_Rest, _Rest]:
    waiting: dict[str, list[Part]] = {}
    for part in old:
        waiting.setdefault(part.blob, []).append(part)
    removed: list[tuple[Part, Positions | None]] = []
    added: list[tuple[Part, Positions | None]] = []
    for part in new:
        pairs = waiting.get(part.blob)
        if not pairs:
            added.append((part, None))
            continue
        other = pairs.pop()
        if other.dropped != part.dropped:
            gone_before, gone = read_dropped(blobs, other), read_dropped(blobs, part)
            added.append((part, np.setdiff1d(gone_before, gone)))
            removed.append((other, np.setdiff1d(gone, gone_before)))
    removed += [(part, None) for parts in waiting.values() for part in parts]
    return _Rest(_count(removed), [each for each in removed if _count([each])]), _Rest(
        _count(added), [each for each in added if _count([each])]
    )


def _count(parts: list[tuple[Part, Positions | None]]) -> int:
    return sum(part.rows if positions is None else len(positions) for part, positions in parts)


def _without_shared_leaves(old: Listing, new: Listing) -> tuple[_Rest, _Rest]:
    shared = Counter(old.leaves) & Counter(new.leaves)
    rests = []
    for listing in (old, new):
        left, leaves = Counter(shared), []
        for number, leaf in enumerate(listing.leaves):
            if left[leaf]:
                left[leaf] -= 1
            else:
                leaves.append(number)
        total = sum(part.rows for part in listing.parts)
        rows = sum(min(LEAF_ROWS, total - number * LEAF_ROWS) for number in leaves)
        rests.append(_Rest(rows, [(part, None) for part in listing.parts], leaves))
    return rests[0], rests[1]


# ------------------------------------------------------------------ comparing


def _shares(before: pl.LazyFrame, after: pl.LazyFrame, names: list[str]) -> Iterator[tuple[pl.LazyFrame, pl.LazyFrame]]:
    """Both sides cut by the hash of some columns, so that rows which are equal in them come together."""
    before, after = (frame.with_columns(pl.col(pl.Categorical).cast(pl.String)) for frame in (before, after))
    rows = max(frame.select(pl.len()).collect().item() for frame in (before, after))
    shares = -(-rows // _AT_ONCE)
    for share in range(shares):
        mine = pl.struct(names).hash() % shares == share
        yield (before.filter(mine), after.filter(mine)) if shares > 1 else (before, after)


def _by_key(
    found: TableDiff, before: pl.LazyFrame, after: pl.LazyFrame, key: list[str], values: list[str]
) -> TableDiff:
    keys = [f"k{n}" for n in range(len(key))]
    plain = dict(zip(keys, key, strict=True))
    counts: Counter[str] = Counter()
    examples: dict[str, list[tuple[str, str, str]]] = {name: [] for name in values}
    rows: dict[str, list[dict[str, str]]] = {"added": [], "removed": []}
    differs = [pl.col(f"o{n}").ne_missing(pl.col(f"n{n}")) for n in range(len(values))]
    both = pl.col("o").is_not_null() & pl.col("n").is_not_null()
    for old, new in _shares(before, after, key):
        sides = [_renamed(frame, mark, plain, values) for frame, mark in ((old, "o"), (new, "n"))]
        joined = sides[0].join(sides[1], on=keys, how="full", coalesce=True, nulls_equal=True)
        different = joined.filter(pl.any_horizontal(~both, *differs)).collect(engine="streaming").sort(keys)
        for kind, mark, other in (("added", "n", "o"), ("removed", "o", "n")):
            only = different.filter(pl.col(other).is_null())
            counts[kind] += only.height
            names = plain | {f"{mark}{n}": name for n, name in enumerate(values)}
            rows[kind] += _examples(only.select(list(names)).rename(names), EXAMPLES - len(rows[kind]))
        changed = different.filter(both)
        counts["changed"] += changed.height
        sums = changed.select(each.sum().alias(f"{n}") for n, each in enumerate(differs)) if values else pl.DataFrame()
        for number, name in enumerate(values):
            if not (rows_here := sums[f"{number}"].item()):
                continue
            counts[f"={name}"] += rows_here
            here = changed.lazy().select(*keys, f"o{number}", f"n{number}").filter(differs[number])
            for row in here.head(EXAMPLES - len(examples[name])).collect().rows():
                examples[name].append((_key_text(row[:-2]), _text(row[-2]), _text(row[-1])))
    return msgspec.structs.replace(
        found, added=counts["added"], removed=counts["removed"], changed=counts["changed"],
        columns=tuple(
            ColumnDiff(name, counts[f"={name}"], tuple(examples[name])) for name in values if counts[f"={name}"]
        ),
        added_examples=tuple(rows["added"]), removed_examples=tuple(rows["removed"]),
    )  # fmt: skip


def _renamed(frame: pl.LazyFrame, mark: str, keys: dict[str, str], values: list[str]) -> pl.LazyFrame:
    """Names that can't collide: k0 … for the key, o0 … or n0 … for the values, o or n for being there."""
    return frame.select(
        *(pl.col(name).alias(short) for short, name in keys.items()),
        *(pl.col(name).alias(f"{mark}{n}") for n, name in enumerate(values)),
        pl.lit(True).alias(mark),
    )


def _expect_unique(keys: pl.LazyFrame, where: str) -> None:
    """Refuse keys that come twice, wherever: a version that shares most of its parts with the other may hold both in those."""
    hashed = pl.struct(pl.all()).hash()
    hashes = keys.select(hashed.alias("hash")).collect(engine="streaming")["hash"]
    if hashes.n_unique() == len(hashes):
        return
    again = hashes.filter(hashes.is_duplicated()).unique()
    found = keys.filter(hashed.is_in(again.implode())).collect(engine="streaming")  # also those that collide by chance
    twice = found.filter(found.is_duplicated()).unique(maintain_order=True).head(3)
    if twice.height:
        shown = ", ".join(_key_text(row) for row in twice.rows())
        raise InvalidError("+".join(keys.collect_schema().names()), shown, f"a key of one row in {where}", _MORE)


_MORE = "Name more columns as the key."


def _by_rows(found: TableDiff, before: pl.LazyFrame, after: pl.LazyFrame, shared: list[str]) -> TableDiff:
    counts = Counter[str]()
    rows: dict[str, list[dict[str, str]]] = {"added": [], "removed": []}
    names = [f"v{n}" for n in range(len(shared))]
    for old, new in _shares(before, after, shared):
        sides = [
            side.select(
                *(pl.col(name).alias(to) for name, to in zip(shared, names, strict=True)), pl.lit(sign).alias("n")
            )
            for side, sign in ((old, -1), (new, 1))
        ]
        left = (
            pl.concat(sides).group_by(names).agg(pl.col("n").sum()).filter(pl.col("n") != 0).collect(engine="streaming")
        )
        for kind, sign in (("added", 1), ("removed", -1)):
            only = left.filter(pl.col("n") * sign > 0)
            counts[kind] += int((only["n"] * sign).sum())
            rows[kind] += _examples(
                only.select(names).rename(dict(zip(names, shared, strict=True))), EXAMPLES - len(rows[kind])
            )
    return msgspec.structs.replace(
        found, added=counts["added"], removed=counts["removed"],
        added_examples=tuple(rows["added"]), removed_examples=tuple(rows["removed"]),
    )  # fmt: skip


def _examples(frame: pl.DataFrame, count: int) -> list[dict[str, str]]:
    return [{name: _text(value) for name, value in row.items()} for row in frame.head(count).to_dicts()]


def _key_text(values: tuple[object, ...]) -> str:
    return ", ".join(_text(value) for value in values)


def _text(value: object) -> str:
    return "null" if value is None else shorten(value if isinstance(value, str) else str(value), 60)
