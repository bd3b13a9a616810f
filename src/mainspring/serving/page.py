"""What an endpoint says of itself, as data and as a small page for people."""

from __future__ import annotations

from html import escape
from typing import Any

import msgspec

from mainspring.serving.live import Live


def describe(live: Live, *, with_token: bool) -> dict[str, Any]:
    """The endpoint, the version that answers, its signature, and a request to try."""
    takes, reader = live.predictor.takes, live.predictor.reader
    records = live.example[:1] or [{field.name: None for field in takes.inputs}]
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
        "metrics": live.version.metrics,
        "example": {"records": records},
        "curl": f"curl -H 'Content-Type: application/json'{token} -d '{quoted}' $ADDRESS/predict",
        "paths": ["/predict", "/health", "/live", "/ready", "/metrics"],
    }


def page_of(told: dict[str, Any]) -> str:
    """The same as HTML, without script or anything from elsewhere."""
    rows = "".join(
        f"<tr><td>{escape(each['name'])}</td><td>{escape(each['expects'])}{' or null' if each['nullable'] else ''}</td></tr>"
        for each in told["inputs"]
    )
    features = told["features"]
    read = f" and reads {', '.join(features['names'])} of {features['service']}" if features else ""
    title = escape(f"{told['endpoint']} · {told['model_version']}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<style>body{font:16px/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem}"
        "pre{overflow:auto;background:#8881;padding:1rem}td,th{text-align:left;padding-right:2rem}</style>"
        f"<h1>{title}</h1><p>Serves {escape(told['target'] + read)}.</p><pre>{escape(told['curl'])}</pre>"
        f"<table><tr><th>column</th><th>takes</th></tr>{rows}</table></html>"
    )
