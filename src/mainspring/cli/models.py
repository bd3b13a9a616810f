"""`mainspring models`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation
from mainspring.cli.approvals import approval_document, approval_facts, approval_of
from mainspring.cli.endpoints import features_of, features_read

if TYPE_CHECKING:
    from mainspring.evaluation import Approval
    from mainspring.models import Alias, AliasMove, ExportForm, ModelVersion, RegisteredModel

_TRIED_ROWS = 100
_LAZY = {
    "approve": ("mainspring.cli.approvals:approve", "Approve a version, with its evidence as it is now."),
    "reject": ("mainspring.cli.approvals:reject", "Reject a version, until you withdraw that."),
    "withdraw": ("mainspring.cli.approvals:withdraw", "Take back what you decided on a version."),
    "approvals": ("mainspring.cli.approvals:approvals", "Show whether a version is approved, and by whom."),
}


@click.group(cls=Group, default="list", lazy=_LAZY)
def models() -> None:
    """List models (the same as `models list`), look into versions, move aliases and stages, approve."""


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
    approval = approval_of(version, invocation.workspace)
    document = _document(version, aliases) | {"features": features, "approval": approval_document(approval)}
    invocation.show({"model": document}, lambda: _shown(version, aliases, features_read(features), approval))


@models.command("alias")
@click.argument("reference", metavar="MODEL/N|MODEL@ALIAS")
@click.argument("alias", default="")
@click.option("--note", default="", metavar="TEXT", help="Kept with the move.")
@click.option("--delete", is_flag=True, help="Remove MODEL@ALIAS.")
@click.option("--history", is_flag=True, help="List every move of MODEL@ALIAS, newest first.")
@click.pass_obj
def move_alias(invocation: Invocation, reference: str, alias: str, note: str, delete: bool, history: bool) -> None:
    """Make ALIAS point to a version. One that an endpoint serves is moved by `endpoints bind`."""
    from mainspring.models import alias_history, delete_alias, set_alias

    workspace, (name, _, given) = invocation.workspace, reference.partition("@")
    if bool(alias) is (delete or history) or (not alias and not given):
        raise click.UsageError(
            "Say MODEL/N and the alias that is to point to it, or MODEL@ALIAS with --delete or --history."
        )
    if history:
        moves = alias_history(name, given, workspace)
        invocation.show({"moves": msgspec.to_builtins(moves)}, lambda: _moves(moves))
    elif delete:
        delete_alias(name, given, note=note, workspace=workspace)
        invocation.show({"alias": given, "version": None}, f"{reference} is removed")
    else:
        moved = set_alias(reference, alias, note=note, workspace=workspace)
        invocation.show({"alias": alias, "version": str(moved)}, lambda: f"{moved.name}@{alias} is {moved}")


@models.command("rollback")
@click.argument("reference", metavar="MODEL@ALIAS")
@click.option("--note", default="", metavar="TEXT", help="Kept with the move.")
@click.pass_obj
def roll_back(invocation: Invocation, reference: str, note: str) -> None:
    """Make an alias point to what it pointed to before; again goes one further."""
    from mainspring.models import rollback

    moved = rollback(reference, note=note, workspace=invocation.workspace)
    invocation.show({"alias": reference, "version": str(moved)}, f"{reference} is {moved}")


@models.command("stage")
@click.argument("reference", metavar="MODEL/N")
@click.argument("stage")
@click.option("--archive-existing", is_flag=True, help="Archive the versions that are in the stage.")
@click.option("--note", default="", metavar="TEXT", help="Kept with the change.")
@click.pass_obj
def change_stage(invocation: Invocation, reference: str, stage: str, archive_existing: bool, note: str) -> None:
    """Bring a version into a STAGE: None, Staging, Production or Archived."""
    from mainspring.models import set_stage

    moved = set_stage(reference, stage, archive_existing=archive_existing, note=note, workspace=invocation.workspace)
    invocation.show({"version": str(moved), "stage": moved.stage}, f"{moved} is in {moved.stage}")


@models.command("tag")
@click.argument("reference", metavar="MODEL|MODEL/N")
@click.argument("tags", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.pass_obj
def tag_one(invocation: Invocation, reference: str, tags: tuple[str, ...]) -> None:
    """Set tags of a model (MODEL) or of a version (MODEL/N, MODEL@ALIAS); `KEY=` removes one."""
    from mainspring.models import delete_model_tag, delete_version_tag, set_model_tags, set_version_tags

    pairs = [tag.partition("=") for tag in tags]
    if any(not sign for _, sign, _ in pairs):
        raise click.UsageError("A tag is KEY=VALUE, or `KEY=` to remove it.")
    workspace, values = invocation.workspace, {key: value for key, _, value in pairs if value}
    gone = [key for key, _, value in pairs if not value]
    after: ModelVersion | RegisteredModel
    if _is_version(reference):
        after = set_version_tags(reference, values, workspace=workspace)
        for key in gone:
            after = delete_version_tag(after, key, workspace=workspace)
    else:
        after = set_model_tags(reference, values, workspace=workspace)
        for key in gone:
            after = delete_model_tag(reference, key, workspace=workspace)
    invocation.show({"tags": after.tags}, lambda: "\n".join(f"{key} = {value}" for key, value in after.tags.items()))


@models.command("delete")
@click.argument("reference", metavar="MODEL/N|MODEL")
@click.option("--note", default="", metavar="TEXT", help="Kept with the aliases that go.")
@click.pass_obj
def delete_one(invocation: Invocation, reference: str, note: str) -> None:
    """Delete a version, or a MODEL with all of them. What an endpoint serves is not deleted."""
    from mainspring.models import delete_model, delete_version

    if _is_version(reference):
        delete_version(reference, note=note, workspace=invocation.workspace)
    else:
        delete_model(reference, workspace=invocation.workspace)
    invocation.show({"deleted": reference}, f"{reference} is deleted; its record is kept")


@models.command("diff")
@click.argument("old", metavar="MODEL/N")
@click.argument("new", metavar="MODEL/N")
@click.pass_obj
def diff_two(invocation: Invocation, old: str, new: str) -> None:
    """Say what differs between two versions: signature, metrics, parameters, code, data, environment."""
    from mainspring.models import diff_versions

    found = diff_versions(old, new, workspace=invocation.workspace)
    rows = [[each.section, each.name, each.old or "", each.new or ""] for each in found.differences]
    invocation.show(
        msgspec.to_builtins(found),
        lambda: text.table(["of", "name", found.old, found.new], rows) if rows else "Nothing differs.",
    )


@models.command("card")
@click.argument("reference", metavar="MODEL/N|MODEL@ALIAS|MODEL")
@click.option("--html", "page", type=click.Path(dir_okay=False), metavar="FILE", help="Write the card as a page.")
@click.option("--section", default="", metavar="TITLE", help="Write this section: with --text, else from stdin.")
@click.option("--text", "written", default=None, metavar="TEXT", help="The section's text; empty removes it.")
@click.pass_obj
def show_card(invocation: Invocation, reference: str, page: str | None, section: str, written: str | None) -> None:
    """Show a version's model card in Markdown, or add to it."""
    from mainspring.models import extend_card, model_card

    if written is not None and not section:
        raise click.UsageError("Say which --section the text is for.")
    if section:
        said = sys.stdin.read() if written is None else written
        extend_card(reference, section, said, workspace=invocation.workspace)
    approval = {"approval": approval_facts(approval_of(reference, invocation.workspace))}
    card = model_card(reference, more=approval, workspace=invocation.workspace)
    if page:
        from mainspring.store.named_file import write_named

        write_named(page, card.to_html())
    invocation.show(msgspec.to_builtins(card), lambda: f"{card.version}: {page}" if page else card.to_markdown())


