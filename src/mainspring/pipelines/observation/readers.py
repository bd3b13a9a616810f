"""Readers that open files in native code, where no audit event is raised: wrapped when their library is loaded.

A wrapper carries the library's own file name and globals, since DuckDB looks for data frames in the caller's variables
and Polars and pandas count frames to name the line of a warning: to them it is one more frame of the library itself.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial, update_wrapper
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from mainspring.pipelines.observation.events import see_database
from mainspring.pipelines.observation.imports import is_loading, on_import
from mainspring.pipelines.observation.watcher import Current, Watcher, carried

_See = Callable[[Watcher, object, dict[str, Any]], None]


class _Reader(NamedTuple):
    """Where a callable is, and which of its arguments says what it touches."""

    path: str
    see: _See
    position: int
    keywords: tuple[str, ...]


def install(current: Current) -> None:
    """Wrap the readers of the libraries that are loaded, and of each other one once it is."""
    for module, readers in _tables().items():
        on_import(module, "observe", partial(_wrap_all, readers, current))


# What is touched, by kind of argument.


def _see_source(watcher: Watcher, source: object, options: dict[str, Any]) -> None:
    filesystem = options.get("filesystem")
    for path in _paths(source):
        if "://" in path:
            watcher.url(path)
        elif filesystem is not None and not isinstance(filesystem, str) and "Local" not in type(filesystem).__name__:
            watcher.url(f"{getattr(filesystem, 'type_name', type(filesystem).__name__)}://{path}")
        else:
            watcher.read(path)


def _see_native_file(watcher: Watcher, path: object, options: dict[str, Any]) -> None:
    (_see_target if str(options.get("mode", "r")).startswith("w") else _see_source)(watcher, path, options)


def _see_target(watcher: Watcher, target: object, options: dict[str, Any]) -> None:  # noqa: ARG001  # all of a reader's watchers have one signature
    for path in _paths(target):
        if "://" not in path:
            watcher.write(path, replaces=True)


def _see_uri(watcher: Watcher, uri: object, options: dict[str, Any]) -> None:  # noqa: ARG001  # all of a reader's watchers have one signature
    if not isinstance(uri, str) or "://" not in uri:
        return
    scheme, _, rest = uri.partition("://")
    if scheme.startswith(("sqlite", "duckdb")):
        see_database(watcher, rest.removeprefix("/").partition("?")[0])
    else:
        watcher.url(uri)


def _see_database(watcher: Watcher, path: object, options: dict[str, Any]) -> None:  # noqa: ARG001  # all of a reader's watchers have one signature
    if isinstance(path, str | os.PathLike):
        see_database(watcher, path)


_QUOTED = re.compile(r"(\bTO\s+)?(?:'((?:[^']|'')+)'|\"((?:[^\"]|\"\")+)\")", re.IGNORECASE)
_REMOTE = re.compile(r"(?:https?|s3|s3a|gs|gcs|r2|hf|azure|az|abfss?|file)://")
_PATTERN_OF_FILES = re.compile(r"[*?\[].*\.\w+$|\.(?:csv|tsv|parquet|json|jsonl|ndjson)(?:\.\w+)?$")


def _see_sql(watcher: Watcher, query: object, options: dict[str, Any]) -> None:  # noqa: ARG001  # all of a reader's watchers have one signature
    if not isinstance(query, str):
        return
    for written, single, double in _QUOTED.findall(query):
        _see_literal(watcher, single or double, written=bool(written))


def _see_literal(watcher: Watcher, text: str, *, written: bool = False) -> None:
    """A quoted string counts if it is a remote address, an existing file, or looks like a pattern of data files."""
    if "\n" in text or len(text) > 4096:
        return
    if _REMOTE.match(text):
        watcher.url(text)
    elif written:
        watcher.write(text, replaces=True)
    elif _PATTERN_OF_FILES.search(text) or os.path.isfile(text):
        watcher.read(text)


def _see_parameters(watcher: Watcher, parameters: object, options: dict[str, Any]) -> None:  # noqa: ARG001  # all of a reader's watchers have one signature
    values = parameters.values() if isinstance(parameters, dict) else parameters
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        return
    for value in values:
        if isinstance(value, str):
            _see_literal(watcher, value)


def _see_program(watcher: Watcher, arguments: object, options: dict[str, Any]) -> None:  # noqa: ARG001  # all of a reader's watchers have one signature
    if "resource_tracker" not in str(arguments):  # multiprocessing's own cleaner, which reads nothing
        watcher.process(arguments)


def _see_workers(watcher: Watcher, count: object, options: dict[str, Any]) -> None:  # noqa: ARG001  # all of a reader's watchers have one signature
    """Joblib's worker processes count if project code asks for them, not if a library's estimator does."""
    frame = sys._getframe(2)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(("joblib", "mainspring")):
        frame = frame.f_back
    if not any(folder in frame.f_code.co_filename for folder in ("/site-packages/", "/dist-packages/")):
        watcher.process(f"joblib workers ({count})")


def _paths(source: object) -> Iterator[str]:
    """The paths in a reader's first argument: one, several, or none if it is data or an open file."""
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if isinstance(source, str):
        if source and "\n" not in source and source[:1] not in "{[":
            yield source
    elif isinstance(source, list | tuple | set):
        for one in source:
            if not isinstance(one, bytes):
                yield from _paths(one)


