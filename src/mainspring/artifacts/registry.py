"""Finds the codec of a value, or of a stored name, without importing anything for types that are never met.

Order: codecs registered here, the table of built-in adapters along the value's method resolution order, Python's own values
and records, then the entry points of the group `mainspring.codecs`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from importlib import import_module
from typing import Any

from mainspring.artifacts._tree import Survey, Writer, is_tree
from mainspring.artifacts.codec import (
    BlobAccess,
    Codec,
    Comparison,
    Encoded,
    Preview,
    PreviewsStored,
    SavesAtOnce,
    TakesUnordered,
    Tolerance,
)
from mainspring.errors import CodecError, ExistsError, close_names

ENTRY_POINTS = "mainspring.codecs"

_HOMES = {
    "polars.frame": "mainspring.artifacts.polars:FrameCodec",
    "polars.lazy": "mainspring.artifacts.lazy:LazyFrameCodec",
    "polars.series": "mainspring.artifacts.polars:SeriesCodec",
    "pandas.frame": "mainspring.artifacts.pandas:FrameCodec",
    "pandas.series": "mainspring.artifacts.pandas:SeriesCodec",
    "arrow.table": "mainspring.artifacts.arrow:TableCodec",
    "numpy.array": "mainspring.artifacts.numpy:ArrayCodec",
    "sklearn": "mainspring.artifacts.sklearn:EstimatorCodec",
    "torch.tensor": "mainspring.artifacts.torch:TensorCodec",
    "torch.tensors": "mainspring.artifacts.torch:TensorsCodec",
    "torch.module": "mainspring.artifacts.torch_module:ModuleCodec",
    "xgboost": "mainspring.artifacts.xgboost:BoosterCodec",
    "lightgbm": "mainspring.artifacts.lightgbm:BoosterCodec",
    "catboost": "mainspring.artifacts.catboost:ModelsCodec",
    "onnx": "mainspring.artifacts.onnx:OnnxCodec",
    "path": "mainspring.artifacts.paths:PathCodec",
    "bytes": "mainspring.artifacts.binary:BytesCodec",
    "json": "mainspring.artifacts.values:ValuesCodec",
    "bundle": "mainspring.artifacts.values:ValuesCodec",
}
_ADAPTERS = {
    "polars.dataframe.frame.DataFrame": "polars.frame",
    "polars.lazyframe.frame.LazyFrame": "polars.lazy",
    "polars.series.series.Series": "polars.series",
    "pandas.DataFrame": "pandas.frame",
    "pandas.core.frame.DataFrame": "pandas.frame",
    "pandas.Series": "pandas.series",
    "pandas.core.series.Series": "pandas.series",
    "pyarrow.lib.Table": "arrow.table",
    "numpy.ndarray": "numpy.array",
    "sklearn.base.BaseEstimator": "sklearn",
    "torch.Tensor": "torch.tensor",
    "torch.nn.modules.module.Module": "torch.module",
    "xgboost.core.Booster": "xgboost",
    "xgboost.sklearn.XGBModel": "xgboost",
    "lightgbm.basic.Booster": "lightgbm",
    "lightgbm.sklearn.LGBMModel": "lightgbm",
    "catboost.core.CatBoost": "catboost",
    "mainspring.artifacts.onnx.OnnxModel": "onnx",
    "pathlib.Path": "path",
    "builtins.bytes": "bytes",
}


class Registry:
    """The codecs of one process."""

    def __init__(self) -> None:
        self._by_type: dict[str, Codec] = {}
        self._by_name: dict[str, Codec] = {}
        self._made: dict[tuple[str, bool], Codec] = {}
        self._entry_points_read = False

    def register(self, codec: Codec) -> None:
        """Use a codec for its types from now on, before any built-in one."""
        known = self._by_name.get(codec.name)
        # By name, so that a module that registers its codec may be loaded again.
        if codec.name in _HOMES or (known is not None and _class_name(known) != _class_name(codec)):
            raise ExistsError("codec", codec.name, "Give yours another name.")
        self._by_name[codec.name] = codec
        for name in codec.types:
            self._by_type[name] = codec

    def for_value(self, value: object) -> Codec:
        """The codec of a value."""
        codec = self._find(value)
        if codec is None and self._read_entry_points():
            codec = self._find(value)
        if codec is None:
            raise CodecError(no_codec(value))
        return codec

    def named(self, name: str) -> Codec:
        """The codec of a stored name."""
        codec = self._by_name.get(name)
        if codec is None and name in _HOMES:
            codec = self._built_in(name)
        if codec is None and self._read_entry_points():
            codec = self._by_name.get(name)
        if codec is None:
            near = close_names(name, [*_HOMES, *self._by_name])
            nearest = f" Nearest: {', '.join(near)}." if near else ""
            raise CodecError(f"No codec `{name}`.{nearest} Register the codec that wrote the value before loading it.")
        return codec

    def adapter_of(self, value: object) -> Codec | None:
        """The codec of a value's class, or of the next one that it derives from; None of Python's own values."""
        for cls in type(value).__mro__:
            name = f"{cls.__module__}.{cls.__qualname__}"
            if name in self._by_type:
                return self._by_type[name]
            if name in _ADAPTERS:
                return self._built_in(_ADAPTERS[name])
        return None

    def _find(self, value: object) -> Codec | None:
        adapter = self.adapter_of(value)
        if adapter is not None:
            return adapter
        if not is_tree(value):
            return None
        survey = Survey(value)
        if not survey.leaves:
            return self._values("json", survey.frozen)
        leaves = [self._find(leaf) or self._leaf(leaf, value) for leaf in survey.leaves]
        return self._values("bundle", survey.frozen and all(codec.immutable for codec in leaves))

    def _leaf(self, leaf: object, value: object) -> Codec:
        try:
            return self.for_value(leaf)
        except CodecError as error:
            raise CodecError(f"At {path_of(leaf, value)}: {error}") from error

    def _values(self, name: str, immutable: bool) -> Codec:
        if (name, immutable) not in self._made:
            self._made[name, immutable] = _load(_HOMES[name])(name, immutable=immutable)
        return self._made[name, immutable]

    def _built_in(self, name: str) -> Codec:
        if name in ("json", "bundle"):
            return self._values(name, False)
        if (name, True) not in self._made:
            self._made[name, True] = _load(_HOMES[name])()
        return self._made[name, True]

    def _read_entry_points(self) -> bool:
        if self._entry_points_read:
            return False
        self._entry_points_read = True
        from importlib.metadata import entry_points

        found = entry_points(group=ENTRY_POINTS)
        for entry in found:
            if entry.name not in self._by_name:
                codec = entry.load()
                self.register(codec() if isinstance(codec, type) else codec)
        return bool(found)


def _load(home: str) -> Callable[..., Codec]:
    module, _, name = home.partition(":")
    found: Callable[..., Codec] = getattr(import_module(module), name)
    return found


def _class_name(codec: Codec) -> tuple[str, str]:
    return type(codec).__module__, type(codec).__qualname__


def no_codec(value: object) -> str:
    """What to say of a value that no codec takes."""
    cls = type(value)
    if isinstance(value, (Generator, AsyncGenerator)):
        name = getattr(value, "__qualname__", cls.__qualname__)
        return f"`{name}` is a generator. A step returns, it doesn't yield: return a value, or `list(…)` of what it yields."
    if isinstance(value, dict):
        return (
            f"No codec takes a value of type `{cls.__module__}.{cls.__qualname__}`. Return `dict(…)` of it, or register a"
            " codec for the type: `mainspring.artifacts.register(MyCodec())`."
        )
    return (
        f"No codec takes a value of type `{cls.__module__}.{cls.__qualname__}`. Return a table, array, model, path, "
        "dataclass or plain Python value instead, or register a codec for the type: "
        "`mainspring.artifacts.register(MyCodec())`; `help(mainspring.artifacts.Codec)` says what one has."
    )


def path_of(leaf: object, value: object) -> str:
    """Where a leaf stands in a value, e.g. `$.a[3]`.

    >>> path_of(print, {"a": [1, print]})
    '$.a[1]'
    """
    paths = ["$"]

    def look(item: object, path: str) -> int:
        if item is leaf:
            paths.append(path)
        return 0

    Writer(look).write(value)
    return paths[-1]


REGISTRY = Registry()


def register(codec: Codec) -> None:
    """Use a codec for its types in this process.

    Raises:
        ExistsError: another codec has the name.
    """
    REGISTRY.register(codec)


def codec_for(value: object) -> Codec:
    """The codec of a value; its `immutable` holds for this very value.

    Raises:
        CodecError: no codec takes the value, or something inside it.

    >>> codec_for((1, "a")).immutable, codec_for([1, "a"]).immutable
    (True, False)
    """
    return REGISTRY.for_value(value)


def adapter_of(value: object) -> Codec | None:
    """The codec that is known for a value's class, or one that it derives from; None if there is none."""
    return REGISTRY.adapter_of(value)


