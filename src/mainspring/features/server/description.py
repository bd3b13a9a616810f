"""What the server of features says of itself, as data and as a small page for people."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from mainspring.features.definitions.records import ServiceRecord

_PATHS = {
    "POST /get-online-features": '{"feature_service": NAME, or "features": ["VIEW:FEATURE"], "entities": {COLUMN: [...]},'
    ' "full_feature_names": false}',
    "POST /push": '{"push_source_name": VIEW or SOURCE, "df": {COLUMN: [...]}, "to": online, offline or online_and_offline}',
    "POST /write-to-online-store": '{"feature_view_name": VIEW, "df": {KEY or FEATURE or event_timestamp: [...]}}',
    "POST /materialize, /materialize-incremental": '{"end_ts": TIME, "feature_views": [VIEW]}, or all views, now',
    "GET /health, /live, /ready, /metrics": "for probes and Prometheus",
}


def describe(services: Sequence[ServiceRecord]) -> dict[str, Any]:
    """The services with what they are asked by, and the paths with what they take."""
    return {
        "services": [
            {
                "name": each.name, "description": each.about.description, "entities": each.request,
                "features": {field.name: field.dtype for field in each.fields},
            }
            for each in services
        ],
        "paths": _PATHS,
    }  # fmt: skip


def page_of(told: dict[str, Any]) -> str:
    """The same as HTML, without script or anything from elsewhere."""
    services = "".join(
        f"<tr><td>{escape(each['name'])}</td><td>{escape(', '.join(each['entities']))}</td>"
        f"<td>{escape(', '.join(each['features']))}</td></tr>"
        for each in told["services"]
    )
    paths = "".join(
        f"<tr><td>{escape(path)}</td><td>{escape(takes)}</td></tr>" for path, takes in told["paths"].items()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Features</title>"
        "<style>body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td,th{text-align:left;padding-right:2rem;vertical-align:top}</style><h1>Features</h1>"
        f"<table><tr><th>service</th><th>asked by</th><th>features</th></tr>{services}</table>"
        f"<h2>Requests</h2><table>{paths}</table></html>"
    )
