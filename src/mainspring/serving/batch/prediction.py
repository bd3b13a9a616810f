"""Batch prediction: the rows of a table in, a dataset version with their predictions out, part by part.

Each part is kept as soon as it is made, by the content of its rows, so a job that was killed is not begun anew.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import polars as pl
from blake3 import blake3

from mainspring import clock
from mainspring.artifacts.table import table_digest
from mainspring.data import DatasetVersion, dataset, get_dataset_version
from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.evaluation.given import count_of
from mainspring.ledger import new_id
from mainspring.models import ModelVersion, get_model_version
from mainspring.serving.batch.answering import VERSION_COLUMN, Answering, Answers, History, answer_columns
from mainspring.serving.batch.checking import expect_columns
from mainspring.serving.batch.code import code_digests, code_of, may_be_older
from mainspring.serving.batch.inputs import BLOCK_ROWS, Input, read_input
from mainspring.serving.batch.parts import Part, PartStore, begun_at
from mainspring.serving.batch.progress import Listener, Meter
from mainspring.serving.batch.threads import at_once, read_ahead
from mainspring.serving.deferred import DeferredPredictor
from mainspring.serving.endpoint import Endpoint, expect_inside, used_endpoint
from mainspring.serving.online import OnlinePredictor, load_predictor
from mainspring.serving.runtime import Proposal, Runtime, proposed_runtime
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    from mainspring.data.draft import Wanted

_RECIPE = 1


class BatchPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch prediction made: `version` has the predictions, `quarantined` the rows that don't fit.

    `rows` were answered by the `model` version on the `runtime`, `reused` of them by an earlier job; `apart` were set apart.
    `runtime_reason` is why the runtime was proposed, empty if it was chosen, or is the endpoint's.
    """

    version: DatasetVersion
    model: str
    runtime: Runtime
    rows: int
    reused: int
    apart: int
    quarantined: DatasetVersion | None
    runtime_reason: str = ""


def predict_batch(
    model: str | Endpoint | ModelVersion, data: Any, *, to: str, keep: Sequence[str] | None = None,
    column: str = "prediction", runtime: Runtime | None = None, time: str = "", quarantine: str = "", source: Any = (),
    note: str = "", jobs: int = 1, progress: Listener | None = None, workspace: Workspace | None = None,
) -> BatchPrediction:  # fmt: skip
    """Predict every row of a table, as a version of the dataset `to` with the rows in their order.

    `model` is an endpoint, which is found before a model of its name, or any reference to a version; `data` a dataset
    version or a reference to one, the path of a file (Parquet, CSV, JSONL), a lazy frame, or a table; `source` says what the
    last two were read from. A row has the
    columns `keep`, by default those that the model doesn't take itself, then `column` (or one for each class) and
    `model_version`. The runtime is the endpoint's if none is said, of a version the one that answered large batches faster when
    its graph was made, `native` if it has none; it is one for the whole job.

    Of a model with a feature service the features are read by the keys from the online store, as of one instant, the job's
    begin; or, with `time`, joined as they were known at the instant in that column, as in training. Rows that don't fit stop
    the job; with `quarantine` they become a version of that dataset, with the reasons.

    Parts that an earlier job made of the same rows with the same model, and the same files of the project where the model calls
    code of it, are used again. `progress` is told what the job is at, from its begin on, and after each part.

    `jobs` parts are answered at once, each by a thread; the version is the same. That helps a model that uses one core, if its
    library lets other threads run while it computes, as most do. The model must bear several calls at once. One that uses all
    cores by itself, as gradient boosting of scikit-learn or a forest with `n_jobs`, is as fast with one job.

    Raises:
        NotFoundError: there is no such model, dataset or column; or no ONNX graph.
        InvalidError: rows don't fit the signature; the first are named by row and column. A column would be there twice. The
            table can't be read, or is of the dataset that would get the predictions. `jobs` is less than 1.
        WrongTypeError: `jobs` is no whole number.
        ModelError: the model failed, on the rows that are named.
        StorageError: the online store can't be read, or a disk is full.
    """
    jobs = count_of("jobs", jobs)
    workspace = workspace or current_workspace()
    with using(workspace), ExitStack() as stack:
        served, version, by = _resolved(model, runtime, workspace)
        predictor = load_predictor(
            served or version, overrides=False, runtime=by.runtime, deferred=True, workspace=workspace
        )
        stack.callback(predictor.close)
        meter = Meter(progress)
        if isinstance(predictor.predictor, DeferredPredictor):  # which is loaded by the first part that is answered
            predictor.predictor.when_loaded = meter.leave_out
        given = read_input(data, workspace, stack, source, predictor.takes.inputs)
        if isinstance(data, Path):
            source = source or data
        meter.begin(given.rows)
        _expect_apart([to, quarantine], [given.version, *_listed(source)])
        job = _Job(workspace, version, by, predictor, given, keep, column, time, quarantine)
        return job.run(to, source, note, jobs, meter, stack)


