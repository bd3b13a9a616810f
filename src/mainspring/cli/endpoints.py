"""`mainspring endpoints`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

if TYPE_CHECKING:
    from mainspring.serving import Endpoint


@click.group(cls=Group, default="list")
def endpoints() -> None:
    """List endpoints (the same as `endpoints list`) and bind them to models."""


@endpoints.command("list")
@click.pass_obj
def list_all(invocation: Invocation) -> None:
    """List endpoints with what they serve."""
    from mainspring.serving import list_endpoints

    found = list_endpoints(invocation.workspace)
    invocation.show({"endpoints": [_document(each) for each in found]}, lambda: _listed(found))


@endpoints.command("bind")
@click.argument("endpoint")
@click.argument("target", metavar="[MODEL@ALIAS]", default="")
@click.option("--version", default="", metavar="MODEL/N", help="Move it to this version, e.g. flight-delay/latest.")
@click.option("--note", default="", metavar="TEXT", help="Kept with the move.")
@click.pass_obj
def bind_one(invocation: Invocation, endpoint: str, target: str, version: str, note: str) -> None:
    """Make ENDPOINT serve MODEL@ALIAS, or move what it serves to another version. Running servers follow."""
    from mainspring.serving import bind

    bound = bind(endpoint, target, version=version, note=note, workspace=invocation.workspace)
    invocation.show({"endpoint": _document(bound)}, lambda: f"{bound.name} serves {bound.serves} ({bound.target})")


def _document(endpoint: Endpoint) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(endpoint)
    return document | {"target": endpoint.target, "serves": endpoint.serves}


def _listed(found: list[Endpoint]) -> str:
    if not found:
        return "No endpoints. `mainspring endpoints bind ENDPOINT MODEL@ALIAS --version MODEL/N` makes one."
    rows = [[each.name, each.target, each.serves, str(each.generation), text.moment(each.moved_at)] for each in found]
    return text.table(["endpoint", "bound to", "serves", "moves", "moved"], rows, drop=["moves"])
