"""A model that answers requests: what it takes of features is read from the online store, by the keys in the request.

The version of the service is the one that the model was registered with, so that a new definition changes no answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from mainspring.artifacts.project import importing_from
from mainspring.errors import depended_on
from mainspring.ledger import is_sampled, new_id
from mainspring.models import Field, ModelVersion, Predictor, Problem, Signature, get_model_version, load_onnx
from mainspring.models.predictor import Prediction, expect_none
from mainspring.models.records import MOST_PROBLEMS, RecordCheck
from mainspring.models.rows import RowDecoder
from mainspring.models.signature import Columns, plain
from mainspring.models.version import expect_model
from mainspring.serving.deferred import DeferredPredictor
from mainspring.serving.endpoint import Endpoint, expect_inside, used_endpoint
from mainspring.serving.runtime import Runtime, expect_runtime
from mainspring.workspace import Workspace, current_workspace

if TYPE_CHECKING:
    from mainspring.features import Definition, FeatureReader, Vector
    from mainspring.features.online.vector import Reading
    from mainspring.features.parity import VectorLog

OVERRIDDEN = "OVERRIDDEN"
_KEY_TYPES = {"int": "i128", "bytes": "bin"}
_ABSENT: Any = object()
_VALUES = attrgetter("values")


class Filled(Struct, frozen=True, gc=False):
    """The model's columns, among others. `statuses` counts the features by what became of them, `problems` are missing ones.

    `reads` are the reads of the online store that they come from, in the order of the rows.
    """

    columns: Columns
    statuses: Mapping[str, int] = {}
    problems: Sequence[Problem] = ()
    reads: Sequence[Reading] = ()


class OnlinePredictor:
    """A model with the reader of its features, if it takes some; for any number of threads.

    `takes` is what a record holds: the columns of the service's request, and inputs that are no features. With `overrides`
    it may hold features, too, which are then taken as they are; the keys are needed nevertheless. `log` is that of served
    vectors.
    """

    def __init__(
        self, predictor: Predictor, reader: FeatureReader | None = None, *, overrides: bool = False,
        log: VectorLog | None = None,
    ) -> None:  # fmt: skip
        self.predictor, self.reader, self.overrides, self.log = predictor, reader, overrides, log
        signature = predictor.signature
        self.takes = signature if reader is None else _taken(signature, reader)
        self.decode = RowDecoder(self.takes).decode
        self._check = RecordCheck(self.takes)
        places = {} if reader is None else {name: place for place, name in enumerate(reader.names)}
        self._asked = () if reader is None else tuple(reader.request)
        self.features = {field.name: field for field in signature.inputs if field.name in places}
        self._read_at = [(name, places[name]) for name in self.features]
        wanted = [place for _, place in self._read_at]
        self._chosen = None if wanted == [*range(len(places))] else wanted
        self._told: tuple[Sequence[str], Mapping[str, int]] = (), {}
        self._certain = [(field, places[name]) for name, field in self.features.items() if not field.nullable]

    def __call__(self, records: Any) -> list[Prediction]:
        """One prediction for each record of a list or a table, in order.

        Raises:
            InvalidError: a record isn't what is taken, or a feature is missing that the model can't do without; each problem
                is named with its path.
            StorageError: the online store can't be read.
        """
        if not isinstance(records, list):
            from mainspring.data import as_polars

            records = as_polars(records, drop_index=True).to_dicts()
        columns, problems = self.check(records)
        expect_none(problems, len(records))
        filled = self.fill(columns, len(records))
        expect_none(filled.problems, len(records))
        return self.predictor.answer(filled.columns, len(records))

    def close(self) -> None:
        """End the model's own process, if it has one."""
        self.predictor.close()

    def check(self, records: Sequence[Any]) -> tuple[Columns, list[Problem]]:
        """Records as columns, and what is wrong with them. Features that some give are columns, too."""
        given = {
            name for record in records if isinstance(record, dict) for name in self.features.keys() & record.keys()
        }
        if not given:
            return self._check(records)
        columns, problems = self._check([_without(record, given) for record in records])
        for name in sorted(given):
            columns[name] = [
                self._override(number, self.features[name], record, problems) for number, record in enumerate(records)
            ]
        return columns, problems[:MOST_PROBLEMS]

    def fill(self, columns: Columns, rows: int, request_id: str = "", at_us: int | None = None) -> Filled:
        """What the model takes, the features read in one read for all rows, as of an instant: now, if none is said.

        Raises:
            StorageError: the online store can't be read, or a sample of what was read not be logged.
            InvalidError: an on-demand feature can't be computed.
        """
        if self.reader is None or not rows:
            return Filled(columns)
        return self._filled(columns, rows, self._reads(columns, rows, request_id or new_id(), at_us))

    def fill_together(self, calls: Sequence[tuple[Columns, int, str]]) -> list[Filled]:
        """`fill` of several calls, each with its rows and request, by one read of the store; raises what it does of any."""
        reader, log = self.reader, self.log
        if reader is None or sum(rows for _, rows, _ in calls) > reader.rows_at_once:
            return [self.fill(*call) for call in calls]
        entities = [entity for columns, _, _ in calls for entity in self._entities(columns)]
        if log is None:
            whole = reader.reading(entities, wanted=())
        else:
            (whole,) = log.readings(reader, entities, [each for _, rows, own in calls for each in _ids(own, rows)])
        found: list[Filled] = []
        start = 0
        for columns, rows, _ in calls:
            end = start + rows
            found.append(self._filled(columns, rows, (whole.part(start, end),)))
            start = end
        return found

    def _filled(self, columns: Columns, rows: int, reads: Sequence[Reading]) -> Filled:
        vectors = reads[0].vectors if len(reads) == 1 else [vector for each in reads for vector in each.vectors]
        values: Iterable[Any] = zip(vectors[0].values) if rows == 1 else zip(*map(_VALUES, vectors), strict=True)
        if self._chosen is not None:
            whole = [*values]
            values = [whole[place] for place in self._chosen]
        filled = dict(columns)
        filled.update(zip(self.features, values, strict=True))
        overridden = self.features.keys() & columns.keys() if self.overrides else ()
        for name in overridden:
            given = zip(plain(columns[name]), filled[name], strict=True)
            filled[name] = [value if own is _ABSENT else own for own, value in given]
        problems: list[Problem] = []
        for field, place in self._certain:
            problems += _missing(field, place, filled[field.name], vectors)
        first, told = self._told  # whose statuses are one list, where nothing is missing
        if rows != 1 or overridden or vectors[0].statuses is not first:
            told = self._statuses(vectors, columns, overridden)
            if rows == 1 and not overridden:
                self._told = vectors[0].statuses, told
        return Filled(filled, told, problems[:MOST_PROBLEMS], reads)

    def _reads(self, columns: Columns, rows: int, request_id: str, at_us: int | None) -> Sequence[Reading]:
        reader, log = self.reader, self.log
        assert reader is not None
        if rows == 1 and (log is None or not is_sampled(f"{request_id}-0", log.limit)):
            # What most requests are, without the lists on the way: half of the time.
            entity = {}
            for name in self._asked:
                values = columns[name]
                entity[name] = values[0] if type(values) is tuple else plain(values)[0]
            return (reader.one(entity, at_us=at_us),)
        entities = self._entities(columns)
        if log is not None:
            return log.readings(reader, entities, _ids(request_id, rows), at_us=at_us)
        return [reader.reading(some, at_us=at_us, wanted=()) for some in reader.batches(entities)]

    def _entities(self, columns: Columns) -> list[dict[str, Any]]:
        asked = [plain(columns[name]) for name in self._asked]
        return [dict(zip(self._asked, row, strict=True)) for row in zip(*asked, strict=True)]

    def _statuses(self, vectors: Sequence[Vector], columns: Columns, overridden: Collection[str]) -> Mapping[str, int]:
        """How many of the model's features have each status."""
        counts: Counter[str] = Counter()
        for name, place in self._read_at:
            statuses: list[str] = [vector.statuses[place] for vector in vectors]
            if name in overridden:
                given = zip(columns[name], statuses, strict=True)
                statuses = [status if own is _ABSENT else OVERRIDDEN for own, status in given]
            counts.update(statuses)
        return counts

    def _override(self, number: int, field: Field, record: Any, problems: list[Problem]) -> Any:
        """The value that a record gives for a feature; what is wrong with it is added."""
        if not isinstance(record, dict) or field.name not in record:
            return _ABSENT
        value, wrong = field.check(record[field.name])
        if not self.overrides:
            wrong = "a feature, which is read by the keys; this endpoint doesn't take it from a request"
        if wrong:
            problems.append(Problem(f"[{number}].{field.name}", wrong))
        return value


