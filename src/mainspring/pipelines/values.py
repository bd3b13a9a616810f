"""Between bindings and values: what an argument is, what it means, and who may share it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mainspring.artifacts import codec_for, codec_named, content_digest, in_canonical_order, load, save
from mainspring.artifacts.codec import meaning_digest
from mainspring.artifacts.record import Artifact, ArtifactStore
from mainspring.errors import CodecError, GraphError
from mainspring.pipelines.graph import (
    Binding,
    Entries,
    FromTask,
    Items,
    Literal,
    Missing,
    Output,
    SecretRef,
    Stored,
    copied,
)
from mainspring.pipelines.task import Failed
from mainspring.secrets import Secret
from mainspring.store import BlobStore

_PLAIN = (type(None), bool, int)
_ATOMS = (*_PLAIN, float, str)
_LARGEST_INT = 2**63


class Values:
    """Values of a workspace's artifacts, as steps take and give them.

    A value is handed over by reference only if its codec declares it immutable; everybody else gets a decoded copy, so a
    step that changes its input changes nothing but its own.
    """

    def __init__(self, store: ArtifactStore, blobs: BlobStore) -> None:
        self.store = store
        self.blobs = blobs
        self._records: dict[str, Artifact] = {}
        self._shared: dict[str, Any] = {}
        self._digests: dict[int, tuple[Binding, str]] | None = None

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """While a run is driven, keep immutable values for the steps that wait for them, until `forget` is told."""
        self._digests = {}
        try:
            yield
        finally:
            self._digests = None
            self._shared.clear()

    def artifact(self, artifact_id: str) -> Artifact:
        """The record of an artifact; remembered, because records never change."""
        if artifact_id not in self._records:
            self._records[artifact_id] = self.store.get(artifact_id)
        return self._records[artifact_id]

    def save(self, name: str, value: Any, *, ordered: bool = True) -> Artifact:
        """Write a value's blobs and describe its artifact, which is recorded by whoever commits it.

        Raises:
            CodecError: no codec takes it.
        """
        if not ordered:
            value = in_canonical_order(value)  # what is shared is then what is stored
        artifact = self.store.describe(name, save(value, self.blobs, ordered=ordered), value)
        self._records[artifact.id] = artifact
        if codec_for(value).immutable:
            self._shared[artifact.id] = _own(value)
        return artifact

    def has(self, artifact_id: str) -> bool:
        """Whether the bytes of an artifact are there (they are verified when they are read)."""
        encoded = self.artifact(artifact_id).encoded
        return all(self.blobs.exists(digest) for digest in (encoded.blob, *encoded.blobs))

    def forget(self, artifact_id: str) -> None:
        """Let go of a value that no later step of this process needs."""
        self._shared.pop(artifact_id, None)

    def value(self, binding: Binding) -> Any:
        """What a step receives for a binding.

        Raises:
            CorruptBlobError, NotFoundError: the bytes are damaged or gone.
        """
        match binding:
            case Literal(value=value):
                return copied(value)
            case Stored(artifact=artifact_id):
                if artifact_id not in self._shared:
                    value = load(self.artifact(artifact_id).encoded, self.blobs)
                    if not self._is_kept(artifact_id, value):
                        return value
                    self._shared[artifact_id] = value
                return _own(self._shared[artifact_id])
            case Items(items=items, is_tuple=is_tuple):
                values = [self.value(item) for item in items]
                return tuple(values) if is_tuple else values
            case Entries(entries=entries):
                return {self.value(key): self.value(item) for key, item in entries}
            case SecretRef(reference=reference):
                return Secret(reference)
            case Missing(task=task, error=error):
                return Failed(task, error)
        raise GraphError(f"the result of `{binding.task}` is not there yet")

    def _is_kept(self, artifact_id: str, value: Any) -> bool:
        codec = codec_named(self.artifact(artifact_id).encoded.codec)
        return self._digests is not None and (codec.immutable or type(value) in _ATOMS)

    def digest(self, binding: Binding) -> str:
        """The content digest of an argument, without reading its bytes."""
        match binding:
            case Literal(value=value):
                return content_digest(value)
            case Stored(artifact=artifact_id):
                return self.artifact(artifact_id).content_digest
            case Items() | Entries():
                return self._digest_of_many(binding)
            case SecretRef(reference=reference):
                return meaning_digest("secret", 1, reference)
            case Missing(task=task, error=error):
                return meaning_digest("failed", 1, task, error)
        raise GraphError(f"the result of `{binding.task}` is not there yet")

    def _digest_of_many(self, binding: Items | Entries) -> str:
        """Remembered while a run is driven, whose tasks keep their bindings: hundreds of items may share one list."""
        known = self._digests.get(id(binding)) if self._digests is not None else None
        if known is not None:
            return known[1]
        if isinstance(binding, Items):
            digest = meaning_digest("tuple" if binding.is_tuple else "list", 1, *map(self.digest, binding.items))
        else:
            digest = meaning_digest("entries", 1, *(self.digest(part) for entry in binding.entries for part in entry))
        if self._digests is not None:
            self._digests[id(binding)] = binding, digest
        return digest

    def bind(self, place: str, value: Any, keep: Callable[[Artifact], None]) -> Binding:
        """The binding for an argument of a call; `keep` records the artifacts of values that JSON can't hold.

        Raises:
            CodecError: no codec takes the value; the place is named.
        """
        if isinstance(value, Output):
            return FromTask(value.task, value.output)
        if isinstance(value, Secret):
            return SecretRef(value.reference)
        if is_json(value):
            return Literal(value)
        if type(value) in (list, tuple) and _holds_reference(value):
            return Items([self.bind(f"{place}[{i}]", item, keep) for i, item in enumerate(value)], type(value) is tuple)
        if type(value) is dict and _holds_reference(list(value.values())):
            return Entries(
                [
                    (self.bind(f"{place}, key `{key!r}`", key, keep), self.bind(f"{place}[{key!r}]", item, keep))
                    for key, item in value.items()
                ]
            )
        try:
            artifact = self.save(place.rpartition(" ")[2].strip("`"), value)
        except CodecError as error:
            raise CodecError(f"{place}: {error}") from error
        keep(artifact)
        return Stored(artifact.id)


def _own(value: Any) -> Any:
    """The value, or a view of its own on the same memory where a library can turn what it calls immutable in place."""
    if type(value) is tuple:
        return tuple(map(_own, value))
    return value.clone() if type(value).__module__.startswith("polars.") and hasattr(value, "clone") else value


def is_json(value: Any) -> bool:
    """Whether JSON holds the value as it is and gives it back as it was."""
    kind = type(value)
    if kind is int:
        return bool(-_LARGEST_INT <= value < _LARGEST_INT)
    if kind in _PLAIN:
        return True
    if kind is str:
        return _is_text(value)
    if kind is float:
        return bool(math.isfinite(value))
    if kind is list:
        return all(map(is_json, value))
    return bool(
        kind is dict and all(type(key) is str and _is_text(key) and is_json(item) for key, item in value.items())
    )


def _is_text(value: str) -> bool:
    """Whether UTF-8 has it: half of a surrogate pair is no character."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _holds_reference(values: Iterable[Any]) -> bool:
    """Whether an output or a secret stands anywhere in nested lists and dicts."""
    for value in values:
        if isinstance(value, Output | Secret):
            return True
        if type(value) in (list, tuple) and _holds_reference(value):
            return True
        if type(value) is dict and _holds_reference(value.values()):
            return True
    return False
