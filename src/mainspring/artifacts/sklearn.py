"""The codec of scikit-learn estimators: skops, rewritten canonically.

Ids are renumbered in walk order, files named by content, entries sorted, dates fixed, and padding inside structured arrays
zeroed, so that a refit gives the same bytes. What may be loaded is allowed by our own rule or defined in the project; what the
file wants is never asked.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3

from mainspring.artifacts._allowed import is_allowed, is_installed
from mainspring.artifacts._compare import compare_trees
from mainspring.artifacts._distributions import as_calls, without_cycles
from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.leaves import LEAF, extend_skops, leaf_codec, leaves_apart, leaves_of, read_leaf
from mainspring.artifacts.numpy import ArrayCodec, canonical, compare_arrays
from mainspring.artifacts.project import find_definition, missing_import
from mainspring.artifacts.script import script
from mainspring.errors import CodecError, MissingExtraError, MissingLibraryError, shorten

# skops asks scikit-learn for all its estimators, which imports its adapter of PyTorch on the way: 1.5 s, 180 MB.
_TORCH = "sklearn.externals.array_api_compat.torch"

# What holds an address in the memory of the process: of the stop words that a vectorizer of texts has looked through, so that
# it looks again when it is loaded.
_ADDRESSES = ("_stop_words_id",)

# Of the state of a tree of neighbours: how often it was trimmed, asked and split since it was made.
_TREES = ("sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree")
_COUNTERS = range(7, 11)

# An immutable object may be one or two with the same value, which no program asks about.
_SHARED_BY_CHANCE = frozenset(
    {"JsonNode", "TupleNode", "TypeNode", "FunctionNode", "SliceNode", "OperatorFuncNode", "DTypeNode", "BytesNode"}
)

# How skops stores functions; those written in C, and methods of texts, as types.
_OF_FUNCTIONS = frozenset({"FunctionNode", "MethodNode", "TypeNode", "TextMethodNode"})
_METHOD = "builtins.method_descriptor"
_WRAP = "Wrap it in a top-level function of the project."
_USE = (
    "Use estimators of scikit-learn, XGBoost, LightGBM and CatBoost, their parts and functions of numbers, and top-level "
    "definitions of the project; of a search keep its `best_estimator_`."
)
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


class EstimatorCodec:
    """Estimators and pipelines of them, whose every type is allowed, or a class or function of the project.

    The latter are found by name when they are loaded, and are what a stored estimator brings along.
    """

    name, recipe, immutable = "sklearn", 2, False
    types = ("sklearn.base.BaseEstimator",)

    def digest(self, value: Any) -> str:
        """Over parameters and everything fitted, as dumped; attributes in the order in which they were set."""
        return self._dump(value)[0]

    def encode(self, value: Any, blobs: BlobAccess) -> Encoded:
        """One canonical `.skops` blob."""
        return self.save(value, blobs)[1]

    def save(self, value: Any, blobs: BlobAccess) -> tuple[str, Encoded]:
        """Both from one dump. What the project defines is loaded once, so that what can't be is refused here.

        That took two fifths of the time of the dump for a forest of 20 MB.
        """
        digest, data, brings = self._dump(value)
        _expect_loaded_again(value, data, brings)
        return digest, Encoded(self.name, blobs.put(data), len(data), brings=brings)

    def _dump(self, value: Any) -> tuple[str, bytes, tuple[str, ...]]:
        skops = _skops()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Duplicate name", category=UserWarning)
                with without_cycles(), leaves_apart():
                    data = skops.dumps(value)
        except MemoryError:
            raise
        except RecursionError as error:
            raise CodecError(
                f"skops can't store `{shorten(value)}`: something in it leads back to itself. Leave that out: of a search "
                "keep its `best_estimator_`."
            ) from error
        except CodecError as error:
            raise CodecError(f"{_dumped_at(error, 'At ', ': ')}{error}") from error
        except Exception as error:
            raise CodecError(
                f"skops can't store `{shorten(value)}`{_dumped_at(error, ' for what is at ')}: {shorten(str(error), 200)} Use "
                "another estimator, or keep what you need of what was fitted, as arrays."
            ) from error
        brings = {*definitions_in(data), *(name for leaf in leaves_of(data) for name in leaf.encoded.brings)}
        return (*_canonical(data, self.recipe), tuple(sorted(brings)))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Any:
        """A new estimator, of allowed types and of definitions of the project only."""
        data = blobs.read(encoded.blob)
        try:
            return _loaded(data)
        except (CodecError, MemoryError, MissingLibraryError):
            raise
        except Exception as error:
            if missing := MissingLibraryError.of(error, "Loading this estimator"):
                raise missing from error
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored estimator: {_text(error)}") from error

    def preview(self, value: Any) -> Preview:
        """The estimator's own text and its parameters."""
        params = {str(k)[:100]: shorten(v, 200) for k, v in list(value.get_params(deep=False).items())[:100]}
        detail = {"type": f"{type(value).__module__}.{type(value).__qualname__}", "params": params}
        names = getattr(value, "feature_names_in_", None)
        if names is not None:
            detail["features"] = [shorten(name, 60) for name in list(names)[:200]]
        return Preview("model", shorten(value, 100), detail)

    def compare(self, old: Any, new: Any, tolerance: Tolerance) -> Comparison:
        """The first attribute that differs, as a path."""
        if type(old) is not type(new):
            return Comparison("type", f"The type differs: {type(old).__qualname__} → {type(new).__qualname__}.")
        if old is new or self.digest(old) == self.digest(new):
            return EQUAL
        found = compare_trees(_state(old), _state(new), tolerance, _compare_leaf)
        return found if found.kind != "equal" else Comparison("values", "What the estimators dump differs.")


