"""What an endpoint says of itself, as data and as a small page for people."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import msgspec

from mainspring.serving.live import Live
from mainspring.serving.protocols.paths import FEEDBACK, INVOCATIONS, PREDICT

_STYLE = (
    "body{font:16px/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "pre,output{display:block;overflow:auto;background:#8881;padding:1rem;white-space:pre-wrap;font:14px/1.4 monospace}"
    "output:empty{display:none}td,th{text-align:left;padding-right:2rem}"
    "textarea{width:100%;box-sizing:border-box;height:12rem;font:14px/1.4 monospace;margin-top:1rem}"
)
_LINKS = (
    "<a href=/openapi.json>OpenAPI</a> · <a href=/v2>Open Inference Protocol</a> · <a href=/metrics>metrics</a> · "
    "<a href=/ready>ready</a>"
)
_SCRIPT = (
    "for (const form of document.forms) form.onsubmit = async event => { event.preventDefault();"
    " const shown = form.querySelector('output'); try {"
    " const answer = await fetch(form.dataset.path, {method: 'POST', headers: {'Content-Type': 'application/json'},"
    " body: form.querySelector('textarea').value});"
    " shown.textContent = answer.status + ' ' + JSON.stringify(await answer.json(), null, 2);"
    " } catch (error) { shown.textContent = error } }"
)


def describe(live: Live, *, with_token: bool) -> dict[str, Any]:
    """The endpoint, the version that answers, its signature, and a request to try."""
    takes, reader = live.predictor.takes, live.predictor.reader
    records = live.example[:1] or [{field.name: field.sample for field in takes.inputs}]
    example = msgspec.json.encode({"records": records}).decode()
    token = " -H 'Authorization: Bearer TOKEN'" if with_token else ""
    quoted = example.replace("'", "'\\''")
    return {
        "endpoint": live.endpoint.name,
        "target": live.endpoint.target,
        "model_version": live.name,
        "runtime": live.endpoint.runtime,
        "inputs": [
            {"name": field.name, "type": field.dtype, "nullable": field.nullable, "expects": field.expects}
            for field in takes.inputs
        ],
        "features": None
        if reader is None
        else {
            "service": str(reader.service),
            "names": list(live.predictor.features),
            "overrides": live.predictor.overrides,
        },
        "output": msgspec.to_builtins(live.predictor.predictor.signature.output),
        "streams": live.predictor.predictor.streams,
        "metrics": live.version.metrics,
        "example": {"records": records},
        "curl": f"curl -H 'Content-Type: application/json'{token} -d '{quoted}' $ADDRESS{PREDICT}/{live.endpoint.name}",
        "paths": [
            PREDICT,
            INVOCATIONS,
            FEEDBACK,
            "/v2",
            "/docs",
            "/openapi.json",
            "/health",
            "/live",
            "/ready",
            "/ping",
            "/metrics",
            "/version",
        ],
    }


def page_of(told: Sequence[dict[str, Any]]) -> str:
    """The same as HTML, with a form to try each endpoint, and nothing from elsewhere."""
    title = escape(", ".join(each["endpoint"] for each in told))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"{''.join(map(_section, told))}<p>{_LINKS}</p><script>{_SCRIPT}</script></html>"
    )


def _section(told: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(each['name'])}</td><td>{escape(each['expects'])}{' or null' if each['nullable'] else ''}</td></tr>"
        for each in told["inputs"]
    )
    features = told["features"]
    read = f" and reads {', '.join(features['names'])} of {features['service']}" if features else ""
    body = escape(msgspec.json.format(msgspec.json.encode(told["example"])).decode())
    path = escape(f"{PREDICT}/{told['endpoint']}")
    return (
        f"<h1>{escape(told['endpoint'])} · {escape(told['model_version'])}</h1>"
        f"<p>Serves {escape(told['target'] + read)}; it gives {escape(_given(told['output']))}.</p>"
        f"<pre>{escape(told['curl'])}</pre><table><tr><th>column</th><th>takes</th></tr>{rows}</table>"
        f"<form data-path='{path}'><textarea spellcheck=false aria-label='request'>{body}</textarea>"
        "<button>Send</button><output></output></form>"
    )


def _given(output: dict[str, Any]) -> str:
    classes = ", ".join(map(str, output["classes"]))
    if output["kind"] == "probability":
        return f"the probability of {output['classes'][1]}"
    return {
        "number": "a number",
        "label": f"one of {classes}",
        "probabilities": f"a probability for each of {classes}",
    }[output["kind"]]
