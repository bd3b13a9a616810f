"""Search finds what a plain walk over all runs finds, in the same order, page by page."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from mainspring.errors import InvalidError, NotFoundError
from mainspring.runs import DatasetInput, Metric, Metrics, Run, RunInputs, RunState, RunStore, search_runs
from mainspring.workspace import Workspace

NAN = math.nan
AUC: list[float | None] = [0.5, NAN, 0.9, None, math.inf, 0.9, -math.inf, None, 0.7, NAN]


@pytest.fixture
def filled(workspace: Workspace, runs: RunStore) -> list[Run]:
    metrics = Metrics(workspace.metrics)
    made = []
    with workspace.database.transaction() as tx:
        for number in range(len(AUC)):
            run = runs.create(
                tx, kind="script", name=f"run {number}", started_at=1_000_000 * (number // 2),
                experiment="odd" if number % 2 else "even",
                params={"depth": number % 3, "a b": f"it's {number}"}, tags={"team": "Ops"} if number < 4 else {},
            )  # fmt: skip
            if number < 5:
                runs.finish(tx, run.id, RunState.SUCCEEDED)
            made.append(run)
        RunInputs(workspace.database).log_inputs(
            tx, made[3].id, [DatasetInput("flights", "abc", tags={"mlflow.data.context": "train"})]
        )
    points = {
        run.series: [Metric("auc", 9.0, 0, 1), Metric("auc", auc, 1, 1)]
        for run, auc in zip(made, AUC, strict=True)
        if auc is not None
    }
    metrics.append_many(points)
    return made


def found(workspace: Workspace, text: str = "", **options: Any) -> list[int]:
    """The numbers of the runs found, page by page."""
    numbers: list[int] = []
    cursor = None
    while True:
        page = search_runs(text, limit=3, cursor=cursor, workspace=workspace, **options)
        numbers += [int(run.name.split()[1]) for run in page]
        cursor = page.cursor
        if cursor is None:
            return numbers


def test_a_name_of_mlflows_table_is_taken(workspace: Workspace, filled: list[Run]) -> None:
    for name in ("run_name", "`run name`", "`Run name`", "`Run Name`"):
        assert found(workspace, f"attributes.{name} = 'run 3'") == [3]


def test_conditions(workspace: Workspace, filled: list[Run]) -> None:
    newest_first = [8, 9, 6, 7, 4, 5, 2, 3, 0, 1]
    for text, expected in {
        "": newest_first,
        "metrics.auc > 0.6": [8, 4, 5, 2],
        "metrics.auc != 0.9": [8, 9, 6, 4, 0, 1],
        "metrics.auc IS NULL": [7, 3],
        "metrics.auc IS NOT NULL AND metrics.auc <= 0.5": [6, 0],
        "metrics.none > 0": [],
        "params.depth = '1'": [7, 4, 1],
        "params.`a b` = 'it''s 4'": [4],
        "params.`a b` LIKE 'IT%'": [],
        "params.`a b` ILIKE 'IT%' AND tags.team = 'Ops'": [2, 3, 0, 1],
        "tags.team IS NULL AND metrics.auc = 0.9": [5],
        "status = 'FINISHED'": [4, 2, 3, 0, 1],
        "attributes.status != 'FINISHED' AND start_time >= 4000": [8, 9],
        f"run_id IN ('{filled[2].id}', 'x')": [2],
        "run_name LIKE 'run _' AND experiment = 'odd'": [9, 7, 5, 3, 1],
        f"artifact_uri = 'mlflow-artifacts:/1/{filled[0].id}/artifacts'": [0],
        "datasets.name = 'flights' AND dataset.context = 'train'": [3],
        "datasets.digest = 'xyz'": [],
        "params.depth LIKE '\\'": [],
    }.items():
        assert found(workspace, text) == expected, text


def test_orders(workspace: Workspace, filled: list[Run]) -> None:
    for order, expected in {
        ("metrics.auc DESC",): [4, 5, 2, 8, 0, 6, 9, 1, 7, 3],
        ("metrics.auc",): [6, 0, 8, 5, 2, 4, 9, 1, 7, 3],
        ("params.depth DESC", "metrics.auc"): [8, 5, 2, 4, 1, 7, 6, 0, 9, 3],
        ("tags.team", "attributes.run_name DESC"): [3, 2, 1, 0, 9, 8, 7, 6, 5, 4],
    }.items():
        assert found(workspace, order_by=order) == expected, order
    assert set(found(workspace, order_by=["end_time DESC"])[5:]) == {5, 6, 7, 8, 9}


COMPARED: dict[str, Callable[[float | None], bool]] = {
    "= 0.9": lambda auc: auc == 0.9,
    "!= 0.9": lambda auc: auc is not None and auc != 0.9,
    "> 0.5": lambda auc: auc is not None and auc > 0.5,
    "<= 0.7": lambda auc: auc is not None and auc <= 0.7,
    "IS NULL": lambda auc: auc is None,
    "IS NOT NULL": lambda auc: auc is not None,
}


@pytest.mark.parametrize(("batch", "many"), [(400, 2_000), (3, 2_000), (5, 0)])
@pytest.mark.parametrize("down", [False, True])
def test_of_whatever_portions_a_search_is_made_it_finds_the_same(
    workspace: Workspace, filled: list[Run], monkeypatch: pytest.MonkeyPatch, batch: int, many: int, down: bool
) -> None:
    losses = {number: 3.0 - number % 4 for number in range(len(filled)) if number != 6}
    points = {filled[number].series: [Metric("loss", loss, 0, 1)] for number, loss in losses.items()}
    Metrics(workspace.metrics).append_many(points)
    monkeypatch.setattr("mainspring.runs.search.BATCH", batch)
    monkeypatch.setattr("mainspring.runs.metrics._MANY", many)

    def place(number: int) -> tuple[bool, float, int, int]:
        loss = losses.get(number)
        return loss is None, (loss or 0.0) * (-1 if down else 1), -(number // 2), number

    for words, fulfils in COMPARED.items():
        expected = [number for number in range(len(AUC)) if fulfils(AUC[number]) and number % 3 != 1]
        text = f"metrics.auc {words} AND params.depth != '1'"
        order = f"metrics.loss {'DESC' if down else 'ASC'}"
        assert found(workspace, text, order_by=[order]) == sorted(expected, key=place), text


def test_experiments_and_views(workspace: Workspace, runs: RunStore, filled: list[Run]) -> None:
    assert found(workspace, experiments=["odd"]) == [9, 7, 5, 3, 1]
    assert found(workspace, experiments=[]) == []
    with workspace.database.transaction() as tx:
        runs.delete(tx, filled[9].id)
    assert found(workspace, "metrics.auc != 0.9", view="deleted") == [9]
    assert found(workspace, experiments=["odd"]) == [7, 5, 3, 1]
    assert len(found(workspace, view="all")) == 10
    with pytest.raises(NotFoundError, match="experiment"):
        search_runs(experiments=["none"], workspace=workspace)


def test_a_cursor_is_not_shifted_by_new_runs(workspace: Workspace, runs: RunStore, filled: list[Run]) -> None:
    first = search_runs(order_by=["metrics.auc DESC"], limit=2, workspace=workspace)
    with workspace.database.transaction() as tx:
        best = runs.create(tx, kind="script", name="run 99")
    Metrics(workspace.metrics).append(best.series, [Metric("auc", math.inf, 0, 1)])
    second = search_runs(order_by=["metrics.auc DESC"], limit=2, cursor=first.cursor, workspace=workspace)
    assert [run.name for run in second] == ["run 2", "run 8"]


def test_a_cursor_or_limit_that_is_none_is_refused(workspace: Workspace, filled: list[Run]) -> None:
    for options in (
        {"cursor": "x"},
        {"cursor": "WzFd"},
        {"cursor": "🎯"},
        {"limit": 0},
        {"limit": 10**6},
        {"view": "x"},
    ):
        with pytest.raises(InvalidError, match=f"^{next(iter(options))}"):
            search_runs(workspace=workspace, **options)
