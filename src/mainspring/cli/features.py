"""`mainspring features`."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

if TYPE_CHECKING:
    from mainspring.features import Change, Definition, Plan

_KINDS = {"view": "view", "on_demand": "on-demand view", "service": "service"}
_SIGNS = {"new": "+", "changed": "~", "described": "~", "unchanged": " ", "missing": "?", "retired": "-"}
_MODULES = click.argument("modules", nargs=-1, metavar="[MODULE]...")
_RETIRE = click.option("--retire", is_flag=True, help="Retire what the modules don't define any more.")


_LAZY = {
    "materialize": ("mainspring.cli.feeding:materialize_views", "Bring what is new in datasets into the online store."),
    "feed": ("mainspring.cli.feeding:feed_views", "Bring the events of streams into the online store."),
    "verify": ("mainspring.cli.parity:verify_vectors", "Hold served vectors to the offline path, bit for bit."),
}


@click.group(cls=Group, default="list", lazy=_LAZY)
def features() -> None:
    """List features (the same as `features list`), look into them, apply their definitions, bring them online."""


@features.command("plan")
@_MODULES
@_RETIRE
@click.pass_obj
def plan_all(invocation: Invocation, modules: tuple[str, ...], retire: bool) -> None:
    """Say what applying the definitions of MODULE (those of the project's settings) would change, and for whom."""
    from mainspring.features import plan

    found = plan(*_imported(invocation, modules), retire=retire)
    invocation.show(_planned(found), lambda: _told(found, done=False))


@features.command("apply")
@_MODULES
@_RETIRE
@click.pass_obj
def apply_all(invocation: Invocation, modules: tuple[str, ...], retire: bool) -> None:
    """Make new versions of the definitions of MODULE that changed. Models keep the versions that they use."""
    from mainspring.features import apply

    found = apply(*_imported(invocation, modules), retire=retire)
    invocation.show(_planned(found), lambda: _told(found, done=True))


@features.command("list")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.pass_obj
def list_all(invocation: Invocation, words: tuple[str, ...]) -> None:
    """List views and services, or those in whose names, features, descriptions, owners or tags every WORD occurs."""
    from mainspring.features import list_definitions

    found = [each for each in list_definitions(workspace=invocation.workspace) if _has(each, words)]
    invocation.show({"features": [_document(each) for each in found]}, lambda: _listed(found, words))


@features.command("show")
@click.argument("reference", metavar="NAME|NAME/N")
@click.pass_obj
def show_one(invocation: Invocation, reference: str) -> None:
    """Show a view or service: its definition, features, and the models that use it."""
    from mainspring.features import find_definition, list_uses

    found = find_definition(reference, invocation.workspace)
    uses = list_uses(found, invocation.workspace)
    document = _document(found) | {"uses": msgspec.to_builtins(uses)}
    invocation.show({"features": document}, lambda: _shown(found, [str(use) for use in uses]))


@features.command("serve")
@click.option("--host", metavar="ADDRESS", help="Address to bind to; off this machine it needs serve_token.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=6566, show_default=True, metavar="P",
    help="Port to bind to; 0 takes a free one.",
)  # fmt: skip
@click.pass_obj
def serve_features(invocation: Invocation, host: str | None, port: int) -> None:
    """Serve features over HTTP until Ctrl-C, in Feast's shape: POST /get-online-features, /push, /materialize.

    With --json the first line of stdout is {"url": …}, printed when the server is ready.
    """
    from mainspring.features.server import serve

    def ready(url: str) -> None:
        said = f"Features are at {url}  (what there is: GET {url}/)"
        click.echo(msgspec.json.encode({"url": url}) if invocation.json else said)

    serve(invocation.workspace, host=host, port=port, on_ready=ready)


def _imported(invocation: Invocation, names: tuple[str, ...]) -> list[ModuleType]:
    from mainspring.cli.target import module_of, prepare

    invocation.start_in(invocation.project)
    prepare(invocation.project)
    return [module_of(invocation.project, name) for name in names or invocation.project.settings.features]


def _document(definition: Definition) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(definition)
    return document | {"reference": str(definition), "kind": definition.kind}


def _planned(plan: Plan) -> dict[str, Any]:
    return {
        "changes": [
            {
                "kind": change.kind, "name": change.name, "action": change.action,
                "before": str(change.before) if change.before else None,
                "after": str(change.after) if change.after else None,
                "differences": change.differences, "uses": msgspec.to_builtins(change.uses),
            }
            for change in plan.changes
        ]
    }  # fmt: skip


def _told(plan: Plan, *, done: bool) -> str:
    if not plan.changes:
        return "The modules define no features, and none were applied before."
    lines = [line for change in plan.changes if change.action != "unchanged" for line in _lines(change)]
    same = sum(change.action == "unchanged" for change in plan.changes)
    lines += [f"{same} unchanged"] if same else []
    if not done and not plan.is_empty:
        lines.append(text.dim("nothing is applied yet: mainspring features apply"))
    return "\n".join(lines)


def _lines(change: Change) -> list[str]:
    version = str(change.after or change.before)
    said = {
        "new": "", "changed": "", "described": ": other words for people", "retired": ": retired",
        "missing": " is not among them; --retire takes it out of use",
    }[change.action]  # fmt: skip
    lines = [f"{_SIGNS[change.action]} {_KINDS[change.kind]} {text.bold(version)}{said}"]
    lines += [f"    {line}" for line in change.differences]
    keep = change.before and change.after
    return lines + [f"    {use} {f'stays on {change.before}' if keep else 'keeps it'}" for use in change.uses]


def _has(definition: Definition, words: tuple[str, ...]) -> bool:
    about = definition.record.about
    names = [field.name for field in definition.record.fields]
    told = " ".join([definition.name, *names, about.description, about.owner, *about.tags]).lower()
    return all(word.lower() in told for word in words)


def _listed(found: list[Definition], words: tuple[str, ...]) -> str:
    if not found:
        if words:
            return f"No feature definition has {' and '.join(words)}."
        return "No features. Define views in a module and run `mainspring features apply MODULE`."
    rows = [
        [
            str(each), _KINDS[each.kind], ", ".join(field.name for field in each.record.fields),
            each.record.about.owner, text.moment(each.created_at),
        ]
        for each in found
    ]  # fmt: skip
    return text.table(["version", "kind", "features", "owner", "made"], rows, drop=["owner", "made"])


def _shown(definition: Definition, uses: list[str]) -> str:
    from mainspring.features import facts_of

    about = definition.record.about
    fields = "\n".join(
        f"{field.name}: {field.dtype}{f' = {field.shown}' if field.shown else ''}" for field in definition.record.fields
    )
    return text.facts(
        [
            (_KINDS[definition.kind], text.bold(str(definition))),
            ("about", about.description),
            ("owner", about.owner),
            ("tags", ", ".join(about.tags)),
            ("made", f"{text.moment(definition.created_at)} by {definition.actor}"),
            ("retired", text.moment(definition.retired_at) if definition.retired_at else ""),
            *facts_of(definition),
            ("features", fields),
            ("used by", "\n".join(uses)),
        ]
    )