# The tables: module, attribute, and the argument's position and names.


def _rows(see: _See, position: int, keywords: str, *paths: str) -> list[_Reader]:
    return [_Reader(path, see, position, tuple(keywords.split())) for path in paths]


def _tables() -> dict[str, list[_Reader]]:
    return {
        "polars": _polars(),
        "duckdb": _duckdb(),
        "pyarrow": [
            *_rows(_see_source, 0, "path source", "memory_map", "input_stream"),
            *_rows(_see_native_file, 0, "path", "OSFile"),
        ],
        "pyarrow.parquet": _pyarrow_parquet(),
        "pyarrow.csv": [
            *_rows(_see_source, 0, "input_file", "read_csv", "open_csv"),
            *_rows(_see_target, 1, "output_file", "write_csv"),
        ],
        "pyarrow.json": _rows(_see_source, 0, "input_file", "read_json", "open_json"),
        "pyarrow.feather": [
            *_rows(_see_source, 0, "source", "read_feather", "read_table"),
            *_rows(_see_target, 1, "dest", "write_feather"),
        ],
        "pyarrow.orc": _rows(_see_source, 0, "source", "read_table")
        + _rows(_see_source, 1, "source", "ORCFile.__init__"),
        "pyarrow.dataset": _rows(_see_source, 0, "source metadata_path", "dataset", "parquet_dataset"),
        "numpy": _rows(_see_source, 0, "file", "fromfile"),
        "multiprocessing.util": _rows(_see_program, 1, "args", "spawnv_passfds"),
        "joblib.executor": _rows(_see_workers, 0, "n_jobs", "get_memmapping_executor"),
        "concurrent.futures.thread": [_Reader("ThreadPoolExecutor.submit", _carry, 1, ("fn",))],
    }


def _carry(watcher: Watcher, function: object, options: dict[str, Any]) -> None:
    """Stands in the table for a callable whose argument is run later, in another thread: see `_carrying`."""


def _polars() -> list[_Reader]:
    formats = "csv parquet ipc ndjson lines delta".split()
    readers = [f"read_{name}" for name in formats] + [f"scan_{name}" for name in formats]
    others = "read_json read_avro read_excel read_ods read_ipc_stream read_ipc_schema read_parquet_schema".split()
    more = ["read_parquet_metadata", "read_csv_batched", "scan_iceberg", "scan_lance"]
    frame = [f"DataFrame.write_{name}" for name in ("csv", "parquet", "ipc", "ipc_stream", "json", "ndjson", "avro")]
    lazy = [f"LazyFrame.sink_{name}" for name in ("csv", "parquet", "ipc", "ndjson")]
    return [
        *_rows(_see_source, 0, "source", *readers, *others, *more, "DataFrame.deserialize", "LazyFrame.deserialize"),
        *_rows(_see_uri, 1, "uri", "read_database_uri"),
        *_rows(_see_sql, 0, "query", "sql"),
        *_rows(_see_sql, 1, "query", "SQLContext.execute"),
        *_rows(_see_target, 1, "file path", *frame, *lazy),
    ]


def _pyarrow_parquet() -> list[_Reader]:
    return [
        *_rows(_see_source, 0, "source where", "read_table", "read_pandas", "read_schema", "read_metadata"),
        *_rows(_see_source, 1, "source path_or_paths", "ParquetFile.__init__", "ParquetDataset.__init__"),
        *_rows(_see_target, 1, "where", "write_table", "ParquetWriter.__init__"),
    ]