@models.command("allow-pickle")
@click.argument("reference", metavar="MODEL/N|MODEL@ALIAS")
@click.option("--note", default="", metavar="TEXT", help="Why it is trusted, or no longer; kept as an event.")
@click.option("--revoke", is_flag=True, help="Allow it no longer.")
@click.pass_obj
def allow_one(invocation: Invocation, reference: str, note: str, revoke: bool) -> None:
    """Allow the pickle of a version to be opened. It runs whatever code it holds: only if you trust who made it."""
    from mainspring.models import allow_pickle, revoke_pickle

    if revoke:
        version = revoke_pickle(reference, note=note, workspace=invocation.workspace)
    elif not note:
        raise click.UsageError("Say why it is trusted: --note TEXT.")
    else:
        version = allow_pickle(reference, note=note, workspace=invocation.workspace)
    said = f"the pickle of {version} is {'not allowed any more' if revoke else 'allowed'}"
    invocation.show({"version": str(version), "allowed": not revoke}, said)


@models.command("convert")
@click.argument("reference", metavar="MODEL/N|MODEL@ALIAS")
@click.option(
    "--example", default="", metavar="FILE|DATASET",
    help="Rows to try both on, instead of the version's example: the first 100 of a JSON, JSONL, CSV or Parquet file, or of "
    "a dataset.",
)  # fmt: skip
@click.option("--note", default="", metavar="TEXT", help="Kept with the new version.")
@click.pass_obj
def convert_one(invocation: Invocation, reference: str, example: str, note: str) -> None:
    """Store a pickled version anew without pickle, as the next version, if it answers its example the same."""
    from mainspring.models import convert_model, get_model_version

    version = get_model_version(reference, invocation.workspace)
    records = _example(invocation, example, version) if example else None
    made = convert_model(version, input_example=records, note=note, workspace=invocation.workspace)
    invocation.show(
        {"model": _document(made, [])},
        lambda: f"{made} is {made.source}, stored by {made.encoded and made.encoded.codec}",
    )


