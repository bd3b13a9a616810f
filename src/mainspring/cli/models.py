"""`mainspring models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation
from mainspring.cli.endpoints import features_of, features_read

if TYPE_CHECKING:
    from mainspring.models import Alias, ModelVersion


@click.group(cls=Group, default="list")
def models() -> None:
    """List models (the same as `models list`), look into versions, move aliases."""


@models.command("list")
@click.argument("name", default="", metavar="[MODEL]")
@click.pass_obj
def list_all(invocation: Invocation, name: str) -> None:
    """List every model's newest version, or all versions of MODEL."""
    from mainspring.models import list_aliases, list_model_versions, list_models

    workspace = invocation.workspace
    found = list_model_versions(name, workspace) if name else list_models(workspace)
    aliases = {each.name: list_aliases(each.name, workspace) for each in found}
    invocation.show(
        {"models": [_document(each, aliases[each.name]) for each in found]}, lambda: _listed(found, aliases)
    )


@models.command("show")
@click.argument("reference", metavar="MODEL/N|MODEL@ALIAS|MODEL")
@click.pass_obj
def show_one(invocation: Invocation, reference: str) -> None:
    """Show a version: what it takes and gives, metrics, gates, who made it."""
    from mainspring.models import get_model_version, list_aliases

    version = get_model_version(reference, invocation.workspace)
    aliases = list_aliases(version.name, invocation.workspace)
    features = features_of(version, invocation.workspace)
    document = _document(version, aliases) | {"features": features}
    invocation.show({"model": document}, lambda: _shown(version, aliases, features_read(features)))


@models.command("alias")
@click.argument("reference", metavar="MODEL/N")
@click.argument("alias")
@click.option("--note", default="", metavar="TEXT", help="Kept with the move.")
@click.pass_obj
def move_alias(invocation: Invocation, reference: str, alias: str, note: str) -> None:
    """Make ALIAS point to a version. One that an endpoint serves is moved by `endpoints bind`."""
    from mainspring.models import set_alias

    moved = set_alias(reference, alias, note=note, workspace=invocation.workspace)
    invocation.show({"alias": alias, "version": str(moved)}, lambda: f"{moved.name}@{alias} is {moved}")


def _document(version: ModelVersion, aliases: list[Alias]) -> dict[str, Any]:
    pointing = [alias.alias for alias in aliases if alias.version == version.id]
    document: dict[str, Any] = msgspec.to_builtins(version)
    return document | {"reference": str(version), "aliases": pointing}


def _listed(found: list[ModelVersion], aliases: dict[str, list[Alias]]) -> str:
    if not found:
        return "No models. A step registers one by mainspring.models.register(...)."
    rows = []
    for version in found:
        pointing = ", ".join(alias.alias for alias in aliases[version.name] if alias.version == version.id)
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in version.metrics.items() if value is not None)
        rows.append([str(version), pointing, text.moment(version.created_at), version.actor, metrics])
    return text.table(["version", "aliases", "made", "by", "metrics"], rows, drop=["by"])


def _shown(version: ModelVersion, aliases: list[Alias], features: str) -> str:
    pointing = ", ".join(alias.alias for alias in aliases if alias.version == version.id)
    encoded, signature = version.encoded, version.signature
    inputs = "\n".join(
        f"{field.name}: {field.dtype}{' or null' if field.nullable else ''}"
        for field in (signature.inputs if signature else ())
    )
    gates = "\n".join(
        f"{'pass' if result['passed'] else 'FAIL'}  {result['reason']}"
        for result in (version.gates or {}).get("reasons", ())
    )
    metrics = "\n".join(f"{name} = {value:.6g}" for name, value in version.metrics.items() if value is not None)
    return text.facts(
        [
            ("version", text.bold(str(version))),
            ("aliases", pointing),
            ("content", text.short(version.content_digest)),
            ("made", f"{text.moment(version.created_at)} by {version.actor}"),
            ("codec", f"{encoded.codec}, {text.size(encoded.size_bytes)}" if encoded else ""),
            ("takes", inputs),
            ("features", features),
            ("gives", signature.output.kind if signature else ""),
            ("metrics", metrics),
            ("gates", gates),
            ("note", version.note),
        ]
    )