def _duckdb() -> list[_Reader]:
    names = "read_csv read_parquet read_json from_csv_auto from_parquet".split()
    queries = "sql query from_query query_df execute executemany".split()
    relation = [f"DuckDBPyRelation.{name}" for name in ("write_parquet", "to_parquet", "write_csv", "to_csv")]
    connection = "DuckDBPyConnection."
    return [
        *_rows(_see_database, 0, "database", "connect"),
        *_rows(_see_source, 0, "path_or_buffer file_glob file_globs", *names),
        *_rows(_see_source, 1, "path_or_buffer file_glob file_globs", *(connection + name for name in names)),
        *_rows(_see_sql, 0, "query", *queries),
        *_rows(_see_sql, 1, "query", *(connection + name for name in queries)),
        *_rows(_see_parameters, 1, "parameters", "execute"),
        *_rows(_see_parameters, 2, "parameters", connection + "execute"),
        *_rows(_see_target, 1, "file_name", *relation),
    ]


# Wrapping.


def _wrap_all(readers: list[_Reader], current: Current, module: ModuleType) -> None:
    replaced: dict[int, tuple[object, object]] = {}
    for reader in readers:
        owner: object = module
        *outer, name = reader.path.split(".")
        for step in outer:
            owner = getattr(owner, step, None)
        original = getattr(owner, name, None)
        if owner is None or original is None:  # another version of the library
            continue
        wrapper: object
        if isinstance(original, type):
            wrapper = _wrapped_class(original, reader, current)
        elif isinstance(owner, type) and isinstance(owner.__dict__.get(name), classmethod):
            shifted = reader._replace(position=reader.position + 1)
            wrapper = classmethod(_wrapped(original.__func__, shifted, current, module))
        else:
            wrapper = _wrapped(original, reader, current, module)
        setattr(owner, name, wrapper)
        if not outer:
            replaced[id(original)] = (original, wrapper)
    # Of a library that is just being loaded nobody but itself can have taken anything yet.
    _rebind(replaced, module.__name__.partition(".")[0] if is_loading(module) else "")


def _rebind(replaced: dict[int, tuple[object, object]], library: str) -> None:
    """Replace what modules (of one library, if it is named) bound before, as `from polars import read_csv` does."""
    for name, module in sys.modules.copy().items():
        if library and name.partition(".")[0] != library:
            continue
        names = getattr(module, "__dict__", None)
        if not isinstance(names, dict) or names.get("__name__") == __name__:
            continue
        for key, value in list(names.items()):
            found = replaced.get(id(value))
            if found is not None and found[0] is value:
                names[key] = found[1]


def _wrapped(original: Any, reader: _Reader, current: Current, module: ModuleType) -> Callable[..., Any]:
    make = _carrying if reader.see is _carry else _seeing
    wrapper = make(original, reader, current)
    home = sys.modules.get(getattr(original, "__module__", None) or "", module)
    if "__builtins__" not in home.__dict__:  # a compiled module: what it imports would find no builtins in our frame
        home = module
    disguised = FunctionType(
        wrapper.__code__.replace(co_filename=getattr(home, "__file__", None) or module.__name__),
        home.__dict__,
        reader.path.rpartition(".")[2],
        None,
        wrapper.__closure__,
    )
    return update_wrapper(disguised, original)


def _seeing(original: Any, reader: _Reader, current: Current) -> FunctionType:
    see, position, keywords = reader.see, reader.position, reader.keywords
    argument = _argument

    def call(*args: Any, **kwargs: Any) -> Any:
        watcher = current()
        if watcher is not None:
            see(watcher, argument(args, kwargs, position, keywords), kwargs)
        return original(*args, **kwargs)

    return call  # type: ignore[return-value]  # a function made by replacing code keeps its type to itself


def _carrying(original: Any, reader: _Reader, current: Current) -> FunctionType:  # noqa: ARG001  # the names are read by the replaced code
    carry = carried

    def call(self: Any, function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Any:
        return original(self, carry(function), *args, **kwargs)

    return call  # type: ignore[return-value]  # a function made by replacing code keeps its type to itself


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, keywords: tuple[str, ...]) -> object:
    if len(args) > position:
        return args[position]
    return next((kwargs[name] for name in keywords if name in kwargs), None)


def _wrapped_class(original: Any, reader: _Reader, current: Current) -> type:
    """A subclass that tells what it opens; an instance of the original counts as one of it."""

    class Instances(type(original)):  # type: ignore[misc]  # the metaclass is known at run time only
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, original)

    def __init__(self: object, *args: Any, **kwargs: Any) -> None:  # noqa: ARG001, N807  # stands in for a class's own __init__
        watcher = current()
        if watcher is not None:
            options = {"mode": args[1], **kwargs} if len(args) > 1 else kwargs
            reader.see(watcher, _argument(args, kwargs, reader.position, reader.keywords), options)

    names = {"__init__": __init__, "__module__": original.__module__, "__doc__": original.__doc__}
    return Instances(original.__name__, (original,), names)
