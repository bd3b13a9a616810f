"""What the codecs of trained models share: a class, its state, and the bytes of the library's own format.

Two blobs or more: the payload, which the library's own tools open, and a record with the class, the payload's digest and
the state, in which leaves (arrays, tables) have codecs of their own. Invariant: nothing is built but classes of the
library itself and of the project.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, NamedTuple

from mainspring.artifacts._compare import compare_trees
from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.project import find_definition, missing_import
from mainspring.artifacts.registry import codec_for, codec_named, content_digest, save_value
from mainspring.errors import CodecError, MissingLibraryError, shorten

_BY_NAME = ("objective", "loss_function", "eval_metric")  # parameters that may be functions or objects as well
_RECORD = "bundle"  # the codec of the record, with leaves or without


class Parts(NamedTuple):
    """A model taken apart: its state as a tree, the payload, and what the payload means if that isn't its bytes."""

    state: dict[str, Any]
    payload: bytes
    meaning: str = ""


class ModelCodec(ABC):
    """The codec of one library's models. A subclass says how one is taken apart, put together, and looked at.

    `library` is the package whose classes may be built, beside those of the project.
    """

    name: str
    recipe: int
    library: str
    types: tuple[str, ...]
    immutable = False
    afterwards = ""  # what else may be done about a function that was given as objective or metric

    @abstractmethod
    def take_apart(self, value: Any) -> Parts:
        """The state and the payload; raises `CodecError` for what has no stored form."""

    @abstractmethod
    def put_together(self, cls: type, state: dict[str, Any], payload: bytes) -> Any:
        """A new value of the class."""

    @abstractmethod
    def content(self, value: Any) -> Any:
        """All that was learned, as a tree of plain values and arrays to compare."""

    @abstractmethod
    def details(self, value: Any) -> dict[str, Any]:
        """What the preview tells besides class and parameters."""

    def digest(self, value: Any) -> str:
        """Over the class, its state, and what was learned."""
        name, parts = self._reference(value), self._apart(value)
        return self._digest(name, content_digest(parts.state), parts)

    def encode(self, value: Any, blobs: BlobAccess) -> Encoded:
        """The payload and the record."""
        return self.save(value, blobs)[1]

    def save(self, value: Any, blobs: BlobAccess) -> tuple[str, Encoded]:
        """Both from one look at the model."""
        name, parts = self._reference(value), self._apart(value)
        payload = blobs.put(parts.payload)
        _, record = save_value({"class": name, "payload": payload, "state": parts.state}, blobs)
        digest = self._digest(name, content_digest(parts.state), parts)
        brings = set(record.brings) if _is_of(name, self.library) else {*record.brings, name}
        size = record.size_bytes + len(parts.payload)
        return digest, Encoded(self.name, record.blob, size, (*record.blobs, payload), tuple(sorted(brings)))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Any:
        """A new model, of a class of the library or of the project."""
        try:
            name, state, payload = self.read(encoded, blobs)
            return self.put_together(self._class(name), state, payload)
        except (CodecError, MemoryError):
            raise
        except Exception as error:
            if missing := MissingLibraryError.of(error, f"`{self.library}`"):
                raise missing from error
            if isinstance(error, OSError):
                raise
            text = shorten(f"{type(error).__name__}: {error}", 300)
            raise CodecError(f"The blob `{encoded.blob[:12]}` is not a stored model: {text}") from error

    def read(self, encoded: Encoded, blobs: BlobAccess) -> tuple[str, dict[str, Any], bytes]:
        """The class as `module:qualname`, the state and the payload of what is stored; nothing of the class is looked up."""
        record = codec_named(_RECORD).decode(encoded, blobs)
        return record["class"], record["state"], blobs.read(record["payload"])

    def preview(self, value: Any) -> Preview:
        """The model's class and parameters."""
        params = value.get_params() if hasattr(value, "get_params") else {}
        shown = {str(key)[:100]: shorten(item, 200) for key, item in list(params.items())[:100] if item is not None}
        kind = type(value).__qualname__
        detail = {"type": f"{type(value).__module__}.{kind}", "params": shown, **self.details(value)}
        said = ", ".join(f"{item:,} {key}" for key, item in detail.items() if isinstance(item, int))
        return Preview("model", f"{kind} ({said})" if said else kind, detail)

    def compare(self, old: Any, new: Any, tolerance: Tolerance) -> Comparison:
        """The first parameter, or learned number, that differs, as a path."""
        if type(old) is not type(new):
            return Comparison("type", f"The type differs: {type(old).__qualname__} → {type(new).__qualname__}.")
        before, after = ({"state": self._apart(each).state, "learned": self.content(each)} for each in (old, new))
        found = compare_trees(before, after, tolerance, _compare_leaf)
        if found.kind in ("equal", "row_order"):
            return EQUAL if self.digest(old) == self.digest(new) else Comparison("values", "What is stored differs.")
        return found

    def _apart(self, value: Any) -> Parts:
        try:
            parts = self.take_apart(value)
        except (CodecError, MemoryError):
            raise
        except Exception as error:
            text = shorten(f"{type(error).__name__}: {error}", 300)
            raise CodecError(f"{self.library} can't store `{shorten(value)}`: {text}") from error
        params = parts.state.get("params")
        for key, item in {**parts.state, **(params if isinstance(params, dict) else {})}.items():
            if key in _BY_NAME:
                self._expect_stored(key, item)
        return parts

    def _expect_stored(self, key: str, item: Any) -> None:
        try:
            content_digest(item)
        except CodecError as error:
            said = f"At $.{key}: a function or object of one's own has no stored form. Fit with one that is built in"
            raise CodecError(f"{said}, given by its name{self.afterwards}.") from error

    def _digest(self, name: str, state: str, parts: Parts) -> str:
        return meaning_digest(self.name, self.recipe, name, state, parts.meaning or parts.payload)

    def _reference(self, value: Any) -> str:
        """`module:qualname` of the value's class."""
        cls = type(value)
        return reference_to(f"{cls.__module__}.{cls.__qualname__}", self.library)

    def _class(self, name: str) -> type:
        found = referred(name, self.library)
        if not isinstance(found, type) or not any(
            f"{c.__module__}.{c.__qualname__}" in self.types for c in found.__mro__
        ):
            raise CodecError(f"`{name}` is no model of {self.library} (any more), so it isn't loaded.")
        return found


