"""The records of the registry: a model version, an alias, a move of one."""

from __future__ import annotations

from html import escape
from typing import Any, Literal

import msgspec

from mainspring.artifacts import Encoded
from mainspring.models.signature import Signature

InputKind = Literal["polars", "pandas", "numpy", "records"]


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version of a model.

    `created_at` is in microseconds since 1970. `input_kind` is the kind of table that the model was fitted with;
    `input_example` is a blob with a few records as JSON; `evaluation` and `gates` are as they were recorded;
    `features` is the version of the feature service whose features it takes, if it takes some.
    """

    id: str
    name: str
    number: int
    content_digest: str
    encoded: Encoded
    signature: Signature
    input_kind: InputKind
    input_example: str | None
    metrics: dict[str, float | None]
    evaluation: dict[str, Any] | None
    gates: dict[str, Any] | None
    features: str | None
    created_at: int
    actor: str
    note: str

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items() if value is not None)
        return f"<model version {self}, content {self.content_digest[:12]}{', ' + metrics if metrics else ''}>"

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def ledger_id(self) -> str:
        """The node of the lineage that this is."""
        return self.id

    def _repr_html_(self) -> str:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items() if value is not None)
        inputs = "".join(
            f"<tr><td>{escape(field.name)}</td><td>{escape(field.dtype)}{' or null' if field.nullable else ''}</td></tr>"
            for field in self.signature.inputs
        )
        return f"<b>{escape(str(self))}</b> {escape(metrics)} <table>{inputs}</table>"


class Alias(msgspec.Struct, frozen=True):
    """A name that points at a version; `bound_by` is the endpoint that serves it, which alone may move it then."""

    model: str
    alias: str
    version: str
    number: int
    bound_by: str | None
    moved_at: int

    def __str__(self) -> str:
        return f"{self.model}@{self.alias}"


class AliasMove(msgspec.Struct, frozen=True):
    """One entry of an alias's history: version numbers from (None: it was new) and to, who, when, and why."""

    at: int
    actor: str
    from_number: int | None
    to_number: int
    bound_by: str | None
    note: str


def stored(version: ModelVersion) -> dict[str, Any]:
    """A version as a row."""
    values = {name: getattr(version, name) for name in ModelVersion.__struct_fields__}
    return values | {name: msgspec.json.encode(values[name]).decode() for name in _JSON}


def version_from_row(row: tuple[Any, ...]) -> ModelVersion:
    """The version that a row holds."""
    values = dict(zip(ModelVersion.__struct_fields__, row, strict=True))
    return msgspec.convert(values | {name: msgspec.json.decode(values[name]) for name in _JSON}, ModelVersion)


_JSON = ("encoded", "signature", "metrics", "evaluation", "gates")
