"""How two versions differ, as records: rows and columns of tables, files of trees. They stand below both."""

from __future__ import annotations

import msgspec

from mainspring.data.files import TreeFile


class ColumnDiff(msgspec.Struct, frozen=True):
    """A column whose values differ in `rows` rows; examples are (key, old value, new value) as text."""

    name: str
    rows: int
    examples: tuple[tuple[str, str, str], ...]


class SchemaChange(msgspec.Struct, frozen=True):
    """A column that is new (`old` is None), gone (`new` is None), or of another type."""

    name: str
    old: str | None
    new: str | None


class TableDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How one table became another.

    With a key, rows of one key are compared in the columns that both tables have with one type; `changed` are those that
    differ. Without, a row is there or not, as often as it is there, and `changed` is 0. `reordered` says that the same
    rows stand in another order. Examples are rows as text by column, at most 5 of each kind.
    """

    key: tuple[str, ...] = ()
    old_rows: int
    new_rows: int
    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: tuple[ColumnDiff, ...] = ()
    schema: tuple[SchemaChange, ...] = ()
    reordered: bool = False
    added_examples: tuple[dict[str, str], ...] = ()
    removed_examples: tuple[dict[str, str], ...] = ()

    @property
    def unchanged(self) -> int:
        """The rows that both have."""
        return self.old_rows - self.removed - self.changed

    @property
    def is_empty(self) -> bool:
        """Whether the tables are the same."""
        return not (self.added or self.removed or self.changed or self.schema or self.reordered)


class Change(msgspec.Struct, frozen=True):
    """A file that two trees have under one path, with other bytes or another executable bit."""

    old: TreeFile
    new: TreeFile


class TreeDiff(msgspec.Struct, frozen=True):
    """How one tree became another, each list sorted by path. A renamed file has one content and two paths."""

    added: tuple[TreeFile, ...]
    removed: tuple[TreeFile, ...]
    changed: tuple[Change, ...]
    renamed: tuple[Change, ...]
    unchanged: int

    @property
    def is_empty(self) -> bool:
        """Whether the trees are the same."""
        return not (self.added or self.removed or self.changed or self.renamed)