def reference_to(path: str, library: str) -> str:
    """`module:qualname` of a definition of a library or of the project.

    Raises:
        CodecError: it is neither; the text says why, and what to do.
    """
    if path.partition(".")[0] == library:
        module, _, name = path.rpartition(".")
        return f"{module}:{name}"
    try:
        return find_definition(path)
    except CodecError as error:
        raise CodecError(
            f"`{path}` is neither of {library} nor the project's, so it would not be loaded: {error}. Derive a class from "
            "it at the top level of a module of the project, and use that."
        ) from error


def referred(name: str, library: str) -> Any:
    """What a stored `module:qualname` names in the library or the project.

    Raises:
        CodecError: nothing there has this name.
    """
    module, _, qualname = name.partition(":")
    if not _is_of(name, library):
        try:
            found = find_definition(name.replace(":", ".", 1))
        except CodecError as error:
            told = missing_import(module)
            raise (CodecError(f"`{name}` can't be loaded: {error}. {told}") if told else error) from error
        from sys import modules

        module, _, qualname = found.partition(":")
        target: Any = modules.get(module) or modules["__main__"]
        module = target.__name__
    else:
        try:
            target = import_module(module)
        except ImportError as error:
            raise CodecError(f"`{name}` can't be imported here: {error}.") from error
    for part in qualname.split("."):
        target = getattr(target, part, None)
    if target is None or not str(getattr(target, "__module__", module)).startswith(module.partition(".")[0]):
        raise CodecError(f"`{name}` is not there (any more), so it isn't loaded.")
    return target


def _is_of(name: str, library: str) -> bool:
    return name.partition(":")[0].partition(".")[0] == library


def _compare_leaf(old: Any, new: Any, tolerance: Tolerance) -> Comparison:
    codec = codec_for(old)
    if codec.name in ("json", "bundle"):
        return EQUAL if codec.digest(old) == codec.digest(new) else Comparison("values", "")
    found = codec.compare(old, new, tolerance)
    # The order of fitted numbers is their meaning: a weight belongs to its input.
    return Comparison("floats", found.detail, found.largest_error) if found.kind == "row_order" else found
