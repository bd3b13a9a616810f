"""`mainspring predictions`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation
from mainspring.cli.compacted import past_damage_option, show_compacted


@click.group(cls=Group)
def predictions() -> None:
    """Look into the log of predictions, and compact it."""


@predictions.command("list")
@click.argument("endpoint")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="The newest so many.")
@click.option(
    "--role",
    metavar="ROLE",
    help="Those of this role: `stable`; `candidate` or `shadow`, as an outside service said when it logged them; or "
    "`loadtest`, of load tests. At first those of all but `loadtest`.",
)
@click.pass_obj
def list_newest(invocation: Invocation, endpoint: str, limit: int, role: str | None) -> None:
    """List the newest predictions of ENDPOINT, those that this machine can see."""
    from mainspring.serving import get_endpoint
    from mainspring.serving.predictions import scan_predictions

    get_endpoint(endpoint, invocation.workspace)
    frame = scan_predictions(endpoint, role=role, workspace=invocation.workspace).top_k(limit, by="id").collect()
    found = [_plain(row) for row in frame.sort("id", descending=True).to_dicts()]
    invocation.show({"predictions": found}, lambda: _listed(found))


@predictions.command("show")
@click.argument("prediction", metavar="ID")
@click.pass_obj
def show_one(invocation: Invocation, prediction: str) -> None:
    """Show a prediction by its ID: what was asked, what was read, what was answered by which version, and its labels."""
    from mainspring.models import ModelStore
    from mainspring.serving.feedback.joining import known_labels
    from mainspring.serving.predictions import get_prediction

    workspace = invocation.workspace
    row = get_prediction(prediction, workspace)
    # What an outside service calls its version is no id, and may be the name of a model.
    model = ModelStore(workspace.database, workspace.ledger).find("v.id = ?", (row["version"],))
    found = {"id": row["id"], "model_version": None if model is None else str(model)} | _plain(row)
    labels, gaps = known_labels(row, workspace)
    told = [_plain(label) for label in labels]
    invocation.show({"prediction": found, "labels": told, "gaps": gaps}, lambda: _shown(found, told, gaps))


@predictions.command("compact")
@past_damage_option
@click.pass_obj
def compact(invocation: Invocation, past_damage: bool) -> None:
    """Turn the closed segments of this machine into Parquet in the workspace's blob store."""
    from mainspring.serving.predictions import compact_predictions

    show_compacted(invocation, compact_predictions(invocation.workspace, past_damage=past_damage), "rows")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row for JSON; watermarks are bytes of the log's own."""
    shown = {name: value for name, value in row.items() if name != "features_watermarks"}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in shown.items()}


def _shown(found: dict[str, Any], labels: list[dict[str, Any]], gaps: list[str]) -> str:
    facts = [(name, "" if value is None else str(value)) for name, value in found.items()]
    for label in labels:
        which = "label" if label["counts"] else "label before"
        facts.append((which, f"{label['label']}, of {label['event_at']}, known {label['known_at']}"))
    return text.facts([*facts, *(("not known", gap) for gap in gaps)])


def _listed(found: list[dict[str, Any]]) -> str:
    if not found:
        return "No predictions."
    outputs = [name for name in found[0] if name.partition(".")[0] == "output"]
    rows = [[each["id"], each["at"], *[str(each[name]) for name in outputs]] for each in found]
    return text.table(["id", "at", *outputs], rows)