def _resolved(
    model: str | Endpoint | ModelVersion, runtime: Runtime | None, workspace: Workspace
) -> tuple[Endpoint | None, ModelVersion, Proposal]:
    """The endpoint, if it is one, the version, and the runtime, with the reason if nobody chose it."""
    if isinstance(model, str):
        model = used_endpoint(model, workspace) or get_model_version(model, workspace)
    if isinstance(model, Endpoint):
        expect_inside(model)
        return model, get_model_version(model.version, workspace), Proposal(runtime or model.runtime, "")
    proposed = Proposal(runtime, "") if runtime else proposed_runtime(model, BLOCK_ROWS, workspace)
    return None, model, proposed


def _expect_apart(made: Sequence[str], read: Sequence[Any]) -> None:
    """Go on only if no dataset is read that gets a version."""
    for path, name in zip(("to", "quarantine"), made, strict=True):
        if name and any(isinstance(each, DatasetVersion) and each.dataset == name for each in read):
            said = "Its newest version would no longer be what is read."
            raise InvalidError(path, name, "another dataset than the one that is read", said)


class _Piece(NamedTuple):
    """Rows that are one part: theirs, what they are called by their content, and the part, if it is there."""

    rows: pl.DataFrame
    content: str
    part: Part | None
    first_row: int


class _Done(NamedTuple):
    """The part of the piece of that number, and whether it was there before."""

    number: int
    part: Part
    reused: bool