@models.command("export")
@click.argument("reference", metavar="MODEL/N|MODEL@ALIAS")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option(
    "--format", "form", type=click.Choice(["folder", "mlflow", "onnx"]), default="folder", show_default=True,
    help="A program with the model in its own format, an MLflow model, or the program with the ONNX graph.",
)  # fmt: skip
@click.pass_obj
def export_folder(invocation: Invocation, reference: str, folder: str, form: ExportForm) -> None:
    """Write a version as a folder that answers without Mainspring.

    It holds the model in its library's own format, predict.py, pins of what it needs, the card, and digests.
    """
    from mainspring.models import export_model

    made = export_model(reference, folder, form=form, workspace=invocation.workspace)
    rows = made.tried_rows + made.probes
    tried = f"answered {text.counted(rows, 'row')} alike" if rows else "no rows to try it on"
    invocation.show(
        msgspec.to_builtins(made), f"{made.version} is in {made.path}: {text.counted(len(made.files), 'file')}, {tried}"
    )


@models.command("onnx")
@click.argument("reference", metavar="MODEL/N|MODEL@ALIAS")
@click.option("--rtol", type=float, default=1e-5, show_default=True, help="How far a number may be off, relatively.")
@click.option("--atol", type=float, default=1e-6, show_default=True, help="How far a number may be off, absolutely.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write the graph here, too.")
@click.pass_obj
def make_graph(invocation: Invocation, reference: str, rtol: float, atol: float, output: str | None) -> None:
    """Make an ONNX graph of a version and keep it, if it answers all rows as the model does."""
    from mainspring.models import export_onnx, get_model_version, load_onnx

    workspace = invocation.workspace
    found = export_onnx(reference, rtol=rtol, atol=atol, workspace=workspace)
    if output:
        from mainspring.store.named_file import write_named

        write_named(output, load_onnx(get_model_version(found.version, workspace), workspace).model.data)
    slower = (
        f"from {found.native_faster_from:,} rows on" if found.native_faster_from else "at no size that was measured"
    )
    invocation.show(
        msgspec.to_builtins(found),
        lambda: (
            f"{found.version}: {text.counted(found.rows, 'row')} and {found.probes:,} made up answered alike, "
            f"off by {found.largest_error:.2g} at most; "
            f"the model itself is faster {slower}"
        ),
    )


def _example(invocation: Invocation, given: str, version: ModelVersion) -> list[dict[str, Any]]:
    from mainspring.cli.rows import first_rows
    from mainspring.errors import InvalidError

    fields = version.signature.inputs if version.signature else ()
    texts = [field.name for field in fields if field.dtype in ("str", "cat")]
    records = first_rows(invocation, given, count=_TRIED_ROWS, texts=texts)
    if not records:
        raise InvalidError("--example", given, "rows", "It has none.")
    return records


def _is_version(reference: str) -> bool:
    return "/" in reference or "@" in reference


def _moves(moves: list[AliasMove]) -> str:
    rows = [
        [
            text.moment(each.at),
            f"{each.from_number or '-'} → {each.to_number or '-'}",
            each.actor,
            each.note,
            (each.run or "")[:12],
        ]
        for each in moves
    ]
    return text.table(["moved", "version", "by", "note", "run"], rows, drop=["run"]) if rows else "It never moved."


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


def _shown(version: ModelVersion, aliases: list[Alias], features: str, approval: Approval) -> str:
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
            ("stage", version.stage if version.stage != "None" else ""),
            ("about", version.description),
            ("tags", "\n".join(f"{key} = {value}" for key, value in version.tags.items())),
            ("licence", version.licence),
            ("run", text.short(version.run) if version.run else ""),
            ("source", version.source),
            ("content", text.short(version.content_digest)),
            ("made", f"{text.moment(version.created_at)} by {version.actor}"),
            ("codec", f"{encoded.codec}, {text.size(encoded.size_bytes)}" if encoded else ""),
            ("needs", _needs(version)),
            ("not loaded", version.refusal),
            ("takes", inputs),
            ("features", features),
            ("gives", signature.output.kind if signature else ""),
            ("metrics", metrics),
            ("gates", gates),
            *approval_facts(approval).items(),
            ("note", version.note),
        ]
    )


def _needs(version: ModelVersion) -> str:
    needs = version.needs
    if needs is None or needs.unmeasured == version.refusal != "":
        return ""
    if needs.load_s is None:
        return f"not measured: {needs.unmeasured}"
    memory = "" if needs.memory_bytes is None else f", holds {text.size(needs.memory_bytes)} of memory"
    return f"loaded in {text.duration(needs.load_s)}{memory}"
