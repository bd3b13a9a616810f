"""A database of MLflow's, in SQLite: read record by record, each with what belongs to it, and written so."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import msgspec

from mainspring.errors import InvalidError, NotFoundError, StorageError
from mainspring.server.migration.records import (
    Stored,
    StoredExperiment,
    StoredInput,
    StoredLink,
    StoredLoggedModel,
    StoredMeasure,
    StoredModel,
    StoredRun,
    StoredVersion,
    columns,
)
from mainspring.server.migration.schema import REVISIONS

Record = TypeVar("Record", bound=Stored)
Point = tuple[str, float, int, int, int]
"""A point of a run as MLflow keeps it: key, value, timestamp, step, whether it is NaN."""
_FILE = "mlflow.db"
_PATIENCE_S = 30
_OF_RUN = re.compile(r"runs:/(?P<id>[^/]+)(?:/(?P<path>.*))?", re.DOTALL)
_OF_LOGGED = re.compile(r"models:/(?P<id>m-[^/]+)(?:/(?P<path>.*))?", re.DOTALL)
_ROLES = {"RUN_INPUT": "input", "RUN_OUTPUT": "output"}
_ELSEWHERE = {
    "trace_info": "traces", "evaluation_datasets": "evaluation datasets", "webhooks": "webhooks", "scorers": "scorers",
    "issues": "issues", "review_queues": "review queues", "mcp_servers": "MCP servers", "endpoints": "gateway endpoints",
}  # fmt: skip


def path_of(uri: str) -> Path:
    """The database file that an address names: `sqlite:///mlflow.db`, a path of it, or of the folder that it lies in.

    Raises:
        InvalidError: it is an address of something else.
        NotFoundError: there is no database.
    """
    if uri.startswith("sqlite:///"):
        path = Path(unquote(uri.removeprefix("sqlite:///")))
    elif "://" in uri and not uri.startswith("file://"):
        raise InvalidError(
            "store",
            uri.split("://", maxsplit=1)[0] + "://…",
            "the SQLite database of an MLflow store, as `sqlite:///mlflow.db`",
        )
    else:
        path = Path(unquote(uri.removeprefix("file://"))).expanduser()
        path = path / _FILE if path.is_dir() else path
    if not path.is_file():
        hint = ""
        if (path.parent / "0" / "meta.yaml").exists() or (path.parent / ".trash").exists():
            hint = "This is a store of files: `mlflow migrate-filestore` makes a database of it."
        raise NotFoundError("MLflow database", str(path), hint=hint)
    return path


@contextmanager
def opened(path: Path) -> Iterator[TrackedDatabase]:
    """A database of MLflow's, to be read only.

    Raises:
        InvalidError: it is none, or of a version whose tables aren't known, which is named.
        StorageError: it can't be read.
    """
    connection = None
    try:
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_PATIENCE_S)
        _expect_known(connection, path)
        yield TrackedDatabase(connection)
    except sqlite3.Error as error:
        raise StorageError(
            str(path), str(error), "Is it a database of MLflow's, and is nobody writing to it?"
        ) from error
    finally:
        if connection is not None:
            connection.close()


def _expect_known(connection: sqlite3.Connection, path: Path) -> None:
    named = connection.execute("SELECT name FROM sqlite_master WHERE name IN ('alembic_version', 'runs')").fetchall()
    if len(named) < 2:
        raise InvalidError("store", str(path), "a database of MLflow's: it has no tables `alembic_version` and `runs`")
    found = [revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")]
    if len(found) != 1 or found[0] not in REVISIONS.values():
        known = ", ".join(f"{version} ({revision})" for version, revision in REVISIONS.items())
        raise InvalidError(
            "schema", ", ".join(found), f"the revision of a version of MLflow that is known: {known}",
            f"With one of those, `mlflow db upgrade sqlite:///{path}` brings an older database there.",
        )  # fmt: skip
    named = [name for (name,) in connection.execute("SELECT name FROM workspaces ORDER BY name = 'default' DESC, name")]
    if named[1:]:
        expected = "one of the workspace `default` alone: names are unique in each of MLflow's workspaces only"
        raise InvalidError("store", ", ".join(named), expected)


class TrackedDatabase:
    """Records of an MLflow store, each read and written whole."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def experiments(self) -> list[StoredExperiment]:
        """Every experiment, deleted ones too, by number."""
        tags = self._said("experiment_tags", "experiment_id")
        found = self._rows(StoredExperiment, "ORDER BY experiment_id")
        return [msgspec.structs.replace(each, tags=tags.get(each.experiment_id, {})) for each in found]

    def run_ids(self) -> list[str]:
        """Every run, deleted ones too, the oldest first."""
        return [run for (run,) in self.connection.execute("SELECT run_uuid FROM runs ORDER BY start_time, run_uuid")]

    def run(self, run_id: str) -> StoredRun:
        """A run with all that was logged to it, but its points."""
        [run] = self._rows(StoredRun, "WHERE run_uuid = ?", (run_id,))
        return msgspec.structs.replace(
            run, params=self._said("params", "run_uuid", run_id).get(run_id, {}),
            tags=self._said("tags", "run_uuid", run_id).get(run_id, {}), inputs=self._inputs(run_id),
            models=self._links(run_id),
        )  # fmt: skip

    def points(self, run_id: str) -> list[Point]:
        """The points of a run, by key, step and time."""
        order = "ORDER BY key, step, timestamp, is_nan, value"
        statement = f"SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? {order}"
        return self.connection.execute(statement, (run_id,)).fetchall()

    def extent(self, run_id: str) -> tuple[int, int | None]:
        """How many points a run has, and the place of the last one: others, as soon as one is logged."""
        statement = "SELECT COUNT(*), MAX(rowid) FROM metrics WHERE run_uuid = ?"
        count, last = self.connection.execute(statement, (run_id,)).fetchone()
        return count, last

    def logged_models(self) -> list[StoredLoggedModel]:
        """Every logged model, deleted ones too, the oldest first."""
        tags = self._said("logged_model_tags", "model_id", key="tag_key", value="tag_value")
        params = self._said("logged_model_params", "model_id", key="param_key", value="param_value")
        return [
            msgspec.structs.replace(
                each, tags=tags.get(each.model_id, {}), params=params.get(each.model_id, {}),
                metrics=tuple(self._rows(StoredMeasure, "WHERE model_id = ? ORDER BY 1, 2, 3", (each.model_id,))),
            )
            for each in self._rows(StoredLoggedModel, "ORDER BY creation_timestamp_ms, model_id")
        ]  # fmt: skip

    def models(self) -> list[StoredModel]:
        """Every registered model with its versions, deleted ones too, and aliases."""
        return [self._whole(each) for each in self._rows(StoredModel, "ORDER BY name")]

    def location(self, source: str) -> str | None:
        """Where the files lie that a version was made of; None if the source is no place (a prompt has none)."""
        if found := _OF_RUN.fullmatch(source):
            statement = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
        elif found := _OF_LOGGED.fullmatch(source):
            statement = "SELECT artifact_location FROM logged_models WHERE model_id = ?"
        else:
            return source if "/" in source else None
        row = self.connection.execute(statement, (found["id"],)).fetchone()
        return "/".join(filter(None, (row[0], found["path"]))) if row else None

    def elsewhere(self) -> dict[str, int]:
        """How many there are of each kind of record that has no place in a workspace."""
        counts = {
            name: self.connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for table, name in _ELSEWHERE.items()
        }
        return {name: count for name, count in counts.items() if count}

    def add(self, record: Stored, **others: Any) -> None:
        """Write a record's own row; `others` are columns that aren't its fields."""
        self.insert(record.TABLE, {each: getattr(record, each) for each in columns(type(record))} | others)

    def insert(self, table: str, row: dict[str, Any]) -> None:
        """Write a row; one that is there stays."""
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        self.connection.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", list(row.values()))

    def say(self, table: str, said: dict[str, Any], **owner: Any) -> None:
        """Write tags or parameters of a record."""
        for key, value in said.items():
            self.insert(table, {"key": key, "value": value} | owner)

    def add_points(self, run_id: str, points: Iterable[Point]) -> None:
        """Write the points of a run, and which is the latest of each metric by MLflow's rule: step, then time, then value."""
        latest: dict[str, Point] = {}
        rows = []
        for point in points:
            rows.append((*point, run_id))
            known = latest.get(point[0])
            if known is None or (point[3], point[2], point[1]) > (known[3], known[2], known[1]):
                latest[point[0]] = point
        into = "(key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)"
        self.connection.executemany(f"INSERT OR IGNORE INTO metrics {into}", rows)
        self.connection.executemany(f"INSERT INTO latest_metrics {into}", [(*each, run_id) for each in latest.values()])

    def _rows(self, kind: type[Record], rest: str = "", params: Sequence[Any] = ()) -> list[Record]:
        names = columns(kind)
        rows = self.connection.execute(f"SELECT {', '.join(names)} FROM {kind.TABLE} {rest}", params)
        return [msgspec.convert(dict(zip(names, row, strict=True)), kind, strict=False) for row in rows]

    def _said(
        self, table: str, owner: str, one: object = None, key: str = "key", value: str = "value"
    ) -> dict[Any, dict[str, str]]:
        """Tags or parameters of every owner, or of one."""
        where, params = (f"WHERE {owner} = ?", (one,)) if one is not None else ("", ())
        found: dict[Any, dict[str, str]] = {}
        for of, name, text in self.connection.execute(
            f"SELECT {owner}, {key}, {value} FROM {table} {where} ORDER BY {owner}, {key}", params
        ):
            found.setdefault(of, {})[name] = text
        return found

    def _inputs(self, run_id: str) -> tuple[StoredInput, ...]:
        found = []
        names = columns(StoredInput)
        for uuid, *row in self.connection.execute(
            f"SELECT i.input_uuid, {', '.join(f'd.{name}' for name in names)} FROM inputs i"
            " JOIN datasets d ON d.dataset_uuid = i.source_id WHERE i.source_type = 'DATASET'"
            # MLflow asks in no order, and SQLite answers in that of the rows.
            " AND i.destination_type = 'RUN' AND i.destination_id = ? ORDER BY i.rowid",
            (run_id,),
        ).fetchall():
            tags = self._said("input_tags", "input_uuid", uuid, key="name").get(uuid, {})
            found.append(StoredInput(**dict(zip(names, row, strict=True)), tags=tags))
        return tuple(found)

    def _links(self, run_id: str) -> tuple[StoredLink, ...]:
        rows = self.connection.execute(
            "SELECT source_type, destination_id, step FROM inputs WHERE source_id = ?"
            " AND source_type IN ('RUN_INPUT', 'RUN_OUTPUT') ORDER BY 1, 2",
            (run_id,),
        )
        return tuple(StoredLink(role=_ROLES[kind], model_id=model, step=step) for kind, model, step in rows)

    def _whole(self, model: StoredModel) -> StoredModel:
        said = "SELECT version, key, value FROM model_version_tags WHERE name = ? ORDER BY version, key"
        tags: dict[int, dict[str, str | None]] = {}
        for version, key, value in self.connection.execute(said, (model.name,)):
            tags.setdefault(version, {})[key] = value
        versions = self._rows(StoredVersion, "WHERE name = ? ORDER BY version", (model.name,))
        aliases = "SELECT alias, version FROM registered_model_aliases WHERE name = ? ORDER BY alias"
        return msgspec.structs.replace(
            model, tags=self._said("registered_model_tags", "name", model.name).get(model.name, {}),
            versions=tuple(msgspec.structs.replace(each, tags=tags.get(each.version, {})) for each in versions),
            aliases=dict(self.connection.execute(aliases, (model.name,)).fetchall()),
        )  # fmt: skip