def _loaded(data: bytes) -> Any:
    skops, data = _skops(), _of_this_process(data)
    extend_skops()
    definitions_in(data)
    return skops.loads(data, trusted=skops.get_untrusted_types(data=data))


def _expect_loaded_again(value: Any, data: bytes, brings: Collection[str]) -> None:
    """Load a dump, if classes of the project are built for that, which alone may be other than skops takes them to be.

    Raises:
        CodecError: it can't be loaded; what in it and where is told.
    """
    names = frozenset(name.replace(":", ".") for name in brings)
    built = [each for each in _named_in(data, names) if each.loader not in _OF_FUNCTIONS]
    for each in built:
        if each.loader == "NdArrayNode":
            raise CodecError(
                f"`{shorten(value)}` holds an array of the class `{each.name}`{each.at}, which would not come back as it "
                "is. Keep a plain array, by `numpy.asarray`."
            )
    try:
        if built:
            _loaded(data)
    except (CodecError, MemoryError, MissingLibraryError):
        raise
    except Exception as error:
        name = _built_at(error)
        at = next((each.at for each in _named_in(data, {name})), "")
        raise CodecError(
            f"`{shorten(value)}` holds `{name}`{at}, which could not be loaded again: {_text(error)}. Keep plain values or "
            "dataclasses in its place, or give its class a `__reduce__` that returns `(type(self), arguments)`."
        ) from error


def _dumped_at(error: BaseException, before: str, after: str = "") -> str:
    """The attributes and keys that skops was in when an error was raised, as a path; empty if it was in none."""
    names, place = [], error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_name == "dict_get_state":
            names.append(str(place.tb_frame.f_locals.get("key")))
        place = place.tb_next
    return f"{before}`.{'.'.join(names)}`{after}" if names else ""


def _built_at(error: BaseException) -> str:
    """The class that skops was building when an error was raised."""
    from skops.io._audit import Node

    name, place = "", error.__traceback__
    while place is not None:
        node = place.tb_frame.f_locals.get("self")
        name = f"{node.module_name}.{node.class_name}" if isinstance(node, Node) else name
        place = place.tb_next
    return name


def _text(error: BaseException) -> str:
    return shorten(f"{type(error).__name__}: {error}", 200)


