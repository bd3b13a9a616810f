"""What stands in the dump of an estimator and isn't dumped by skops: models of other libraries, and methods of texts.

A model is a leaf: stored by its own codec, whose blobs are files of the same archive. The file of a leaf says which codec that
is. Invariant: a leaf is loaded by that codec, under its own rules, and by no other way.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from mainspring.artifacts import _distributions
from mainspring.artifacts._called import extend_dispatch
from mainspring.artifacts._models import ModelCodec
from mainspring.artifacts.codec import Encoded
from mainspring.artifacts.registry import adapter_of, codec_named
from mainspring.errors import CodecError
from mainspring.store.scratch import Scratch

LEAF = ".leaf"
_BLOB = ".blob"
_HOME, _NAME = "mainspring.artifacts", "<model>"  # how skops' schema names a leaf; no definition has such a name
MODEL = f"{_HOME}.{_NAME}"

# Methods of `str` that are given as parameters (`CountVectorizer(tokenizer=str.split)`): from a text to texts, and no more.
_OF_TEXTS = (
    "capitalize casefold lower lstrip removeprefix removesuffix rsplit rstrip split splitlines strip swapcase title upper"
).split()
TEXT_METHODS = frozenset(f"builtins.str.{name}" for name in _OF_TEXTS)

_apart: ContextVar[dict[int, str] | None] = ContextVar("_apart", default=None)


class Leaf(msgspec.Struct, frozen=True):
    """A model inside an estimator: its content digest, and where in the archive it is."""

    digest: str
    encoded: Encoded


class _ArchiveBlobs:
    """The blobs of leaves, as files of an archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._folder: Scratch | None = None

    def put(self, data: bytes | Path) -> str:
        content = data if isinstance(data, bytes) else data.read_bytes()
        digest = blake3(content).hexdigest()
        if digest + _BLOB not in self._archive.NameToInfo:
            self._archive.writestr(digest + _BLOB, content)
        return digest

    def read(self, digest: str) -> bytes:
        try:
            content = self._archive.read(digest + _BLOB)
        except KeyError as error:
            raise CodecError(f"The stored estimator has no blob `{digest[:12]}`.") from error
        if blake3(content).hexdigest() != digest:
            raise CodecError(f"The blob `{digest[:12]}` of a stored estimator has other bytes than its digest says.")
        return content

    def path(self, digest: str) -> Path:
        self._folder = self._folder or Scratch()
        file = self._folder.path / digest
        if not file.exists():
            file.write_bytes(self.read(digest))
        return file


@contextmanager
def leaves_apart() -> Iterator[None]:
    """While this lasts, skops dumps models of other libraries as leaves; one that stands in several places is one."""
    extend_skops()
    token = _apart.set({})
    try:
        yield
    finally:
        _apart.reset(token)


def leaf_codec(value: object) -> ModelCodec | None:
    """The codec that stores a value that stands in an estimator, if it is a model of another library."""
    codec = adapter_of(value)
    return codec if isinstance(codec, ModelCodec) else None


def models_in(value: object) -> Iterator[Any]:
    """The models of other libraries in an estimator, itself included, fitted or not; each once."""
    waiting, seen = [value], dict[int, object]()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        elif leaf_codec(item) is not None:
            yield item
        elif hasattr(item, "get_params") or type(item).__module__.startswith("sklearn."):
            waiting += getattr(item, "__dict__", {}).values()


def read_leaf(content: bytes) -> Leaf:
    """What the file of a leaf says.

    Raises:
        CodecError: it is no such file, or names another codec than that of a model.
    """
    try:
        leaf = msgspec.json.decode(content, type=Leaf)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError(f"A model in the stored estimator can't be read: {error}.") from error
    if not isinstance(codec_named(leaf.encoded.codec), ModelCodec):
        raise CodecError(f"The stored estimator holds what `{leaf.encoded.codec}` stored, which is no codec of models.")
    return leaf


def leaves_of(data: bytes) -> tuple[Leaf, ...]:
    """The models of other libraries in a stored estimator, in the order of their bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return tuple(read_leaf(archive.read(name)) for name in sorted(archive.namelist()) if name.endswith(LEAF))


def _dumped(value: Any, codec: ModelCodec, context: Any, known: dict[int, str]) -> dict[str, Any]:
    if id(value) not in known:
        try:
            digest, encoded = codec.save(value, _ArchiveBlobs(context.zip_file))
        except CodecError as error:
            raise CodecError(f"The `{type(value).__qualname__}` in it can't be stored: {error}") from error
        known[id(value)] = f"{len(known)}{LEAF}"
        context.zip_file.writestr(known[id(value)], msgspec.json.encode(Leaf(digest, encoded)))
    return {"__class__": _NAME, "__module__": _HOME, "__loader__": "ModelNode", "file": known[id(value)]}


@cache
def extend_skops() -> None:
    """Tell skops, once, how leaves and methods are dumped, inside `leaves_apart` only, and how they are loaded."""
    from sklearn.base import BaseEstimator
    from skops.io._audit import NODE_TYPE_MAPPING, Node
    from skops.io._protocol import PROTOCOL
    from skops.io._utils import _get_state

    def delegating(plain: Any) -> Any:
        def dump(value: Any, context: Any) -> Any:
            known = _apart.get()
            codec = None if known is None else leaf_codec(value)
            return plain(value, context) if known is None or codec is None else _dumped(value, codec, context, known)

        return dump

    def method(value: Any, context: Any) -> Any:
        name = f"str.{value.__name__}"
        if _apart.get() is None or value.__objclass__ is not str or f"builtins.{name}" not in TEXT_METHODS:
            return plain_method(value, context)
        return {"__class__": name, "__module__": "builtins", "__loader__": "TextMethodNode"}

    class ModelNode(Node):  # type: ignore[misc]  # skops has no types
        def __init__(self, state: Any, load_context: Any, trusted: Any = None) -> None:
            super().__init__(state, load_context, trusted)
            self.archive, self.encoded = load_context.src, read_leaf(load_context.src.read(state["file"])).encoded

        def _construct(self) -> Any:
            return codec_named(self.encoded.codec).decode(self.encoded, _ArchiveBlobs(self.archive))

    class TextMethodNode(Node):  # type: ignore[misc]  # skops has no types
        def _construct(self) -> Any:
            return getattr(str, self.class_name.removeprefix("str."))

    _distributions.extend_skops()
    extend_dispatch(lambda: _apart.get() is not None)
    plain_method = _get_state.dispatch(type(str.lower))
    for kind in (object, BaseEstimator):
        _get_state.register(kind)(delegating(_get_state.dispatch(kind)))
    _get_state.register(type(str.lower))(method)
    for node in (ModelNode, TextMethodNode):
        NODE_TYPE_MAPPING[node.__name__, PROTOCOL] = node