def load_predictor(
    given: str | Endpoint | ModelVersion, *, overrides: bool | None = None, runtime: Runtime | None = None,
    deferred: bool = False, workspace: Workspace | None = None,
) -> OnlinePredictor:  # fmt: skip
    """The predictor of an endpoint, or of a model version by any reference; an endpoint is found before a model of its name.

    It stays with the version that is served now. Requests may hold features if the endpoint takes them, or with `overrides`.
    With the runtime `onnx` it is the graph that `export_onnx` made of the version, which needs neither the model's library nor
    Polars; an endpoint's is its own if none is said, a version's `native`. The model of an endpoint that is isolated, or that
    was registered with another release of its library than is here, is in a process of its own, until the predictor is closed
    or no longer used. If it is `deferred`, the model is loaded by the first answer, in which errors of loading are raised then.

    Raises:
        NotFoundError: there is no such endpoint, model, version or alias, or it has no graph.
        RebuildError: the environment of a model that needs a process of its own can't be had.
        UnavailableError: its own process can't load the model.
        NotAllowedError: a service that runs outside answers for the endpoint.
        CorruptBlobError: the model's bytes no longer match their digest.
        CodecError: the model holds a definition that the project doesn't have.
    """
    workspace = workspace or current_workspace()
    if isinstance(given, str):
        given = used_endpoint(given, workspace) or get_model_version(given, workspace)
    by, version, endpoint = "", given, None
    if isinstance(version, Endpoint):
        expect_inside(version)
        by, overrides = f", served by {version.name}", version.overrides if overrides is None else overrides
        runtime = runtime or version.runtime
        endpoint = replace(version, runtime=runtime)
        version = get_model_version(version.version, workspace)
    runtime, asked = runtime or "native", f"model version {version}{by}"
    with depended_on(asked):
        expect_runtime(version, runtime, workspace)

    def load() -> Predictor:
        with importing_from(workspace.project.source_roots), depended_on(asked):
            return _loaded(version, runtime, endpoint, workspace)

    predictor = DeferredPredictor(expect_model(version)[1], version.input_kind, load) if deferred else load()
    service = service_of(version, workspace)
    if service is None:
        return OnlinePredictor(predictor)
    from mainspring.features import FeatureReader  # a model without features is served without Polars

    return OnlinePredictor(predictor, FeatureReader(service, workspace), overrides=bool(overrides))


