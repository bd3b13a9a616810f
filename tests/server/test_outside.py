"""Predictions and labels of services that run elsewhere, over HTTP: logged before they are answered, refused by their place."""

from __future__ import annotations

from typing import Any

from mainspring.serving import outside_service
from mainspring.serving.feedback import labelled
from mainspring.serving.predictions import find_prediction
from tests.server.conftest import Client


def test_what_a_service_answers_is_logged_and_labelled(client: Client) -> None:
    outside_service("fraud", "2024-03", label_key=["card"], label_window="30d", workspace=client.workspace)
    asked = {
        "records": [{"card": "c1"}, {"card": "c2"}],
        "predictions": [0.1, 0.9],
        "route_key": "u7",
        "latency_s": 0.01,
    }
    answer = client.ask("POST", "/api/1.0/predictions/fraud", json=asked)
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["ids"]
    assert answer.json()["version"] == "2024-03"
    found = find_prediction(second, client.workspace)
    assert found is not None
    assert found["latency_us"] >= 10_000
    assert (found["output"], found["route_key"], found["version"]) == (0.9, "u7", "2024-03")
    labels = [{"prediction": first, "label": 0}, {"key": {"card": "c2"}, "label": 1}, {"label": 1}]
    told = client.ask("POST", "/api/1.0/feedback/fraud", json={"labels": labels})
    assert (told.status_code, told.json()["accepted"]) == (422, 2)
    assert [each["path"] for each in told.json()["problems"]] == ["[2].card"]
    assert told.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert labelled("fraud", workspace=client.workspace).collect().sort("input.card")["label"].to_list() == [0, 1]
    untimed = client.ask(
        "POST", "/api/1.0/predictions/fraud", json={name: asked[name] for name in ("records", "predictions")}
    )
    (row, _) = (find_prediction(each, client.workspace) for each in untimed.json()["ids"])
    assert row is not None
    assert row["latency_us"] is None


def test_what_is_no_service_or_no_prediction_is_refused(client: Client) -> None:
    asked = {"records": [{"card": "c1"}], "predictions": [0.1]}
    unknown = client.ask("POST", "/api/1.0/predictions/fraud", json=asked)
    assert unknown.status_code == 404
    assert "`mainspring endpoints outside fraud --version VERSION` declares" in unknown.json()["message"]
    for text in ("endpoints outside fraud --version VERSION` declares", "endpoints bind fraud MODEL@ALIAS` makes"):
        labels = client.ask("POST", "/api/1.0/feedback/fraud", json={"labels": []})
        assert (labels.status_code, text in labels.json()["message"]) == (404, True)
    outside_service("fraud", "1", workspace=client.workspace)
    wrongs: list[dict[str, Any]] = [{"predictions": []}, {"predictions": [None]}, {"records": 5}, {"model": "m"}]
    for wrong in wrongs:
        assert client.ask("POST", "/api/1.0/predictions/fraud", json=asked | wrong).status_code == 400, wrong
    assert client.ask("POST", "/api/1.0/feedback/fraud", json={"labels": []}).status_code == 200


def test_the_role_that_a_service_says_is_logged_and_another_is_refused(client: Client) -> None:
    outside_service("fraud", "1", workspace=client.workspace)
    asked = {"records": [{"card": "c1"}], "predictions": [0.1]}
    answer = client.ask("POST", "/api/1.0/predictions/fraud", json=asked | {"role": "shadow"})
    found = find_prediction(answer.json()["ids"][0], client.workspace)
    assert found is not None
    assert found["role"] == "shadow"
    refused = client.ask("POST", "/api/1.0/predictions/fraud", json=asked | {"role": "loadtest"})
    said = "role: `loadtest` is not a role of a service: stable, candidate, shadow"
    assert (refused.status_code, said in refused.json()["message"]) == (400, True)
