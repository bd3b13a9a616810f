"""`mainspring endpoints`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

if TYPE_CHECKING:
    from mainspring.models import ModelVersion
    from mainspring.serving import Endpoint, Logging, Runtime
    from mainspring.workspace import Workspace


def label_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how labels join the predictions of an endpoint."""
    options = (
        click.option(
            "--label-key", multiple=True, metavar="NAME", callback=lambda _context, _option, given: _names(given),
            help="Labels join by this column of requests; '' for none any more."
        ),
        click.option(
            "--label-window", metavar="3d[,1h]", help="How long before a label's event, and after it, its prediction was asked."
        ),
        click.option(
            "--label-match", type=click.Choice(["nearest", "first", "last", "all"]),
            help="Which of several predictions a label is of; at first the nearest.",
        ),
        click.option(
            "--label-pick", type=click.Choice(["newest", "first", "last"]),
            help="Which of several labels counts: the newest known, at first, or that of the first or last event.",
        ),
        click.option(
            "--label-type", type=click.Choice(["f64", "i64", "str", "bool"]), help="What labels are; at first as answers are."
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=Group, default="list")
def endpoints() -> None:
    """List endpoints (the same as `endpoints list`) and bind them to models."""


@endpoints.command("list")
@click.pass_obj
def list_all(invocation: Invocation) -> None:
    """List endpoints with what they serve."""
    from mainspring.serving import list_endpoints

    found = [_document(each, invocation.workspace) for each in list_endpoints(invocation.workspace)]
    invocation.show({"endpoints": found}, lambda: _listed(found))


@endpoints.command("show")
@click.argument("endpoint")
@click.pass_obj
def show_one(invocation: Invocation, endpoint: str) -> None:
    """Show an endpoint: the version that answers, by which runtime and process, and what requests may hold."""
    from mainspring.models import get_model_version
    from mainspring.serving import get_endpoint
    from mainspring.serving.isolation import other_releases

    workspace = invocation.workspace
    bound = get_endpoint(endpoint, workspace)
    releases = "" if bound.is_outside else other_releases(bound, get_model_version(bound.version, workspace), workspace)
    found = _document(bound, workspace) | {"other_releases": releases}
    invocation.show({"endpoint": found}, lambda: _shown(found))


@endpoints.command("bind")
@click.argument("endpoint")
@click.argument("target", metavar="[MODEL@ALIAS]", default="")
@click.option("--version", default="", metavar="MODEL/N", help="Move it to this version, e.g. flight-delay/latest.")
@click.option(
    "--overrides/--no-overrides", default=None, help="Whether a request may hold features itself; at first not."
)
@click.option(
    "--runtime", type=click.Choice(["native", "onnx"]),
    help="Whether the model itself answers or its ONNX graph (`models onnx`); at first what answered one row faster.",
)  # fmt: skip
@click.option(
    "--log", type=click.Choice(["required", "best-effort", "off"]),
    help="Whether predictions are logged before they are answered, if possible, or not; at first required.",
)  # fmt: skip
@click.option(
    "--log-share", type=click.FloatRange(0, 1), metavar="SHARE", help="Of requests that are logged; at first 1."
)
@click.option(
    "--redact", multiple=True, metavar="NAME", help="Leave this column or feature out of the log; '' for none any more."
)
@click.option(
    "--isolated/--no-isolated", default=None,
    help="Whether its model has a process of its own, as one has anyway whose library isn't here in the recorded release.",
)  # fmt: skip
@click.option(
    "--memory-mb", type=click.IntRange(0), metavar="MIB",
    help="Memory, in MiB, above which the model's own process is started anew; 0 is no limit.",
)  # fmt: skip
@label_options
@click.option("--note", default="", metavar="TEXT", help="Kept with the move.")
@click.pass_obj
def bind_one(
    invocation: Invocation, /, endpoint: str, target: str, version: str, overrides: bool | None, runtime: Runtime | None,
    log: Logging | None, log_share: float | None, redact: tuple[str, ...], isolated: bool | None,
    memory_mb: int | None, note: str, **labels: Any,
) -> None:  # fmt: skip
    """Make ENDPOINT serve MODEL@ALIAS, or move what it serves to another version. Running servers follow."""
    from mainspring.serving import bind

    bound = bind(
        endpoint, target, version=version, overrides=overrides, runtime=runtime, log=log, log_share=log_share,
        redact=_names(redact), isolated=isolated, memory_mb=memory_mb, note=note, workspace=invocation.workspace, **labels,
    )  # fmt: skip
    invocation.show({"endpoint": _document(bound, invocation.workspace)}, lambda: _bound(bound))


@endpoints.command("outside")
@click.argument("endpoint")
@click.option("--version", required=True, metavar="NAME", help="The version that answers, as the service calls it.")
@click.option(
    "--log-share", type=click.FloatRange(0, 1), metavar="SHARE", help="Of requests that are logged; at first 1."
)
@click.option("--redact", multiple=True, metavar="NAME", help="Leave this column out of the log; '' for none any more.")
@label_options
@click.pass_obj
def declare_outside(
    invocation: Invocation,
    /,
    endpoint: str,
    version: str,
    log_share: float | None,
    redact: tuple[str, ...],
    **labels: Any,
) -> None:
    """Declare a service that runs elsewhere, whose predictions and labels are logged here, as ENDPOINT."""
    from mainspring.serving import outside_service

    made = outside_service(
        endpoint, version, log_share=log_share, redact=_names(redact), workspace=invocation.workspace, **labels
    )
    document = _document(made.endpoint, invocation.workspace)
    invocation.show({"endpoint": document}, f"{endpoint} is a service that runs outside, at version {version}.")


def _bound(bound: Endpoint) -> str:
    by = " by ONNX" if bound.runtime == "onnx" else ""
    why = f"\n{bound.runtime} is proposed: {bound.runtime_reason}" if by and bound.runtime_reason else ""
    return f"{bound.name} serves {bound.serves} ({bound.target}){by}{why}"


def _names(given: tuple[str, ...]) -> list[str] | None:
    """The names that an option was given, none for an empty one; None if it wasn't given."""
    return [name for name in given if name] if given else None


def _document(endpoint: Endpoint, workspace: Workspace) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(endpoint) | {"label_rule": str(endpoint.labels)}
    features = None if endpoint.is_outside else features_of(endpoint, workspace)
    return document | {"target": endpoint.target, "serves": endpoint.serves, "features": features}


def features_of(given: Endpoint | ModelVersion, workspace: Workspace) -> dict[str, Any] | None:
    """The feature service that requests are completed by, with the columns that they hold for it; None if there is none."""
    from mainspring.serving import service_of

    service = service_of(given, workspace)
    return {"service": str(service), "request": service.feature_set(workspace).request} if service else None


def features_read(features: dict[str, Any] | None) -> str:
    """The same as a text; empty if there are none."""
    return f"{features['service']} by {', '.join(features['request'])}" if features else ""


def _shown(found: dict[str, Any]) -> str:
    return text.facts(
        [
            ("endpoint", text.bold(found["name"])),
            ("bound to", found["target"] or "a service that runs outside"),
            ("serves", found["serves"]),
            ("runtime", _runtime(found) if found["target"] else ""),
            ("process", _process(found)),
            ("reads", features_read(found["features"])),
            ("overrides", "a request may hold features" if found["overrides"] else ""),
            ("log", found["log"] + (f", {found['log_share']:.3g} of requests" if found["log_share"] < 1 else "")),
            ("redacted", ", ".join(found["redact"])),
            ("labels join", found["label_rule"] if found["labels"]["key"] else "by prediction"),
            ("moves", str(found["generation"])),
            ("moved", text.moment(found["moved_at"])),
        ]
    )


def _runtime(found: dict[str, Any]) -> str:
    reason = found["runtime_reason"]
    return f"{found['runtime']}, {f'proposed: {reason}' if reason else 'chosen'}"


def _process(found: dict[str, Any]) -> str:
    limit = f", started anew above {found['memory_mb']:,} MiB" if found["memory_mb"] else ""
    releases = f", if pip has {found['other_releases']}" if found["other_releases"] else ""
    return f"its own{releases}{limit}" if found["isolated"] or releases or limit else ""


def _listed(found: list[dict[str, Any]]) -> str:
    if not found:
        return "No endpoints. `mainspring endpoints bind ENDPOINT MODEL@ALIAS --version MODEL/N` makes one."
    rows = [
        [
            each["name"],
            each["target"] or "outside",
            each["serves"],
            features_read(each["features"]),
            str(each["generation"]),
            text.moment(each["moved_at"]),
        ]
        for each in found
    ]
    return text.table(["endpoint", "bound to", "serves", "reads", "moves", "moved"], rows, drop=["moves", "reads"])
