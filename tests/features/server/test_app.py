"""A real server of features: what it answers is what the reader says, in Feast's shape; what is wrong is said by name."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import msgspec
import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    OnDemandView,
    agg,
    apply,
    get_definition,
    materialize,
    push,
    verify,
    watermark_of,
)
from mainspring.features._store import DefinitionStore
from mainspring.features.parity.log import Logged, vectors_folder
from mainspring.models import Field, Signature, register
from mainspring.store import read_segments
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using
from tests.cli.conftest import call

PROGRAM = """
from mainspring.features.server import FeaturesApp
from mainspring.web import serve_app
from mainspring.workspace import Workspace
workspace = Workspace.open()
make = lambda token: FeaturesApp(workspace, poll_s=0.02, token=token, max_body_bytes=100_000, max_entities=500)
serve_app(workspace.project.settings, make, port=0, on_ready=lambda address: print(address, flush=True))
"""
NOW = datetime.now(UTC).replace(microsecond=1_000)  # the server reads at its own time
KEY = UUID("00000000-0000-0000-0000-00000000000a")
EPOCH = "1970-01-01T00:00:00Z"


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


WEATHER = pl.DataFrame(
    {"origin": ["EWR", "JFK", "LGA"], "at": [hours_ago(1), hours_ago(1), hours_ago(30)], "wind": [5, None, 7],
     "temp": [30.0, float("nan"), 50.0]}
)  # fmt: skip
KINDS = pl.DataFrame(
    {"b": [b"\0\xff"], "u": [str(KEY)], "n": [7], "at": [hours_ago(1)], "many": [[1.5, float("inf")]],
     "seen": [hours_ago(2)], "raw": [b"\xff"], "word": ["é"], "flag": [True]}
)  # fmt: skip


def weather(**changed: Any) -> FeatureView:
    given: dict[str, Any] = {
        "entity": Entity("origin"), "source": "weather", "event_time": "at", "ttl": "1d",
        "features": ["wind", "temp", (pl.col("temp") < 32).alias("is_freezing")],
    }  # fmt: skip
    return FeatureView("weather_at", **given | changed)


def services(base: FeatureView) -> list[Any]:
    kinds = FeatureView(
        "kinds", entity=Entity("kind", {"b": "bytes", "u": "uuid", "n": "int"}), source="kinds", event_time="at",
        features=["many", "seen", "raw", "word", "flag"],
    )  # fmt: skip
    double = OnDemandView(
        "double", request={"factor": "i64"}, inputs=[base["wind"]],
        features={"winds": pl.col("wind") * pl.col("factor"), "factors": pl.col("factor")},
    )  # fmt: skip
    counts = FeatureView(
        "counts", entity=Entity("origin"), source="weather", event_time="at", features=[agg.count(windows="7d")]
    )
    late = FeatureService("late", [base, base["wind"].keyed(origin="dest").prefixed("dest_"), double])
    calendar = OnDemandView(
        "calendar", request={"leaves": "datetime[us, UTC]"}, features={"hour": pl.col("leaves").dt.hour()}
    )
    return [late, FeatureService("all_kinds", [kinds]), FeatureService("hours", [base["wind"], calendar]), counts]


class Running(NamedTuple):
    process: subprocess.Popen[str]
    client: httpx.Client
    workspace: Workspace

    def online(self, **body: Any) -> Any:
        return self.client.post("/get-online-features", json=body).raise_for_status().json()

    def values(self, **body: Any) -> dict[str, list[Any]]:
        found = self.online(**body)
        return {
            name: each["values"]
            for name, each in zip(found["metadata"]["feature_names"], found["results"], strict=True)
        }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("features")
    (folder / "mainspring.toml").write_text('name = "features"\nvectors_share = 1.0\n')
    with Workspace.open(folder) as workspace, using(workspace):
        dataset("weather").commit(WEATHER)
        dataset("kinds").commit(KINDS)
        apply(*services(weather()))
        materialize("weather_at")
        materialize("kinds")
        process, address = start_server(PROGRAM, folder)
        with httpx.Client(base_url=address, timeout=20) as client:
            yield Running(process, client, workspace)
    process.terminate()
    process.communicate()


def test_a_service_is_answered_as_the_reader_reads_it(running: Running) -> None:
    entities = {"origin": ["EWR", "JFK", "LGA", "XXX"], "dest": ["JFK", "EWR", "EWR", "EWR"], "factor": [1, 2, 3, 4]}
    found = running.online(feature_service="late", entities=entities | {"ignored": [0]})
    reader = FeatureReader(get_definition("service", "late", running.workspace), running.workspace)
    vectors = reader.read([dict(zip(entities, row, strict=True)) for row in zip(*entities.values(), strict=True)])
    assert found["metadata"] == {"feature_names": [*reader.request, *reader.names]}
    asked, results = found["results"][: len(entities)], found["results"][len(entities) :]
    assert [each["values"] for each in asked] == [entities[name] for name in reader.request]
    assert (asked[0]["statuses"], asked[0]["event_timestamps"]) == (["PRESENT"] * 4, [EPOCH] * 4)
    assert [each["statuses"] for each in results] == [[v.statuses[n] for v in vectors] for n in range(len(results))]
    wind, temp, freezing, dest, winds, factors = results
    assert (wind["values"], wind["statuses"]) == (
        [5, None, None, None], ["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    )  # fmt: skip
    assert temp["values"] == [30.0, "NaN", None, None]
    assert (freezing["values"][:2], dest["values"], winds["values"][0]) == ([True, False], [None, 5, 5, 5], 5)
    assert factors["values"] == [1, 2, 3, 4]
    told = hours_ago(1).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    assert wind["event_timestamps"][0] == told
    assert wind["event_timestamps"][3] == factors["event_timestamps"][0] == EPOCH


def test_features_are_chosen_by_name(running: Running) -> None:
    wanted = ["double:factors", "weather_at:temp", "weather_at/1:wind"]
    entities = {"origin": ["EWR"], "factor": [3]}
    assert running.values(features=wanted, entities=entities) == {
        "origin": ["EWR"], "factor": [3], "factors": [3], "temp": [30.0], "wind": [5]
    }  # fmt: skip
    full = running.values(features=wanted, entities=entities, full_feature_names=True)
    assert list(full)[2:] == ["double__factors", "weather_at__temp", "weather_at__wind"]
    service = running.online(
        feature_service="late", full_feature_names=True, include_feature_view_version_metadata=True,
        entities=entities | {"dest": ["JFK"]},
    )["metadata"]  # fmt: skip
    assert service["feature_names"][3:7] == [
        "weather_at__wind", "weather_at__temp", "weather_at__is_freezing", "weather_at__dest_wind",
    ]  # fmt: skip
    assert service["feature_view_metadata"] == [{"name": "weather_at", "version": 1}]
    assert running.values(features=["weather_at:wind"], entities={"origin": []}) == {"origin": [], "wind": []}


def test_many_entities_are_answered_as_few_are(running: Running) -> None:
    few = running.online(features=["weather_at:temp"], entities={"origin": ["EWR"] * 2})
    many = running.online(features=["weather_at:temp"], entities={"origin": ["EWR"] * 400})
    for one, other in zip(few["results"], many["results"], strict=True):
        assert {name: values[:2] for name, values in other.items()} == one
        assert len(other["values"]) == 400


def test_keys_and_values_of_every_kind(running: Running) -> None:
    found = running.values(
        feature_service="all_kinds", entities={"b": [b64encode(b"\0\xff").decode()], "u": [str(KEY).upper()], "n": [7]}
    )
    seen = hours_ago(2).isoformat().replace("+00:00", "Z")
    assert {name: value for name, (value,) in found.items() if name not in "bun"} == {
        "many": [1.5, "Infinity"], "seen": seen, "raw": "/w==", "word": "é", "flag": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, {"feature_service": "lat", "entities": {}}, "No feature service `lat`. Nearest: late."),
        (404, {"features": ["weather:wind"], "entities": {}}, "No feature view `weather`. Nearest: weather_at."),
        (404, {"features": ["weather_at:wimd"], "entities": {}}, "No feature `weather_at:wimd`. Nearest: wind."),
        (422, {"features": ["wind"], "entities": {}}, "`wind` is not a name like `view:feature`"),
        (422, {"features": ["weather_at:wind"] * 2, "entities": {}}, "`wind` is not different names of features"),
        (422, {"entities": {"origin": ["EWR"]}}, "`no features` is not either `feature_service` or `features`"),
        (422, {"feature_service": "late", "features": ["weather_at:wind"], "entities": {"origin": ["EWR"]}},
         "`feature_service and features` is not either"),
        (422, {"features": ["weather_at:wind"], "entities": {"orgin": ["EWR"]}}, "`origin`. Nearest: orgin."),
        (422, {"features": ["weather_at:wind"], "entities": {"origin": [7]}}, "expected a key of type str"),
        (422, {"features": ["weather_at:wind"], "entities": {"origin": [None]}}, "origin: `null` is not a key"),
        (422, {"feature_service": "late", "entities": {"origin": ["EWR"], "dest": [], "factor": [1]}}, "0 of dest"),
        (422, {"feature_service": "all_kinds", "entities": {"b": ["é"], "u": [""], "n": [1]}}, "in base64"),
        (422, {"features": ["weather_at:wind"], "entities": {"origin": ["EWR"] * 501}}, "at most 500 in one request"),
        (422, {"features": ["double:winds"], "entities": {"origin": ["EWR"], "factor": ["x"]}}, "factor"),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_wrong_is_said_as_feasts_clients_read_it(
    running: Running, status: int, body: dict[str, Any], message: str
) -> None:
    answer = running.client.post("/get-online-features", json=body)
    told = json.loads(answer.json())
    assert (answer.status_code, told["module"]) == (status, "feast.errors")
    assert message in told["message"]


def test_bodies_that_are_no_requests_are_refused(running: Running) -> None:
    def post(path: str, **given: Any) -> tuple[int, str]:
        answer = running.client.post(path, **given)
        told = answer.json()
        return answer.status_code, json.loads(told)["message"] if isinstance(told, str) else told["error"]

    assert post("/get-online-features", content=b"{", headers={"Content-Type": "application/json"})[0] == 400
    status, told = post("/get-online-features", json={"entities": {"origin": "EWR"}})
    assert (status, "Expected `array`, got `str`" in told) == (422, True)
    assert post("/push", content=b"x", headers={"Content-Type": "text/csv"})[0] == 415
    assert post("/push", content=b" " * 100_001)[0] == 413
    assert running.client.get("/push").status_code == 405


def test_a_push_is_read_at_once_and_kept_offline(running: Running) -> None:
    version = dataset("weather", running.workspace).latest().number
    row = {"origin": ["SFO"], "at": [hours_ago(0.5).isoformat()], "wind": [3], "temp": [20.0]}
    told = running.client.post("/push", json={"push_source_name": "weather_at", "df": row}).raise_for_status().json()
    assert told == {"rows": 1, "online": {"weather_at/1": 1}, "offline": {}}
    asked = {"features": ["weather_at:wind", "weather_at:is_freezing"], "entities": {"origin": ["SFO"]}}
    assert running.values(**asked) == {"origin": ["SFO"], "wind": [3], "is_freezing": [True]}
    for to, source in (("offline", "weather"), ("online_and_offline", "weather_at")):
        body = {"push_source_name": source, "df": row, "to": to}
        running.client.post("/push", json=body).raise_for_status()
    latest = dataset("weather", running.workspace).latest()
    assert (latest.number, latest.rows) == (version + 2, WEATHER.height + 2)
    sent = {
        "feature_view_name": "weather_at",
        "df": {"origin": ["SFO"], "event_timestamp": [hours_ago(0.2).replace(tzinfo=None).isoformat()],
               "created": [None], "wind": [4], "temp": [None], "is_freezing": [None]},
        "allow_registry_cache": False,
    }  # fmt: skip
    assert running.client.post("/write-to-online-store", json=sent).json()["online"] == {"weather_at/1": 1}
    assert running.values(**asked) == {"origin": ["SFO"], "wind": [4], "is_freezing": [None]}


def test_bytes_are_written_as_they_are_read(running: Running) -> None:
    row: dict[str, list[Any]] = {
        "b": [b64encode(b"new").decode()], "u": [str(KEY)], "n": [8], "at": [hours_ago(0.5).isoformat()], "many": [[2.5]],
        "seen": [None], "raw": [b64encode(b"\0").decode()], "word": ["e"], "flag": [False],
    }  # fmt: skip
    asked = {"feature_service": "all_kinds", "entities": {name: row[name] for name in "bun"}}
    running.client.post("/push", json={"push_source_name": "kinds", "df": row}).raise_for_status()
    assert running.values(**asked)["raw"] == row["raw"]
    del row["at"]
    again = row | {"event_timestamp": [hours_ago(0.4).isoformat()], "raw": [b64encode(b"again").decode()]}
    body = {"feature_view_name": "kinds", "df": again}
    running.client.post("/write-to-online-store", json=body).raise_for_status()
    assert running.values(**asked)["raw"] == again["raw"]


@pytest.mark.parametrize(
    ("status", "path", "body", "message"),
    [
        (422, "/push", {"push_source_name": "kinds", "df": {"b": ["YQ==", "é"]}}, "df.b[1]: `é`"),
        (422, "/push", {"push_source_name": "weather_at", "df": {"wind": []}}, "rows with the column `origin`"),
        (422, "/push", {"push_source_name": "weather_at"}, "missing required field `df`"),
        (404, "/materialize-incremental", {"feature_views": ["counts", "nope"]}, "No feature view `nope`"),
        (404, "/push", {"push_source_name": "wether", "df": {}}, "No push source `wether`. Nearest: weather"),
        (422, "/push", {"push_source_name": "weather_at", "df": {"orign": ["a"]}}, "No column `orign`. Nearest: origin"),
        (422, "/push", {"push_source_name": "weather_at", "df": {"origin": ["a"], "at": []}}, "1 of origin, 0 of at"),
        (422, "/push", {"push_source_name": "weather_at", "df": {"origin": ["a"], "wind": [1]}}, "weather_at.at"),
        (422, "/push", {"push_source_name": "weather_at", "df": {"wind": ["fast"]}}, "wind"),
        (422, "/push", {"push_source_name": "weather_at", "df": {}, "to": "nowhere"}, "one of online, offline"),
        (422, "/push", {"push_source_name": "weather", "df": {"origin": ["a"]}, "to": "offline"}, "with `at`"),
        (422, "/write-to-online-store", {"feature_view_name": "weather_at", "df": {"wind": [1]}}, "column `origin`"),
        (404, "/write-to-online-store", {"feature_view_name": "weather", "df": {}}, "Nearest: weather_at"),
        (404, "/materialize", {"feature_views": ["weather"]}, "Nearest: weather_at"),
        (422, "/push", {"push_source_name": "weather_at", "df": {"origin": ["a"], "at": [10**18], "wind": [1],
                                                                 "temp": [1.0]}}, "df.at: `1000000000000000000` is"),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_push_that_is_wrong_changes_nothing(
    running: Running, status: int, path: str, body: dict[str, Any], message: str
) -> None:
    def state() -> Any:
        return dataset("weather", running.workspace).latest().number, watermark_of("counts", running.workspace)

    before = state()
    answer = running.client.post(path, json=body)
    assert (answer.status_code, message in json.loads(answer.json())["message"]) == (status, True)
    assert state() == before


@pytest.mark.parametrize("to", ["online", "online_and_offline"])
def test_no_rows_are_nothing_to_do(running: Running, to: str) -> None:
    told = running.client.post("/push", json={"push_source_name": "weather_at", "df": {}, "to": to})
    assert told.raise_for_status().json()["rows"] == 0
    body = {"feature_view_name": "weather_at", "df": {}}
    assert running.client.post("/write-to-online-store", json=body).raise_for_status().json()["rows"] == 0


def test_what_a_service_answers_is_logged_and_verified(running: Running) -> None:
    """What nobody applied can't be verified, and isn't logged."""
    asked = {"origin": ["EWR", "XXX"], "dest": ["JFK", "LGA"], "factor": [2, None]}
    before = verify("late", workspace=running.workspace).vectors
    running.online(feature_service="late", entities=asked)
    running.online(features=["weather_at:wind"], entities={"origin": ["EWR"]})
    report = verify("late", workspace=running.workspace)
    assert (report.vectors, report.passed, report.failed) == (before + 2, True, {})
    logged = read_segments(vectors_folder(running.workspace))
    assert {msgspec.msgpack.decode(each.record, type=Logged).service for each in logged} <= {
        get_definition("service", name, running.workspace).id for name in ("late", "all_kinds", "hours")
    }
    found = call("features", "verify", "late", cwd=running.workspace.project.root)
    assert (found.exit_code, "of late are what the offline path gives" in found.stdout) == (0, True)
    assert "mainspring_vectors_dropped_total 0" in running.client.get("/metrics").text


@pytest.mark.parametrize("at", [1_704_085_200_000_000, 5, 1.5])
def test_a_number_is_no_time_in_a_request(running: Running, at: float) -> None:
    body: dict[str, Any] = {"feature_service": "hours", "entities": {"origin": ["EWR"], "leaves": [at]}}
    refused = running.client.post("/get-online-features", json=body)
    assert (refused.status_code, "leaves: " in refused.text, "ISO 8601" in refused.text) == (422, True, True)
    body["entities"]["leaves"] = ["2024-01-01T05:00:00Z"]
    assert running.values(**body)["hour"] == [5]
    assert verify("hours", workspace=running.workspace).passed


def test_views_are_materialized_on_request(running: Running) -> None:
    dataset("weather", running.workspace).append(
        pl.DataFrame({"origin": ["BOS"], "at": [hours_ago(0.9)], "wind": [1], "temp": [1.0]})
    )
    body = {"start_ts": EPOCH, "end_ts": "2100-01-01T00:00:00", "feature_views": ["weather_at"]}
    told = running.client.post("/materialize", json=body).raise_for_status().json()["views"]
    assert told[0]["view"] == "weather_at/1"
    assert told[0]["until_us"] <= clock.now_us()
    assert running.values(features=["weather_at:wind"], entities={"origin": ["BOS"]})["wind"] == [1]
    told = running.client.post("/materialize-incremental", json={"end_ts": NOW.isoformat()}).raise_for_status().json()
    assert {each["view"] for each in told["views"]} == {"weather_at/1", "kinds/1", "counts/1"}


def test_a_new_version_is_followed_and_the_old_one_can_be_named(running: Running) -> None:
    base = FeatureView("moving", entity=Entity("origin"), source="weather", event_time="at", features=["wind"])
    row = pl.DataFrame({"origin": ["A"], "at": [hours_ago(1)], "wind": [1], "temp": [1.0]})
    apply(FeatureService("movers", [base]), workspace=running.workspace)
    push("moving", row, workspace=running.workspace)
    asked: list[dict[str, Any]] = [{"feature_service": "movers"}, {"features": ["moving:wind"]}]
    assert [running.values(**each, entities={"origin": ["A"]})["wind"] for each in asked] == [[1], [1]]
    base.features["wind"] = pl.col("wind") * 2
    apply(FeatureService("movers", [base]), workspace=running.workspace)
    push("moving", row, workspace=running.workspace)
    for each in asked:
        while running.values(**each, entities={"origin": ["A"]})["wind"] != [2]:
            assert running.process.poll() is None
    workspace, store = running.workspace, DefinitionStore(running.workspace.database)
    with workspace.database.transaction() as tx:
        store.retire(tx, get_definition("service", "movers", workspace))
    asked[0]["entities"] = {"origin": ["A"]}
    while (gone := running.client.post("/get-online-features", json=asked[0])).status_code == 200:
        assert running.process.poll() is None
    assert (gone.status_code, "its last version is `movers/2`" in gone.text) == (404, True)
    assert running.values(feature_service="movers/1", entities={"origin": ["A"]})["wind"] == [1]
    assert running.values(features=["moving/1:wind"], entities={"origin": ["A"]})["wind"] == [1]


def test_a_push_reaches_the_versions_that_models_use(running: Running) -> None:
    base = FeatureView("used", entity=Entity("origin"), source="weather", event_time="at", features=["wind"])
    apply(FeatureService("users", [base]), workspace=running.workspace)
    register(
        {"a": 1}, "model", signature=Signature((Field("wind", "i64"),)), input_kind="records",
        features=get_definition("service", "users", running.workspace), workspace=running.workspace,
    )  # fmt: skip
    for factor in (2, 3):
        base.features["wind"] = pl.col("wind") * factor
        apply(FeatureService("users", [base]), workspace=running.workspace)
    row = {"origin": ["A"], "at": [hours_ago(1).isoformat()], "wind": [1], "temp": [1.0]}
    told = running.client.post("/push", json={"push_source_name": "used", "df": row}).raise_for_status().json()
    assert told["online"] == {"used/3": 1, "used/1": 1}
    values = running.values(features=["used:wind"], entities={"origin": ["A"]})
    assert (values["wind"], running.values(features=["used/1:wind"], entities={"origin": ["A"]})["wind"]) == ([3], [1])
    body = {"feature_view_name": "used", "df": {"origin": ["A"], "event_timestamp": [NOW.isoformat()], "wind": [9]}}
    told = running.client.post("/write-to-online-store", json=body).raise_for_status().json()
    assert told["online"] == {"used/3": 1, "used/1": 1}


def test_it_says_what_it_serves_and_counts(running: Running) -> None:
    told = running.client.get("/").json()
    late = next(each for each in told["services"] if each["name"] == "late")
    assert late["entities"] == {"origin": "str", "dest": "str", "factor": "i64"}
    assert late["features"]["is_freezing"] == "bool"
    page = running.client.get("/", headers={"Accept": "text/html"})
    assert "<td>late</td>" in page.text
    assert running.client.get("/", headers={"Accept": "text/html;q=0.5, application/json"}).json() == told
    running.values(features=["weather_at:wind"], entities={"origin": ["EWR"]})
    text = running.client.get("/metrics").text
    assert 'mainspring_requests_total{path="/get-online-features",code="200"}' in text
    assert "mainspring_feature_vectors_total" in text
    assert running.client.get("/health").json() == {"status": "ok"}