def definitions_in(data: bytes) -> tuple[str, ...]:
    """The project's definitions among the types that a dump names beside those that are trusted anyway.

    Raises:
        CodecError: one is neither allowed nor the project's.
    """
    found = set()
    for name in _skops().get_untrusted_types(data=data):
        if is_allowed(name):
            continue
        try:
            found.add(find_definition(name))
        except CodecError as error:
            why = "" if is_installed(name) else f", and not the project's: {error}"
            found_at = next(_named_in(data, {name}), _Named(name, "", ""))
            is_function = found_at.loader in _OF_FUNCTIONS or name == _METHOD
            said = f"The estimator holds `{name}`{found_at.at}, which is not on the list of what may be loaded{why}. "
            imported = "" if is_installed(name) else missing_import(name.rpartition(".")[0])
            raise CodecError(said + (imported or (_WRAP if is_function else _USE))) from error
    return tuple(sorted(found))


class _Named(NamedTuple):
    """Where in a dump a type or function is named, and how it is loaded."""

    name: str
    path: str
    loader: str

    @property
    def at(self) -> str:
        """The place in words, as ` at .steps[0][1].tokenizer`; empty for the outermost."""
        return f" at `{self.path}`" if self.path else ""


def _named_in(data: bytes, names: Collection[str]) -> Iterator[_Named]:
    if not names:
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read("schema.json"))
    yield from _places(schema, names, "")


def _places(node: Any, names: Collection[str], path: str) -> Iterator[_Named]:
    content = node.get("content") if isinstance(node, dict) else None
    if isinstance(node, dict):
        name, loader = f"{node.get('__module__')}.{node.get('__class__')}", str(node.get("__loader__"))
        if loader == "MethodNode":
            name += f".{content.get('func')}" if isinstance(content, dict) else ""
        if name in names:
            yield _Named(name, path, loader)
    if isinstance(content, dict) and "__loader__" in content:
        yield from _places(content, names, path)
    elif isinstance(content, dict):
        for key, each in content.items():
            yield from _places(each, names, f"{path}.{key}")
    elif isinstance(content, list):
        for place, each in enumerate(content):
            yield from _places(each, names, f"{path}[{place}]")


@contextmanager
def _without(module: str) -> Iterator[None]:
    """While this lasts, importing the module fails as if it were not installed, unless it is loaded already."""
    blocks = module not in sys.modules
    if blocks:
        sys.modules[module] = None  # type: ignore[assignment]  # that is how Python marks what can't be imported
    try:
        yield
    finally:
        if blocks:
            sys.modules.pop(module, None)


def _skops() -> Any:
    try:
        with _without(_TORCH):
            import skops.io
    except ImportError as error:
        raise MissingExtraError("skops", "sklearn", "Storing a scikit-learn estimator") from error
    return skops.io


def _canonical(data: bytes, recipe: int) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read("schema.json"), object_hook=partial(_moved, "__main__", script.get()))
        files = {name: archive.read(name) for name in set(archive.namelist()) - {"schema.json"}}
    meanings: dict[str, str] = {}
    names: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    for name, content in files.items():
        meanings[name], clean = _canonical_file(name, content)
        names[name] = blake3(clean).hexdigest() + "." + name.rpartition(".")[2]
        contents[names[name]] = clean
    protocol, version = schema.pop("protocol"), schema.pop("_skops_version")
    meaning = json.dumps(_Renumbered(meanings).node(schema), ensure_ascii=True)
    digest = meaning_digest("sklearn", recipe, meaning)
    stored = {**_Renumbered(names).node(schema), "protocol": protocol, "_skops_version": version}
    contents["schema.json"] = json.dumps(stored).encode()
    return digest, _zip(contents)


