"""`mainspring feedback`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation
from mainspring.cli.compacted import past_damage_option, show_compacted
from mainspring.cli.instants import found_instant

if TYPE_CHECKING:
    from mainspring.serving.feedback import Coverage, Taken


@click.group(cls=Group)
def feedback() -> None:
    """Log labels of predictions, look into them, and compact their log."""


@feedback.command("add")
@click.argument("endpoint")
@click.argument("file", metavar="[FILE]", default="")
@click.option(
    "--dataset", default="", metavar="NAME", help="The rows that its newest version has and the last one hadn't."
)
@click.option("--id", "prediction", default="", metavar="ID", help="The prediction of one label.")
@click.option("--key", multiple=True, metavar="NAME=VALUE", help="The key of one label, instead of a prediction.")
@click.option("--label", default=None, metavar="VALUE", help="One label.")
@click.option("--event-at", default="", metavar="TIME", help="When what it tells happened; at first when it is known.")
@click.option("--known-at", default="", metavar="TIME", help="When it was known; at first now.")
@click.option(
    "--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="Which column is which field: label=arr_delay."
)
@click.pass_obj
def add(
    invocation: Invocation, endpoint: str, file: str, dataset: str, prediction: str, key: tuple[str, ...],
    label: str | None, event_at: str, known_at: str, columns: tuple[str, ...],
) -> None:  # fmt: skip
    """Log labels of predictions of ENDPOINT: of FILE (CSV, Parquet, JSON, JSONL), of a dataset, or one by --label.

    What is right is logged, what is wrong is told, with status 1. Labels that come again change nothing.
    """
    if sum((bool(file), bool(dataset), label is not None)) != 1:
        raise click.UsageError("Name labels by FILE, by --dataset, or one by --label.")
    if (label is None) != (not prediction and not key) or (prediction and key):
        raise click.UsageError("One label is that of a prediction (--id) or has a key (--key): --id ID --label VALUE.")
    from mainspring.serving.feedback import log_dataset

    chosen = dict(_pair(each, "--column") for each in columns)
    if dataset:
        taken = log_dataset(endpoint, dataset, columns=chosen, workspace=invocation.workspace)
    elif file:
        taken = _log_file(invocation, endpoint, file, chosen)
    else:
        one = {"prediction": prediction or None, "key": dict(_pair(each, "--key") for each in key) or None}
        times = {"event_at": event_at or None, "known_at": known_at or None}
        taken = _log_one(invocation, endpoint, one | times, label or "")
    invocation.show(msgspec.to_builtins(taken), lambda: _said(taken))


@feedback.command("show")
@click.argument("endpoint")
@click.option(
    "--since", default="", metavar="TIME", help="Predictions since then: a time, or how long ago, such as 7d."
)
@click.option("--until", default="", metavar="TIME", help="Predictions before that.")
@click.option("--as-of", default="", metavar="TIME", help="As it was known then.")
@click.pass_obj
def show_coverage(invocation: Invocation, endpoint: str, since: str, until: str, as_of: str) -> None:
    """Show how many predictions of ENDPOINT have a label, how late labels are, and how many wait for a prediction."""
    from mainspring.serving import get_endpoint
    from mainspring.serving.feedback import coverage

    instants = [
        found_instant(each, f"--{name}") for each, name in ((since, "since"), (until, "until"), (as_of, "as-of"))
    ]
    rule = str(get_endpoint(endpoint, invocation.workspace).labels)
    found = coverage(endpoint, *instants, workspace=invocation.workspace)
    document = msgspec.to_builtins(found) | {"share": found.share, "rule": rule}
    invocation.show({"feedback": document}, lambda: _shown(found, rule))


@feedback.command("list")
@click.argument("endpoint")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="The newest so many.")
@click.pass_obj
def list_newest(invocation: Invocation, endpoint: str, limit: int) -> None:
    """List the newest labels of ENDPOINT, whether they are of a prediction or wait for it."""
    from mainspring.serving.feedback import scan_labels

    frame = scan_labels(endpoint, workspace=invocation.workspace).top_k(limit, by=["known_at", "id"]).collect()
    found = [plain(row) for row in frame.sort("known_at", "id", descending=True).to_dicts()]
    invocation.show({"labels": found}, lambda: _listed(found))


@feedback.command("compact")
@past_damage_option
@click.pass_obj
def compact(invocation: Invocation, past_damage: bool) -> None:
    """Turn the closed segments of labels of this machine into Parquet in the workspace's blob store."""
    from mainspring.serving.feedback import compact_feedback

    show_compacted(invocation, compact_feedback(invocation.workspace, past_damage=past_damage), "labels")


def _log_file(invocation: Invocation, endpoint: str, file: str, columns: dict[str, str]) -> Taken:
    from mainspring.serving import get_endpoint
    from mainspring.serving.feedback import LabelIntake
    from mainspring.serving.feedback.intake import log_table
    from mainspring.serving.feedback.tables import read_file

    intake = LabelIntake(get_endpoint(endpoint, invocation.workspace), invocation.workspace)
    return log_table(intake, read_file(file, intake.check, columns), "cli").expect_all()


def _log_one(invocation: Invocation, endpoint: str, told: dict[str, Any], label: str) -> Taken:
    from mainspring.serving import get_endpoint
    from mainspring.serving.feedback import LabelIntake
    from mainspring.serving.feedback.checking import from_text, key_from_text

    intake = LabelIntake(get_endpoint(endpoint, invocation.workspace), invocation.workspace)
    check = intake.check
    types = {name: field.dtype for name, field in check.key_fields.items()}
    key = told["key"] and {name: key_from_text(value, types.get(name, "")) for name, value in told["key"].items()}
    record = {name: value for name, value in (told | {"key": key}).items() if value is not None}
    record["label"] = from_text(label, check.label.dtype if check.label else "")
    return intake([(0, record)], "cli").expect_all()


def _pair(given: str, option: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"`{given}` is not NAME=VALUE", param_hint=option)
    return name, value


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its instants as texts."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _said(taken: Taken) -> str:
    empty = f" {text.counted(taken.empty, 'row')} without a label." if taken.empty else ""
    return f"{text.counted(taken.accepted, 'label')} logged.{empty}"


def _shown(found: Coverage, rule: str) -> str:
    share = f", {found.share:.1%}" if found.share is not None else ""
    delays = zip(("half", "90 %", "99 %"), found.delay_s or (), strict=False)
    return text.facts(
        [
            ("endpoint", text.bold(found.endpoint)),
            ("labels join", rule),
            ("predictions", f"{found.predictions:,}"),
            ("labelled", f"{found.labelled:,}{share}"),
            ("delay", ", ".join(f"{name} within {text.duration(delay)}" for name, delay in delays)),
            (
                "waiting",
                f"{text.counted(found.waiting, 'label')} of no prediction that is seen here" if found.waiting else "",
            ),
        ]
    )


def _listed(found: list[dict[str, Any]]) -> str:
    if not found:
        return "No labels. `mainspring feedback add` logs some."
    rows = [[each["known_at"], each["event_at"], _target(each), str(each["label"]), each["source"]] for each in found]
    return text.table(["known", "event", "of", "label", "source"], rows, drop=["source", "event"])


def _target(label: dict[str, Any]) -> str:
    keys = ", ".join(f"{name[4:]}={value}" for name, value in label.items() if name.startswith("key."))
    return label["prediction"] or keys