def _loaded(version: ModelVersion, runtime: Runtime, endpoint: Endpoint | None, workspace: Workspace) -> Predictor:
    if endpoint is not None and (endpoint.isolated or endpoint.memory_mb or runtime == "native"):
        from mainspring.serving.isolation import isolated_predictor, isolation_of

        isolation = isolation_of(endpoint, version, workspace)
        if isolation is not None:
            return isolated_predictor(version, runtime, isolation, workspace)
    if runtime == "onnx":
        return load_onnx(version, workspace)
    return Predictor.load(version, workspace.blobs, workspace=workspace)


def service_of(given: Endpoint | ModelVersion, workspace: Workspace | None = None) -> Definition | None:
    """The version of the feature service that a model version takes its features from; None if it takes none."""
    workspace = workspace or current_workspace()
    version = get_model_version(given.version, workspace) if isinstance(given, Endpoint) else given
    if version.features is None:
        return None
    from mainspring.features import get_definition

    return get_definition("service", version.features, workspace)


def _taken(signature: Signature, reader: FeatureReader) -> Signature:
    """What a record holds for a model whose features are read."""
    own = {field.name: field for field in signature.inputs if field.name not in reader.names}
    asked = {}
    for name, dtype in reader.request.items():
        taken = Field(name, _KEY_TYPES.get(dtype, dtype), nullable=name not in reader.keys)
        is_finer = name in own and own[name].dtype.startswith("enum")
        asked[name] = replace(own[name], nullable=False) if is_finer else taken
    return Signature(tuple((asked | {name: own[name] for name in own if name not in asked}).values()), signature.output)


def _ids(request_id: str, rows: int) -> list[str]:
    """The ids of a request's vectors, by which their log takes its sample."""
    return [f"{request_id}-{row}" for row in range(rows)]


def _without(record: Any, names: set[str]) -> Any:
    if not isinstance(record, dict):
        return record
    return {name: value for name, value in record.items() if name not in names}


def _missing(field: Field, place: int, values: Sequence[Any], vectors: Sequence[Vector]) -> list[Problem]:
    """Nulls where the model takes none; NaN is null here, as in a signature."""
    return [
        Problem(
            f"[{row}].{field.name}",
            f"there is no value ({vectors[row].statuses[place]}), and the model takes no null: expected {field.expects}",
        )
        for row, value in enumerate(values)
        if value is None or value != value  # NaN alone is not itself
    ]