class _Job:
    """One batch prediction."""

    def __init__(
        self, workspace: Workspace, version: ModelVersion, by: Proposal, predictor: OnlinePredictor, given: Input,
        keep: Sequence[str] | None, column: str, time: str, quarantine: str,
    ) -> None:  # fmt: skip
        self.workspace, self.version, self.by, self.given = workspace, version, by, given
        self.quarantine, self.predictor, self.time = quarantine, predictor, time
        taken = self._taken()
        keep = self._kept(keep, [*_names(answer_columns([], predictor.takes.output, column)), VERSION_COLUMN])
        used = {*taken, *keep, *([time] if time else [])}
        self.columns = [name for name in given.columns if quarantine or name in used]
        history = at_us = self.begun = None
        said: dict[str, Any] = {
            "recipe": _RECIPE, "model": version.content_digest, "version": str(version), "runtime": by.runtime, "keep": keep,
            "column": column, "time": time, "features": version.features, "apart": bool(quarantine),
        }  # fmt: skip
        if given.texts:
            said["texts"] = [[field.name, field.dtype] for field in given.texts]
        if code := code_of(version, workspace):
            said["code"] = code_digests(code)
            if may_be_older(code):
                said["process"] = new_id()  # nobody else answers as it does
        if time:
            history = self._history()
            said["sources"] = {name: each.content_digest for name, each in history.sources.items()}
        elif predictor.reader is not None:
            self.begun = _digest([said, str(given)])
            at_us = said["at_us"] = begun_at(workspace.database, self.begun)
        self.history = history
        self.answer = Answering(
            predictor, str(version), keep, column, history, at_us, bool(quarantine), workspace, given.texts
        )
        self.parts = PartStore(workspace.database, workspace.blobs, _digest(said))

    def run(self, to: str, source: Any, note: str, jobs: int, meter: Meter, stack: ExitStack) -> BatchPrediction:
        """Make what isn't there, so many parts at once, and commit all of it."""
        found: dict[int, Part] = {}
        try:
            for done in at_once(self._done, enumerate(read_ahead(self._pieces(), stack)), jobs, stack):
                found[done.number] = done.part
                meter.add(done.part.rows, reused=done.reused)
        except KeyboardInterrupt:
            meter.tell("stopping")
            raise
        made = [found[number] for number in range(len(found))]
        meter.tell("committing")
        versions = self._commit(to, made, source, note, meter, stack)
        apart = versions[1] if len(versions) > 1 else None
        return BatchPrediction(
            version=versions[0], model=str(self.version), runtime=self.by.runtime, rows=versions[0].rows,
            reused=meter.reused, apart=meter.rows - versions[0].rows, quarantined=apart,
            runtime_reason=self.by.reason,
        )  # fmt: skip

    def _taken(self) -> list[str]:
        """The columns of the input that are taken, which are there."""
        reader, inputs = self.predictor.reader, self.predictor.takes.inputs
        if self.time:
            if reader is None:
                raise InvalidError("time", self.time, "of use: the model takes no features", "Leave it out.")
            if self.time not in self.given.columns:
                raise NotFoundError("column", self.time, close_names(self.time, self.given.columns))
        expect_columns(self.given.columns, inputs, str(self.given))
        return [field.name for field in inputs]

    def _kept(self, keep: Sequence[str] | None, own: list[str]) -> list[str]:
        """The columns of the input that are kept, which aren't called as one of those that are made."""
        asked = () if self.predictor.reader is None else self.predictor.reader.request
        inputs = {field.name for field in self.predictor.takes.inputs}
        names = self.given.columns
        kept = [name for name in names if name not in inputs or name in asked] if keep is None else list(keep)
        for name in kept:
            if name not in names:
                raise NotFoundError(
                    "column", name, close_names(name, names), f"{self.given} hasn't what is to be kept."
                )
            if name in own:
                raise InvalidError("keep", name, "a column of another name than what is made", "Say another `column`.")
        return kept

    def _history(self) -> History:
        """The versions of the sources as they are now, so that all parts are joined to the same."""
        from mainspring.features import training_set

        assert self.predictor.reader is not None
        sample = self.given.sample.select(self.columns)
        found = training_set(sample, self.predictor.reader.service, time=self.time, workspace=self.workspace)
        return History(
            self.time, {name: get_dataset_version(ref, self.workspace) for name, ref in found.sources.items()}
        )

    def _pieces(self) -> Iterator[_Piece]:
        """The rows as parts, those that are there and those to be made."""
        at = 0
        for block in self.given.blocks:
            rest, is_begun = block.select(self.columns), False
            while rest.height or not is_begun:
                piece = self._piece(rest, at)
                at += piece.rows.height
                yield piece
                rest, is_begun = rest[piece.rows.height :], True

    def _piece(self, rows: pl.DataFrame, at: int) -> _Piece:
        """These rows; or as many of the first as are a part that is there, if they aren't one together."""
        content = table_digest(rows).digest
        if (part := self.parts.find(content)) is not None:
            return _Piece(rows, content, part, at)
        for size in self.parts.sizes(rows.height):
            head = rows[:size]
            known = table_digest(head).digest
            if size and (part := self.parts.find(known)) is not None:
                return _Piece(head, known, part, at)
        return _Piece(rows, content, None, at)

    def _done(self, numbered: tuple[int, _Piece]) -> _Done:
        """The part of a piece, made and kept if it isn't there."""
        number, piece = numbered
        if piece.part is not None:
            return _Done(number, piece.part, reused=True)
        answers: Answers = self.answer(piece.rows, piece.first_row)
        blobs = self.workspace.blobs
        apart = None if answers.apart is None else blobs.put(_parquet(answers.apart))
        part = Part(piece.rows.height, blobs.put(_parquet(answers.answered)), apart)
        self.parts.put(piece.content, part)
        return _Done(number, part, reused=False)

    def _commit(
        self, to: str, made: list[Part], source: Any, note: str, meter: Meter, stack: ExitStack
    ) -> list[DatasetVersion]:
        from mainspring.data._sources import describe_sources
        from mainspring.data.commit import commit_drafts
        from mainspring.data.draft import Wanted

        version = self.given.version
        origins = [*([version] if version is not None else _listed(source)), self.version]
        origins += [] if self.history is None else list(self.history.sources.values())
        sources, blobs = describe_sources(origins), self.workspace.blobs

        def wanted(name: str, parts: list[str], *extra: Any) -> Wanted:
            from mainspring.data.tables.lazy import LazyDraft

            rows = pl.scan_parquet([blobs.path(blob) for blob in parts], glob=False, hive_partitioning=False)
            draft = LazyDraft(name, rows, blobs)
            stack.callback(draft.close)
            return Wanted(name, draft, sources=sources, note=note, extra=list(extra))

        every = [wanted(dataset(to, self.workspace).name, [part.answered for part in made], self._recording(meter))]
        if apart := [part.apart for part in made if part.apart]:
            every.append(wanted(dataset(self.quarantine, self.workspace).name, apart))
        return commit_drafts(self.workspace, every, extracted_us=clock.now_us())

    def _recording(self, meter: Meter) -> Callable[[Transaction, DatasetVersion], None]:
        """What is recorded with the version: which model on which runtime, and how much of it was made before."""
        told = {
            "model": str(self.version), "runtime": self.by.runtime, "runtime_reason": self.by.reason, "input": str(self.given),
            "rows": meter.rows, "reused": meter.reused, "features": "history" if self.time else "online" if self.begun else "",
        }  # fmt: skip

        def record(tx: Transaction, version: DatasetVersion) -> None:
            self.workspace.ledger.append(tx, "batch.predicted", version.id, told)
            if self.begun is not None:
                tx.execute("DELETE FROM batch_begun WHERE job = ?", (self.begun,))

        return record


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()


def _names(series: Sequence[pl.Series]) -> list[str]:
    return [each.name for each in series]


def _listed(source: Any) -> list[Any]:
    return list(source) if isinstance(source, list | tuple) else [source]


def _digest(said: Any) -> str:
    return blake3(b"mainspring batch\n" + msgspec.json.encode(said, order="deterministic")).hexdigest()
