"""A sealed endpoint answers in another workspace as it did, and depends on nothing but what is served."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.data import dataset
from mainspring.errors import ExistsError, InvalidError, NotAllowedError, NotFoundError
from mainspring.features import Entity, FeatureService, FeatureView, apply, materialize, training_set
from mainspring.models import export_onnx, get_model_version, register, set_version_tags
from mainspring.serving import bind, get_endpoint, load_predictor
from mainspring.serving.elsewhere import endpoint_for
from mainspring.serving.sealed import DESCRIPTION, read_sealed, seal, unseal, write_sealed
from mainspring.workspace import Workspace, using

ROWS = pl.DataFrame({"x": [1.0, 2.0], "y": [0.5, 1.0]})


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "other").mkdir()
    with Workspace.open(tmp_path / "other") as opened:
        yield opened


def bound(slope: float = 2.0, **options: Any) -> None:
    register(LinearRegression().fit(ROWS, [slope, 2 * slope]), "line", input_example=ROWS)
    bind("lines", "line@production", version="line/latest", **options)


def sealed_in(folder: Path, workspace: Workspace) -> Path:
    write_sealed(seal("lines"), folder, workspace)
    return folder


@pytest.mark.parametrize("runtime", ["native", "onnx"])
def test_it_answers_elsewhere_under_the_same_ids(
    workspace: Workspace, other: Workspace, tmp_path: Path, runtime: Any
) -> None:
    bound()
    export_onnx("line/1")
    bind("lines", runtime=runtime, redact=["y"])
    folder = sealed_in(tmp_path / "sealed", workspace)
    expected = load_predictor("lines")(ROWS)
    with using(other):
        assert endpoint_for(str(folder), other) == "lines"
        assert load_predictor("lines")(ROWS) == expected
        there = get_endpoint("lines")
    here = get_endpoint("lines", workspace)
    assert (there.id, there.version, there.runtime, there.redact) == (here.id, here.version, runtime, ("y",))
    assert unseal(folder, other).generation == 1


def test_a_graph_goes_without_the_model_it_was_made_of(workspace: Workspace) -> None:
    bound()
    native = seal("lines").blobs
    export_onnx("line/1")
    bind("lines", runtime="onnx")
    version = get_model_version("line/1")
    assert version.encoded is not None
    assert version.encoded.blob in native
    assert version.encoded.blob not in seal("lines").blobs


@pytest.mark.one_backend("what is said of records has suites of its own")
def test_what_is_said_of_a_version_changes_nothing(workspace: Workspace) -> None:
    bound()
    before = seal("lines")
    set_version_tags("line/1", {"team": "ops"})
    register(LinearRegression().fit(ROWS, [9.0, 8.0]), "line", input_example=ROWS)
    bind("lines", version="line/2")
    assert seal("lines") != before
    bind("lines", version="line/1")
    assert get_endpoint("lines").generation == 3
    assert seal("lines") == before


@pytest.mark.one_backend("the folder is the same whatever it came from")
def test_a_later_one_moves_the_endpoint_on(workspace: Workspace, other: Workspace, tmp_path: Path) -> None:
    bound()
    unseal(sealed_in(tmp_path / "first", workspace), other)
    bound(slope=7.0)
    found = unseal(sealed_in(tmp_path / "second", workspace), other)
    assert (found.serves, found.generation) == ("line/2", 2)
    assert load_predictor("lines", workspace=other)([{"x": 1.0, "y": 0.5}]) == pytest.approx([7.0])


@pytest.mark.one_backend("names are looked up alike on each backend")
def test_another_endpoint_or_model_of_the_name_is_left_alone(
    workspace: Workspace, other: Workspace, tmp_path: Path
) -> None:
    bound()
    folder = sealed_in(tmp_path / "sealed", workspace)
    with using(other):
        register(LinearRegression().fit(ROWS, [1.0, 1.0]), "line", input_example=ROWS)
        with pytest.raises(ExistsError, match="model `line` already"):
            unseal(folder, other)
        with pytest.raises(NotFoundError):
            get_endpoint("lines")
        bind("lines", "line@production", version="line/1")
        with pytest.raises(ExistsError, match="endpoint `lines` already"):
            unseal(folder, other)


@pytest.mark.one_backend("files are read alike whatever is behind")
def test_a_damaged_folder_is_refused_before_anything_is_bound(
    workspace: Workspace, other: Workspace, tmp_path: Path
) -> None:
    bound()
    folder = sealed_in(tmp_path / "sealed", workspace)
    blob = folder / "blobs" / seal("lines").blobs[0]
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1] + b"?")
    with pytest.raises(InvalidError, match="damaged"):
        unseal(folder, other)
    blob.unlink()
    with pytest.raises(InvalidError, match="has to be there"):
        unseal(folder, other)
    for text in (b"{}", b"[", msgspec.json.encode({"format": 1, "endpoint": {"name": "../x"}})):
        (folder / DESCRIPTION).write_bytes(text)
        with pytest.raises(InvalidError, match="sealed endpoint"):
            read_sealed(folder)
    with pytest.raises(NotFoundError):
        get_endpoint("lines", other)


@pytest.mark.one_backend("definitions are rows like others")
def test_features_come_along_and_want_a_store_that_is_fed(workspace: Workspace, tmp_path: Path) -> None:
    at = datetime(2013, 1, 1, 5, tzinfo=UTC)
    dataset("weather").commit(pl.DataFrame({"origin": ["EWR", "JFK"], "at": [at, at], "wind": [5.0, 45.0]}))
    view = FeatureView("weather_at", entity=Entity("origin"), source="weather", event_time="at", features=["wind"])
    apply(FeatureService("weather", [view]))
    materialize("weather_at")
    asked = pl.DataFrame({"origin": ["EWR", "JFK"], "leaves_at": [at, at], "delay": [2.0, 3.0]})
    made = training_set(asked, "weather", time="leaves_at")
    inputs = made.frame.select("delay", "wind")
    register(LinearRegression().fit(inputs, [1.0, 2.0]), "line", signature=inputs, features=made)
    bind("lines", "line@production", version="line/1", runtime="native")
    folder = sealed_in(tmp_path / "sealed", workspace)
    expected = load_predictor("lines")([{"origin": "JFK", "delay": 3.0}])
    (tmp_path / "other").mkdir()
    with Workspace.open(tmp_path / "other") as unfed, pytest.raises(NotAllowedError, match="no online store is named"):
        unseal(folder, unfed)
    store = {"online": workspace.project.settings.online}
    with Workspace.open(tmp_path / "other", overrides=store) as fed, using(fed):
        assert unseal(folder, fed) == unseal(folder, fed)
        assert load_predictor("lines")([{"origin": "JFK", "delay": 3.0}]) == expected


@pytest.mark.one_backend("no store is asked")
def test_a_pickle_stays_where_it_was_signed(workspace: Workspace) -> None:
    bound()
    sealed = seal("lines")
    assert sealed.version.actor == ""
    assert sealed.version.evaluation is None
    with workspace.database.transaction() as tx:
        encoded = msgspec.structs.replace(sealed.version.encoded, codec="pickle")  # type: ignore[type-var]  # it has a model
        tx.execute("UPDATE model_version SET encoded = ?", (msgspec.json.encode(encoded).decode(),))
    with pytest.raises(NotAllowedError, match="is a pickle"):
        seal("lines")
