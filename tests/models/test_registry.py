"""The registry: versions are immutable and idempotent, aliases keep their history, a bound one moves only by its endpoint."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mainspring.data import dataset
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.ledger import Replay, new_id, within_task
from mainspring.models import (
    Field,
    ModelVersion,
    Predictor,
    Signature,
    alias_history,
    get_model_version,
    list_aliases,
    list_model_versions,
    list_models,
    load_model,
    move_bound_alias,
    register,
    set_alias,
)
from mainspring.models._store import gc_roots
from mainspring.models.predictor import example_of
from mainspring.workspace import Workspace, collect

TABLE = pl.DataFrame(
    {
        "dep_delay": [1.0, 50.0, 3.0, None, 70.0, 2.0] * 20,
        "carrier": ["UA", "AA", "UA", "B6", "AA", "B6"] * 20,
        "month": [1, 2, 3, 4, 5, 6] * 20,
    }
)
LATE = np.array([0, 1, 0, 0, 1, 0] * 20)


class Reason(NamedTuple):
    passed: bool
    reason: str


class Gates(NamedTuple):
    passed: bool
    reasons: tuple[Reason, ...]


def line(slope: float = 2.0) -> Any:
    return LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, slope]))


def registered(slope: float = 2.0, **more: Any) -> ModelVersion:
    return register(line(slope), "line", input_example=pl.DataFrame({"x": [1.0, 2.0]}), **more)


def by_name(kind: str) -> tuple[Any, Any]:
    table: Any = TABLE.to_pandas() if kind == "pandas" else TABLE
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("carrier", encoder, ["carrier"]), ("rest", "passthrough", ["dep_delay", "month"])])
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=5, random_state=0)).fit(table, LATE), table


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_pipeline_by_column_names_answers_records_as_it_answers_its_table(kind: str, workspace: Workspace) -> None:
    model, table = by_name(kind)
    version = register(model, "delay", signature=table, input_example=table[:3])
    assert version.input_kind == kind
    assert version.signature is not None
    assert [(field.dtype, field.nullable) for field in version.signature.inputs] == [
        ("f64", True), ("str", False), ("i64", False)
    ]  # fmt: skip
    assert version.signature.output.kind == "probability"
    predictor = Predictor.load(get_model_version("delay/1"), workspace.blobs)
    assert predictor(TABLE.to_dicts()) == model.predict_proba(table)[:, 1].tolist()
    assert len(example_of(version, workspace.blobs)) == 3


def test_a_model_fitted_on_an_array_answers_records_in_the_order_of_its_signature(workspace: Workspace) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(TABLE.select("month").to_numpy(), LATE)
    version = register(model, "array", input_example=TABLE.select("month"))
    assert version.input_kind == "numpy"
    assert version.signature is not None
    assert Predictor(load_model("array"), version.signature, "numpy")([{"month": 3}]) == [
        model.predict_proba([[3]])[0, 1]
    ]


def test_the_same_content_under_one_name_is_one_version(workspace: Workspace) -> None:
    with within_task("train-1"):
        first = registered(metrics={"rmse": 0.1})
    with within_task("train-2"):
        assert registered() == first
    assert registered(3.0).number == 2
    assert register(line(), "other", signature=first.signature).number == 1
    assert [str(version) for version in list_models()] == ["line/2", "other/1"]
    assert [version.number for version in list_model_versions("line")] == [2, 1]
    assert [edge.role for edge in workspace.ledger.walk(first.id)] == ["made_by"]
    assert [(edge.role, edge.dst) for edge in workspace.ledger.edges(["train-2"])] == [("reused", first.id)]
    assert workspace.ledger.get_node(first.id).label == "line/1"


def test_a_version_reaches_the_data_it_was_trained_on(workspace: Workspace) -> None:
    data = dataset("flights").commit(TABLE)
    version = registered(trained_on=[data])
    assert workspace.ledger.path(version.id, data.id) is not None


def test_a_failed_gate_refuses_with_its_reason(workspace: Workspace) -> None:
    with pytest.raises(NotAllowedError, match=r"`line` is not registered: the gates did not pass\. auc is low"):
        registered(gates=Gates(False, (Reason(True, "fine"), Reason(False, "auc is low"))))
    assert list_models() == []
    assert registered(gates=Gates(True, ())).gates is not None


def test_registration_needs_a_signature_and_a_model_that_answers(workspace: Workspace) -> None:
    with pytest.raises(InvalidError, match="Give the training table, or an input_example"):
        register(line(), "line")
    with pytest.raises(InvalidError, match="an example that the model answers"):
        register(line(), "line", input_example=pl.DataFrame({"a": [1.0], "b": [2.0]}))
    with pytest.raises(InvalidError, match="without `/`, `:`, `@`"):
        register(line(), "a/b", input_example=TABLE)
    assert list_models() == []


def test_versions_are_found_by_every_form(workspace: Workspace) -> None:
    first, second = registered(), registered(3.0)
    set_alias("line/1", "champion")
    for ref, expected in {
        "line": second, "line/latest": second, "line/1": first, "line/v2": second, "line@champion": first,
        first.id: first, second.id[:24]: second,
    }.items():  # fmt: skip
        assert get_model_version(ref) == expected
    for ref, message in {
        "lnie": r"No registered model `lnie`\. Nearest: line",
        "line/9": "The newest is line/2",
        "line@champoin": "Nearest: line@champion",
        "nope@x": "No registered model `nope`",
    }.items():
        with pytest.raises(NotFoundError, match=message):
            get_model_version(ref)
    with pytest.raises(InvalidError, match="one of"):
        get_model_version("line/x")


def test_an_alias_moves_and_keeps_its_history(workspace: Workspace) -> None:
    registered(), registered(3.0)
    set_alias("line/1", "champion", note="first, password=hunter22")
    set_alias("line/2", "champion")
    set_alias("line/2", "champion")
    assert [(move.from_number, move.to_number, move.note) for move in alias_history("line", "champion")] == [
        (1, 2, ""), (None, 1, "first, password=[redacted]")
    ]  # fmt: skip
    assert [(str(alias), alias.number, alias.bound_by) for alias in list_aliases("line")] == [
        ("line@champion", 2, None)
    ]
    for wrong in ("", "latest", "v3", "12", "a@b", "a/b"):
        with pytest.raises(InvalidError, match="and not a version"):
            set_alias("line/1", wrong)


def test_an_alias_that_is_no_text_is_named(workspace: Workspace) -> None:
    with pytest.raises(WrongTypeError, match="alias: `1` is an int, expected a text"):
        set_alias("delay", 1, workspace=workspace)  # type: ignore[arg-type]  # what a caller without types gives


def test_a_bound_alias_moves_only_by_its_endpoint(workspace: Workspace) -> None:
    first, second = registered(), registered(3.0)
    node = new_id()
    for version in (first, second):
        with workspace.database.transaction() as tx:
            move_bound_alias(tx, workspace, version, "production", endpoint="delays", endpoint_id=node)
        assert get_model_version("line@production") == version
        assert workspace.ledger.path(node, version.id) is not None
    with pytest.raises(NotAllowedError, match=r"the endpoint `delays` serves.*endpoints bind delays --version line/1"):
        set_alias("line/1", "production")
    with pytest.raises(NotAllowedError), workspace.database.transaction() as tx:
        move_bound_alias(tx, workspace, first, "production", endpoint="other", endpoint_id=new_id())
    assert get_model_version("line@production") == second


def test_a_replay_registers_and_moves_nothing(workspace: Workspace) -> None:
    first = registered()
    set_alias("line/1", "champion")
    with within_task("again", replay=Replay("then")):
        assert registered() == first
        with pytest.raises(NotAllowedError, match="no version of `line` has this content"):
            registered(3.0)
        set_alias(first, "other")
    assert [alias.alias for alias in list_aliases("line")] == ["champion"]


def test_a_replay_is_given_what_the_task_registered_or_found_then(workspace: Workspace) -> None:
    with within_task("one"):
        first = registered(metrics={"rmse": 0.1})
    with within_task("two"):
        second = registered(metrics={"rmse": 0.2})
        assert registered(metrics={"rmse": 0.1}) == first
    with within_task("three"):
        registered(3.0)
    with within_task("again", replay=Replay("one")):
        assert registered(metrics={"rmse": 0.1}) == first
        assert registered(metrics={"rmse": 0.3}) == first
        with pytest.raises(NotAllowedError, match="no version of `line` has this content"):
            registered(3.0)
    with within_task("again", replay=Replay("two")):
        assert registered(metrics={"rmse": 0.2}) == second
        assert registered(metrics={"rmse": 0.1}) == first
    with within_task("again", replay=Replay("unrecorded")):
        assert registered(metrics={"rmse": 0.1}) == first


def test_collection_keeps_models_and_examples(workspace: Workspace) -> None:
    version = registered()
    for _ in range(2):
        collect(workspace, grace_s=-1, roots=[gc_roots])
    assert Predictor.load(version, workspace.blobs)(example_of(version, workspace.blobs)) == pytest.approx([2.0, 4.0])


def test_a_given_signature_is_kept(workspace: Workspace) -> None:
    signature = Signature((Field("x", "f64", True),))
    assert register(line(), "line", signature=signature).signature == signature


def test_other_evidence_on_the_same_model_is_a_new_version(workspace: Workspace) -> None:
    def registered(mae: float) -> ModelVersion:
        signature = Signature((Field("x", "f64"),))
        return register(line(), "line", signature=signature, metrics={"mae": mae}, workspace=workspace)

    first = registered(0.1)
    assert registered(0.1).id == first.id
    second = registered(99.0)
    assert (second.number, second.metrics) == (2, {"mae": 99.0})
    assert registered(0.1).id == first.id
