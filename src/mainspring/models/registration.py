"""Registering a model: what it takes is inferred, that it answers its example is tried, and then the version is recorded."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from mainspring.artifacts import Encoded, save
from mainspring.artifacts.script import found_elsewhere
from mainspring.errors import CodecError, InvalidError, MainspringError, NotAllowedError, WrongTypeError
from mainspring.ledger import Replay, current_replay
from mainspring.models._rules import check_model_name
from mainspring.models._store import ModelStore
from mainspring.models.boosted import expect_numbers, gives_several, of_categories, takes_categories
from mainspring.models.feature_set import FeatureSet, GivesFeatures, expect_fit
from mainspring.models.needs import measure_needs
from mainspring.models.pickled import save_pickled
from mainspring.models.signature import Output, Signature
from mainspring.models.version import InputKind, ModelVersion
from mainspring.runs.environment import snapshot
from mainspring.secrets import redact
from mainspring.workspace import Workspace, current_workspace

_EXAMPLE_ROWS = 5
_BY_MODE = ("_DropoutNd", "_BatchNorm")  # bases of the layers of PyTorch that answer otherwise in training


class InTraining(UserWarning):  # a warning, named like `NotMirrored`
    """A module was registered in the mode in which it is trained, and so answers otherwise than it will be meant to."""


def register(
    model: Any,
    name: str,
    *,
    signature: Any = None,
    input_example: Any = None,
    input_kind: InputKind | None = None,
    metrics: dict[str, float | None] | None = None,
    evaluation: Any = None,
    gates: Any = None,
    trained_on: Iterable[Any] = (),
    features: GivesFeatures | None = None,
    pickled: bool = False,
    note: str = "",
    workspace: Workspace | None = None,
) -> ModelVersion:
    """Record a version of a model.

    The same content and signature under the same name, with the same metrics, evaluation and gates or with none, are the
    same version; with other evidence they are a new one.

    `signature` is a `Signature` or the table the model was fitted on; `input_example` a table like it, of which five rows
    are kept, and on which the model is tried. One of the two is needed. `evaluation` and `gates` are kept as they are, and
    the metrics are those of the evaluation unless given; `trained_on` links dataset versions. `features` is the version of
    the feature service that gives the model's inputs, or the training set that was made by it: serving then takes requests
    with keys. An input that it gives takes null if the model answers its example without it. With `pickled` the model is
    stored as a pickle that this workspace signs, for what no codec takes; it loads only once a person allowed it
    (`allow_pickle`).

    Raises:
        NotAllowedError: a gate failed (its reasons are given); or this is a replay, and what was recorded has other content.
        InvalidError: no signature can be made, the model doesn't answer its example, or the service doesn't fit its inputs.
        WrongTypeError: `features` are no version of a service, nor made by one; or the model has `predict_stream` alone.
        CodecError: no codec takes the model, what one stored can't be loaded, or it holds a definition of the script or
            notebook that runs, which no other process finds.

    Warns:
        InTraining: a module of PyTorch is in training mode, and holds dropout or batch norm.
    """
    workspace = workspace or current_workspace()
    name = check_model_name(name)
    if gates is not None and not gates.passed:
        failed = " ".join(result.reason for result in gates.reasons if not result.passed)
        raise NotAllowedError(f"`{name}` is not registered: the gates did not pass. {failed}")
    example = input_example if input_example is not None else None if isinstance(signature, Signature) else signature
    kind = input_kind or _input_kind(model, example)
    if hasattr(model, "predict_stream") and not hasattr(model, "predict"):
        hint = "Give it a `predict` that answers in one piece, or let `predict` yield instead of `predict_stream`."
        raise WrongTypeError("model", model, "a model with a `predict` method", hint)
    made = _signature(model, signature, example)
    given = _given(features, workspace)
    records = _records(example, made, given)
    if kind == "pandas":
        expect_numbers(model, made)
    if given is not None:
        expect_fit(made, given)
    if records:
        path = "signature" if input_example is None else "input_example"
        is_inferred = not isinstance(signature, Signature)
        try:
            _try(model, made, kind, records, path, is_inferred=is_inferred)
        except InvalidError as error:
            if input_kind is not None or kind != "pandas" or _is_pandas(example) or not hasattr(model, "steps"):
                raise
            kind = "polars"  # a pipeline with CatBoost in it, whose own steps may be of Polars
            try:
                _try(model, made, kind, records, path, is_inferred=is_inferred)
            except InvalidError:
                raise error from None
        if given is not None and not isinstance(signature, Signature) and hasattr(model, "predict"):
            made = _with_nulls(model, made, kind, records, given)
    else:
        _expect_one_label(model, made)
    if is_training(model):
        said = "is registered in training mode, in which dropout and batch norm make its answers random or those of a batch"
        warnings.warn(f"`{name}` {said}. Call `model.eval()` before.", InTraining, stacklevel=2)
    content_digest, encoded = _saved(model, workspace, pickled=pickled)
    store = ModelStore(workspace.database, workspace.ledger)
    version = ModelVersion(
        id="", name=name, number=0, content_digest=content_digest, encoded=encoded, signature=made, input_kind=kind,
        input_example=workspace.blobs.put(msgspec.json.encode(records)) if records else None,
        metrics=dict(metrics if metrics is not None else getattr(evaluation, "metrics", {})),
        evaluation=_plain(evaluation), gates=_plain(gates), features=given.service_id if given else None,
        created_at=0, actor="", note=redact(note), environment=workspace.blobs.put(msgspec.json.encode(snapshot())),
    )  # fmt: skip
    replay = current_replay()
    if replay is not None:
        return _recorded(store, version, replay)
    version = replace(version, needs=measure_needs(encoded, workspace))
    return store.add(version, [source.ledger_id for source in trained_on])


def _saved(model: Any, workspace: Workspace, *, pickled: bool) -> tuple[str, Encoded]:
    if pickled:
        return save_pickled(model, workspace)
    with found_elsewhere(model):
        try:
            content_digest, encoded, _ = save(model, workspace.blobs)
        except CodecError as error:
            raise CodecError(
                f"{error} Or register it as a pickle (`pickled=True`), which somebody has to allow."
            ) from error
    return content_digest, encoded


def _given(features: Any, workspace: Workspace) -> FeatureSet | None:
    if features is None:
        return None
    if not hasattr(features, "feature_set"):
        raise WrongTypeError("features", features, "a version of a feature service, or a training set made by one")
    found: FeatureSet = features.feature_set(workspace)
    return found


def _plain(record: Any) -> Any:
    """A record as it will be read back, so that a version is the same however it was obtained."""
    return None if record is None else msgspec.json.decode(msgspec.json.encode(record))


def _recorded(store: ModelStore, version: ModelVersion, replay: Replay) -> ModelVersion:
    found = store.recorded(version, replay.task)
    if found is None:
        said = f"no version of `{version.name}` has this content and signature: it differs."
        raise NotAllowedError(f"A replay registers nothing, and {said}")
    return found


def _signature(model: Any, signature: Any, example: Any) -> Signature:
    if isinstance(signature, Signature):
        return signature
    table = signature if signature is not None else example
    if table is None:
        raise InvalidError("signature", None, "a Signature or a table", "Give the training table, or an input_example.")
    return Signature.infer(table, output=output_of(model))


def output_of(model: Any) -> Output:
    """What the model gives, by the conventions of scikit-learn; numbers where it has classes for each of several labels."""
    classes: Any = getattr(model, "classes_", None)
    if not isinstance(classes, list | tuple) and not hasattr(classes, "tolist"):
        return Output("number")
    values = tuple(each.tolist() if hasattr(each, "tolist") else each for each in classes)
    if any(isinstance(each, list | tuple) for each in values):
        return Output("number")
    if not hasattr(model, "predict_proba"):
        return Output("label", values)
    return Output("probability" if len(values) == 2 else "probabilities", values)


def _input_kind(model: Any, example: Any) -> InputKind:
    """The kind of table that the model was fitted with: without column names it was an array."""
    if not hasattr(model, "predict"):
        return "records"
    named = getattr(model, "feature_names_in_", None) is not None
    is_pandas = _is_pandas(example)
    if takes_categories(model, by_name=not is_pandas):
        return "pandas"  # which CatBoost brings; some tables of Polars end its process
    if named or not hasattr(model, "n_features_in_"):
        return "pandas" if is_pandas else "polars"
    return "numpy"


def _is_pandas(example: Any) -> bool:
    return type(example).__module__.partition(".")[0] == "pandas"


def _records(example: Any, signature: Signature, given: FeatureSet | None) -> list[dict[str, Any]]:
    """The records to keep as the example; with the columns of a request, if features are read by those and they are known."""
    found = _rows(example)
    if given is None:
        return found
    wanted = dict.fromkeys([*given.request, *(field.name for field in signature.inputs)])
    for rows in (found, _rows(given.rows)):
        if rows and wanted.keys() <= rows[0].keys():
            whole = [row for row in rows if all(row[name] is not None for name in given.request)]
            return [{name: row[name] for name in wanted} for row in whole or rows]
    return found


def _rows(example: Any) -> list[dict[str, Any]]:
    if example is None:
        return []
    if isinstance(example, list):
        return example[:_EXAMPLE_ROWS]
    from mainspring.data import as_polars

    return as_polars(example, drop_index=True).head(_EXAMPLE_ROWS).fill_nan(None).to_dicts()


def _expect_one_label(model: Any, signature: Signature) -> None:
    """Refuse a model of several labels under a signature that declares no output: each prediction would fail."""
    classes = getattr(model, "classes_", None)
    is_several = isinstance(classes, list) and any(hasattr(each, "tolist") and each.ndim for each in classes)
    is_several = is_several or getattr(model, "multilabel_", False) is True or gives_several(model)
    if signature.output == Output("number") and is_several:
        raise InvalidError(
            "model", type(model).__qualname__, "one that gives one label", "Register a model for each label."
        )


def is_training(model: Any) -> bool:
    """Whether a part of a module of PyTorch that answers otherwise in training is in that mode."""
    if not isinstance(getattr(model, "training", None), bool) or not hasattr(model, "modules"):
        return False
    return any(
        part.training and any(base.__name__ in _BY_MODE for base in type(part).__mro__) for part in model.modules()
    )


def _try(
    model: Any,
    signature: Signature,
    kind: InputKind,
    records: list[dict[str, Any]],
    path: str = "input_example",
    *,
    is_inferred: bool = False,
) -> None:
    """Have the model answer its example, given as `path`; if its output was inferred, also with what it predicts as labels."""
    if not hasattr(model, "predict"):
        return
    from mainspring.models.predictor import Predictor, inputs_of

    given = inputs_of(records, signature) or records
    try:
        predictor = Predictor(model, signature, kind)
        predictor(given)
        if is_inferred:
            predictor.expect_one_label(given)
    except MainspringError:
        raise
    except Exception as error:
        told = of_categories(model, signature)
        raise told or InvalidError(
            path, type(error).__name__, "an example that the model answers", str(error)
        ) from error


def _with_nulls(
    model: Any, signature: Signature, kind: InputKind, records: list[dict[str, Any]], given: FeatureSet
) -> Signature:
    """The signature, in which a feature takes null if the model answers without it: online any may be missing."""
    certain = [field.name for field in signature.inputs if field.name in given.features and not field.nullable]
    for names in (certain, *([name] for name in certain)):
        tried = _nullable(signature, names)
        try:
            _try(model, tried, kind, [record | dict.fromkeys(names) for record in records])
        except InvalidError:
            continue
        if names is certain:
            return tried
        signature = tried
    return signature


def _nullable(signature: Signature, names: Collection[str]) -> Signature:
    inputs = (replace(field, nullable=field.nullable or field.name in names) for field in signature.inputs)
    return replace(signature, inputs=tuple(inputs))