def codec_named(name: str) -> Codec:
    """The codec that stored something under its name.

    Raises:
        CodecError: there is none in this process.
    """
    return REGISTRY.named(name)


def content_digest(value: object) -> str:
    """The digest of a value's meaning.

    >>> content_digest({1, 2, 3}) == content_digest({3, 2, 1}), content_digest(1) == content_digest(1.0)
    (True, False)
    """
    return codec_for(value).digest(value)


def save_value(value: object, blobs: BlobAccess) -> tuple[str, Encoded]:
    """Digest and encode a value, in one pass where its codec can."""
    codec = codec_for(value)
    if isinstance(codec, SavesAtOnce):
        return codec.save(value, blobs)
    return codec.digest(value), codec.encode(value, blobs)


def in_canonical_order(value: Any) -> Any:
    """The same rows in an order that only their values decide, for a value that declares `ordered=False`.

    Raises:
        CodecError: the value has no rows that could be put in order.
    """
    codec = codec_for(value)
    if not isinstance(codec, TakesUnordered):
        kind = type(value).__qualname__
        raise CodecError(f"`ordered=False` is for tables, and a value of type `{kind}` has no rows. Leave it out.")
    return codec.in_canonical_order(value)


def save(value: Any, blobs: BlobAccess, *, ordered: bool = True) -> tuple[str, Encoded, Preview]:
    """Write a value and return its content digest, where its bytes are, and a preview.

    With `ordered=False` the rows are sorted canonically first, so what is digested and stored doesn't depend on their
    order; hand on `in_canonical_order(value)` rather than the value, so that the next step sees what was recorded.

    Raises:
        CodecError: no codec takes the value, or it can't keep its promise for it.
    """
    if not ordered:
        value = in_canonical_order(value)
    digest, encoded = save_value(value, blobs)
    codec = codec_for(value)
    shown = codec.preview_stored(encoded, blobs) if isinstance(codec, PreviewsStored) else codec.preview(value)
    return digest, encoded, shown


def load(encoded: Encoded, blobs: BlobAccess) -> Any:
    """A new value from where `save` put it.

    Raises:
        CodecError: no codec of that name, or the bytes are not what it writes.
        CorruptBlobError: the stored bytes no longer match their digest.
    """
    return codec_named(encoded.codec).decode(encoded, blobs)


def compare(old: object, new: object, tolerance: Tolerance | None = None) -> Comparison:
    """How a new value differs from an old one.

    >>> compare({"a": [1, 2]}, {"a": [1, 3]}).detail
    'At $.a[1]: 2 → 3.'
    """
    codec = codec_for(old)
    if codec_for(new).name not in ({"json", "bundle"} if codec.name in ("json", "bundle") else {codec.name}):
        names = f"{type(old).__qualname__} → {type(new).__qualname__}"
        return Comparison("type", f"The type differs: {names}.")
    return codec.compare(old, new, tolerance or Tolerance())
