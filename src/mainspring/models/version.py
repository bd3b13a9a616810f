"""The records of the registry: a model, a version of one, an alias, a move of one, a change of a version's stage."""

from __future__ import annotations

from html import escape
from typing import Any, Literal, get_args

import msgspec

from mainspring.artifacts import Encoded
from mainspring.errors import NotAllowedError
from mainspring.models.signature import Signature

InputKind = Literal["polars", "pandas", "numpy", "records", "columns"]
Stage = Literal["None", "Staging", "Production", "Archived"]
STAGES: tuple[Stage, ...] = get_args(Stage)
EXPORTS = ".exports"  # behind a version's id, the owner of what was made of it


class RegisteredModel(msgspec.Struct, frozen=True):
    """A name with versions, and what people say of it. Times are microseconds since 1970."""

    id: str
    name: str
    description: str
    tags: dict[str, str]
    created_at: int
    updated_at: int
    deleted_at: int | None = None


class ResourceNeeds(msgspec.Struct, frozen=True):
    """What a model needs: the bytes that are stored, the seconds that loading them takes, the bytes that it holds then.

    The last two are None where they were not measured; `unmeasured` says why, unless it is a system that doesn't tell.
    """

    size_bytes: int
    load_s: float | None = None
    memory_bytes: int | None = None
    unmeasured: str = ""


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model, whose content and evidence never change; description, tags, stage and licence may.

    Times are microseconds since 1970. `input_kind` is the kind of table that the model was fitted with;
    `input_example` is a blob with a few records as JSON; `evaluation` and `gates` are as they were recorded;
    `features` is the version of the feature service whose features it takes, if it takes some. `files` is the content digest
    of the folder that it came as, if it did, whose files `RunFiles` has by the version's id; `encoded` and `signature` are
    None if that is all there is, and `refusal` says why it is neither loaded nor served then. `source` says where a folder
    came from, `run` is the run that made the version. `environment` is a blob: the interpreter and the distributions that
    the model needs. `needs` were measured when it was registered.
    """

    id: str
    name: str
    number: int
    content_digest: str
    encoded: Encoded | None
    signature: Signature | None
    input_kind: InputKind
    input_example: str | None
    metrics: dict[str, float | None]
    evaluation: dict[str, Any] | None
    gates: dict[str, Any] | None
    features: str | None
    created_at: int
    actor: str
    note: str
    description: str = ""
    tags: dict[str, str] = {}
    stage: Stage = "None"
    run: str | None = None
    source: str = ""
    files: str | None = None
    refusal: str = ""
    licence: str = ""
    environment: str | None = None
    needs: ResourceNeeds | None = None
    updated_at: int = 0
    deleted_at: int | None = None

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
            for field in (self.signature.inputs if self.signature else ())
        )
        return f"<b>{escape(str(self))}</b> {escape(metrics)} <table>{inputs}</table>"


def expect_model(version: ModelVersion) -> tuple[Encoded, Signature]:
    """Where a version's model is, and what it takes and gives.

    Raises:
        NotAllowedError: it is only files that aren't loaded here; the text says why, and what to do.
    """
    if version.encoded is None or version.signature is None:
        raise NotAllowedError(
            f"The model version `{version}` can't be loaded or served: {version.refusal or _NO_MODEL}"
        )
    return version.encoded, version.signature


def exports_of(version: ModelVersion) -> str:
    """The owner, as files have one, of what was made of a version, apart from the files that it came as."""
    return f"{version.id}{EXPORTS}"


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
    """One entry of an alias's history: version numbers from (None: it was new) and to (None: removed), who, when, why.

    `run` is the run that moved it, if it was one.
    """

    at: int
    actor: str
    from_number: int | None
    to_number: int | None
    bound_by: str | None
    note: str
    run: str | None = None


class StageMove(msgspec.Struct, frozen=True):
    """One entry of the history of a version's stage: from and to, who, when, why, from which run."""

    at: int
    actor: str
    from_stage: Stage
    to_stage: Stage
    note: str
    run: str | None = None


_NO_MODEL = "it was registered without a model. Register the model itself, or a folder that holds one."
