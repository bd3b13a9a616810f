"""A module of PyTorch as a file of safetensors, how it is built as JSON, and the project's definitions that it is built of.

What is said is the codec's (`artifacts.torch_module`); `artifacts.torch_program` reads it.
"""

from __future__ import annotations

import enum
import math
from base64 import b64encode
from typing import Any

from mainspring.artifacts import Encoded, codec_named
from mainspring.artifacts._classes import class_name, fields_of, is_record
from mainspring.errors import CodecError, shorten
from mainspring.store import BlobStore

LIBRARY = "torch"


class SaidModule:
    """How a stored module is built, as JSON, its weights as safetensors, and the project's definitions that that names."""

    def __init__(self, encoded: Encoded, blobs: BlobStore) -> None:
        codec: Any = codec_named(encoded.codec)
        name, state, self.weights = codec.read(encoded, blobs)
        self.references: set[str] = set()
        self.settings = {
            "class": self._named(name), "arguments": self._said(state["arguments"]),
            "modules": {key: {**held, "attributes": self._said(held["attributes"])} for key, held in state["modules"].items()},
            "frozen": state["frozen"], "tied": state["tied"], "aside": state.get("aside", []),
        }  # fmt: skip

    def _named(self, name: str) -> str:
        if name.partition(":")[0].partition(".")[0] != LIBRARY:
            self.references.add(name)
        return name

    def _said(self, tree: Any) -> Any:
        """A tree of the codec's, in which modules, types and dicts are tagged."""
        if type(tree) is not dict:
            return self._value(tree, self._said)
        ((tag, inner),) = tree.items()
        if tag == "$dict":
            return {"$dict": [[self._said(key), self._said(item)] for key, item in inner]}
        if tag == "$module":
            return {"$module": {"class": self._named(inner["class"]), "arguments": self._said(inner["arguments"])}}
        return {tag: self._named(inner) if tag == "$named" else inner}

    def _raw(self, value: Any) -> Any:
        """A value within a record, which the codec didn't look into."""
        if type(value) is dict:
            return {"$dict": [[self._raw(key), self._raw(item)] for key, item in value.items()]}
        return self._value(value, self._raw)

    def _value(self, value: Any, inner: Any) -> Any:
        import numpy as np
        import torch

        from mainspring.artifacts.torch import pack

        if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
            return value
        if type(value) is float:
            return {"$float": repr(value)}
        if type(value) is list:
            return [inner(item) for item in value]
        if type(value) is tuple:
            return {"$tuple": [inner(item) for item in value]}
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufcU":
            plain = np.asarray(value)
            return {"$array": [plain.dtype.str, list(plain.shape), b64encode(plain.tobytes()).decode()]}
        if isinstance(value, torch.Tensor):
            return {"$tensor": b64encode(pack({"value": value})).decode()}
        if isinstance(value, enum.Enum):
            return {"$enum": [self._named(class_name(type(value))), value.name]}
        if is_record(type(value)):
            fields = {name: self._raw(item) for name, item in fields_of(value).items()}
            return {"$record": [self._named(class_name(type(value))), fields]}
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise CodecError(
            f"The model holds `{shorten(value)}`, a `{kind}`, which has no form without Mainspring. Hold plain values, "
            "arrays or tensors, or make it in the constructor."
        )
