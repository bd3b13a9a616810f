"""A schema: the columns of a table with their types and checks, kept in a TOML file that people read and edit."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from mainspring.data.validation.checks import Check, check
from mainspring.store.named_file import write_named


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a column must be: its type in the words of a dataset's schema (any, if empty), and its checks."""

    name: str
    dtype: str = ""
    nullable: bool = True
    optional: bool = False
    checks: tuple[Check, ...] = ()

    def all_checks(self) -> list[Check]:
        """Its checks, those of type and nulls first."""
        found = [check.dtype(self.name, self.dtype) if self.dtype else _there(self.name)]
        if not self.nullable:
            found.append(check.not_null(self.name))
        found += self.checks
        return [msgspec.structs.replace(one, optional=True) for one in found] if self.optional else found


class Schema(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a table must be: its columns, checks of more than one of them, and whether it may have other columns.

    `notes` name what the schema was made from asks for that can't be checked.

    >>> schema = Schema(columns=(Column(name="id", dtype="i64", nullable=False),), other_columns=False)
    >>> [one.name for one in schema.all_checks()]
    ['no columns but id', 'id is i64', 'id is not null']
    """

    name: str = ""
    columns: tuple[Column, ...] = ()
    checks: tuple[Check, ...] = ()
    other_columns: bool = True
    notes: tuple[str, ...] = ()

    def all_checks(self) -> list[Check]:
        """Everything that it asks for, as checks."""
        closed = [] if self.other_columns else [check.only_columns([column.name for column in self.columns])]
        return [*closed, *(one for column in self.columns for one in column.all_checks()), *self.checks]

    @staticmethod
    def load(path: Path | str) -> Schema:
        """Read a schema file.

        Raises:
            NotFoundError: there is no such file.
            InvalidError: it is wrong; the text names the file, the table and the key.
        """
        schema: Schema = _file().load_schema(Path(path))
        return schema

    def dumps(self) -> str:
        """The schema as TOML text."""
        text: str = _file().schema_text(self)
        return text

    def save(self, path: Path | str) -> Path:
        """Write the schema to a file; raises `StorageError`."""
        return write_named(path, self.dumps())


def _file() -> Any:
    """The module of its file form, by name: it stands on these records."""
    return import_module("mainspring.data.validation.schema_file")


def _there(name: str) -> Check:
    return Check(kind="dtype", name=f"{name} is there", columns=(name,))
