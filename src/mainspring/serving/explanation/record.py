"""What is known of a prediction's origin, as Structs: they are the JSON of `mainspring explain --json`, too."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from mainspring.ledger import Edge, Node


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint was bound to when it answered: its generation, and who moved it there when, with which note.

    `target` is `model@alias`, empty for a service that runs outside; `redact` are the columns that are never logged.
    """

    endpoint: str
    generation: int
    target: str
    moved_at: datetime
    actor: str
    verified: bool
    note: str
    redact: tuple[str, ...]


class ModelRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run that made a model version, and the task in it, if it was one.

    `code_digest` is that of the recorded tree of code. `git_clean` says whether the working tree was as committed, None
    where there is no commit.
    """

    id: str
    name: str
    task: str | None
    task_name: str
    target: str
    started_at: datetime
    actor: str
    seed: int
    code_digest: str | None
    git_commit: str | None
    git_clean: bool | None
    environment_digest: str | None


class ReadFeature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature as it was read for the row. `views` are those that it comes from, several if it is computed on demand.

    `event_at` is the time of the row that the value stood in; aggregates and what is computed have none.
    """

    name: str
    value: Any
    status: str
    event_at: datetime | None
    views: tuple[str, ...]


class ReadView(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a feature view that was read, and its watermark: what the online store reflected in the same read.

    Of a dataset that is a version and an instant up to which its rows were known; of a stream an offset, and when the newest
    event was known. Without a watermark, nothing was there but what was pushed.
    """

    view: str
    id: str
    source: str
    dataset_version: str
    until: datetime | None
    offset: int | None


class UsedDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset version on the way: whether the model was made from it, features were read from it, or both."""

    version: str
    id: str
    content_digest: str
    trained: bool
    served: bool
    removed_at: datetime | None


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """What each input added to the answer, compared with what is answered on average over the background: `base`.

    `output` is the class whose probability is meant, empty where there is one number. `method` is the explainer,
    `background` says which rows those are.
    """

    values: dict[str, float]
    base: float
    answer: float
    output: str
    method: str
    background: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction with everything that it came from.

    `prediction` is its row of the log; `sources` are the files, folders, addresses and trees of code at the end of all ways,
    with their digests; `nodes` and `edges` are the whole walk, which begins at the prediction's own id. `gaps` say what is
    not known, and why.
    """

    id: str
    at: datetime
    prediction: dict[str, Any]
    labels: tuple[dict[str, Any], ...]
    binding: Binding | None
    model: str
    model_id: str
    model_digest: str
    run: ModelRun | None
    features_service: str
    features_at: datetime | None
    features: tuple[ReadFeature, ...]
    views: tuple[ReadView, ...]
    datasets: tuple[UsedDataset, ...]
    sources: tuple[Node, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    removed: dict[str, int]
    gaps: tuple[str, ...]
    attribution: Attribution | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """What the request held of the row, by column."""
        return _behind("input.", self.prediction)

    @property
    def output(self) -> Any:
        """What was answered: a number, a text, true or false, or probabilities by class."""
        return self.prediction["output"] if "output" in self.prediction else _behind("output.", self.prediction)


def _behind(prefix: str, row: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