def _of_this_process(data: bytes) -> bytes:
    """A dump in which definitions of the script that runs stand in `__main__`, where this process has them.

    No state of a distribution is in it either.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(contents["schema.json"])
    # A script that runs under its own name has no other.
    moves = script.get() != "__main__"
    moved = (
        json.loads(contents["schema.json"], object_hook=partial(_moved, script.get(), "__main__")) if moves else schema
    )
    ours = as_calls(moved)
    if ours == schema:
        return data
    contents["schema.json"] = json.dumps(ours).encode()
    return _zip(contents)


def _moved(old: str, new: str, node: dict[str, Any]) -> dict[str, Any]:
    return {**node, "__module__": new} if node.get("__module__") == old else node


def _canonical_file(name: str, content: bytes) -> tuple[str, bytes]:
    if name.endswith(LEAF):
        return read_leaf(content).digest, content
    if not name.endswith(".npy"):
        return blake3(content).hexdigest(), content
    array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names:
        # Cython leaves the bytes between the fields of a tree's nodes as it found them.
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, canonical(array), allow_pickle=False)
        content = buffer.getvalue()
    return ArrayCodec().digest(np.asarray(array)), content


class _Renumbered:
    """One walk over skops' schema that gives ids and files names which don't depend on addresses or hash seeds."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files, self.ids, self.count = files, dict[int, int](), 0

    def node(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.node(item) for item in node]
        if not isinstance(node, dict):
            return node
        if node.get("__loader__") == "SetNode":
            node = {
                **node,
                "content": sorted(node["content"], key=lambda n: json.dumps(_Renumbered(self.files).node(n))),
            }
        if node.get("__module__") in _TREES and node.get("__loader__") == "ObjectNode":
            node = _unused(node)
        made = {key: self._item(key, item) for key, item in node.items() if key != "__id__"}
        if "__id__" in node:
            made["__id__"] = self._id(node)
        return made

    def _item(self, key: str, item: Any) -> Any:
        if key in _ADDRESSES and isinstance(item, dict):
            item = {**item, "content": "0"}
        return self.files.get(item, item) if key == "file" and isinstance(item, str) else self.node(item)

    def _id(self, node: dict[str, Any]) -> int:
        known = self.ids.get(node["__id__"])
        if known is not None and node.get("__loader__") not in _SHARED_BY_CHANCE:
            return known
        self.count += 1
        if node.get("__loader__") not in _SHARED_BY_CHANCE:
            self.ids[node["__id__"]] = self.count
        return self.count


def _unused(tree: dict[str, Any]) -> dict[str, Any]:
    """A tree of neighbours as if nothing had been asked of it yet."""
    state = tree["content"]
    items = [
        {**item, "content": "0"} if place in _COUNTERS and item["__loader__"] == "JsonNode" else item
        for place, item in enumerate(state["content"])
    ]
    return {**tree, "content": {**state, "content": items}}


def _zip(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _FIXED_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[name])
    return buffer.getvalue()


def _state(value: Any) -> Any:
    state = value.__getstate__() if hasattr(value, "__getstate__") else None
    return dict(state) if isinstance(state, dict) else state


def _compare_leaf(old: Any, new: Any, tolerance: Tolerance) -> Comparison:
    model = leaf_codec(old)
    if model is not None:
        return model.compare(old, new, tolerance)
    if isinstance(old, np.ndarray) and (old.dtype.hasobject or isinstance(old, np.ma.MaskedArray)):
        return compare_trees(old.tolist(), new.tolist(), tolerance, _compare_leaf)
    if isinstance(old, np.ndarray):
        found = compare_arrays(old, new, tolerance)
        # The order of fitted numbers is their meaning: a coefficient belongs to its feature.
        return Comparison("floats", found.detail, found.largest_error) if found.kind == "row_order" else found
    if isinstance(old, np.generic):
        return compare_arrays(np.asarray(old), np.asarray(new), tolerance)
    a, b = _state(old), _state(new)
    if isinstance(a, dict) and isinstance(b, dict):
        return compare_trees(a, b, tolerance, _compare_leaf)
    try:
        return EQUAL if old == new else Comparison("values", f"{shorten(old)} → {shorten(new)}.")
    except ValueError:  # something whose equality is no single answer
        return Comparison("values", f"{shorten(old)} → {shorten(new)}.")
