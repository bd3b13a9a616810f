"""The libraries that a version's model is loaded by, and in which release of them it was registered.

Invariant: nothing is imported or loaded to tell.
"""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

from mainspring.artifacts import Encoded
from mainspring.artifacts.leaves import leaves_of
from mainspring.models.pickled import CODEC
from mainspring.models.version import ModelVersion
from mainspring.runs import EnvironmentDifference
from mainspring.runs.environment import Environment, Installed, normalised
from mainspring.store import BlobStore

_ESTIMATORS = "sklearn"
_OF_CODECS = {
    "catboost": ("catboost",), "lightgbm": ("lightgbm",), "onnx": ("onnxruntime",), "torch.module": ("torch", "safetensors"),
    "xgboost": ("xgboost", "sklearn"),
}  # fmt: skip
_PICKLED = ("catboost", "lightgbm", "sklearn", "torch", "xgboost")
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
_TABLES = ("polars", "pandas")


def libraries_of(encoded: Encoded, blobs: BlobStore) -> frozenset[str]:
    """The top-level modules that loading a stored model imports; of a pickle those that it may."""
    if encoded.codec == CODEC:
        return frozenset(_PICKLED)
    if encoded.codec == _ESTIMATORS:
        data = blobs.read(encoded.blob)
        with zipfile.ZipFile(BytesIO(data)) as archive:
            named = _named_modules(json.loads(archive.read("schema.json"))) - {"mainspring"}
        inside = (_OF_CODECS[leaf.encoded.codec] for leaf in leaves_of(data))
        return frozenset({"skops", "sklearn"}.union(named, *inside))
    return frozenset(_OF_CODECS.get(encoded.codec, ()))


def _named_modules(node: Any) -> set[str]:
    """The top-level modules that a skops schema names.

    >>> sorted(_named_modules({"__module__": "sklearn.tree", "content": [{"__module__": "numpy"}, 1]}))
    ['numpy', 'sklearn']
    """
    items = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    own = {str(node["__module__"]).partition(".")[0]} if isinstance(node, dict) and "__module__" in node else set()
    return own.union(*map(_named_modules, items))


def distributions_needed(version: ModelVersion, lock: Environment, here: Installed, blobs: BlobStore) -> frozenset[str]:
    """The recorded distributions that a version's model and the table that it takes are made by."""
    if version.encoded is None:
        return frozenset()
    modules = {*libraries_of(version.encoded, blobs), *({version.input_kind} & {*_TABLES})}
    found = {*here.distributions_of(modules), *(_DISTRIBUTIONS.get(name, normalised(name)) for name in modules)}
    return frozenset(found & lock.distributions.keys())


def release_differences(
    version: ModelVersion, lock: Environment, here: Installed, blobs: BlobStore
) -> list[EnvironmentDifference]:
    """The libraries of a version's model that aren't here, or in another release: the first two numbers of the version.

    Libraries keep what they stored readable, and their answers the same, within a release at most.
    """
    found = []
    for name in sorted(distributions_needed(version, lock, here, blobs) - {*_TABLES, "numpy"}):
        was, now = lock.distributions[name], here.versions.get(name)
        is_asked = version.encoded is not None and version.encoded.codec != CODEC
        if (now is None and is_asked) or (now is not None and _release(was) != _release(now)):
            found.append(EnvironmentDifference("distribution", name, was, now, True))
    return found


def _release(version: str) -> list[str]:
    return version.partition("+")[0].split(".")[:2]
