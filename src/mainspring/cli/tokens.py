"""`mainspring tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

if TYPE_CHECKING:
    from mainspring.server import Token, TokenStore
    from mainspring.workspace import Workspace


@click.group(cls=Group, default="list")
def tokens() -> None:
    """List tokens of people (the same as `tokens list`), make and revoke them."""


@tokens.command("list")
@click.pass_obj
def list_tokens(invocation: Invocation) -> None:
    """List tokens, newest first, without their secrets."""
    found = _store(invocation.workspace).list()
    rows = [
        [each.id, each.name, ", ".join(each.roles), text.moment(each.created_at), _until(each), each.state]
        for each in found
    ]
    columns = ["id", "name", "roles", "made", "expires", "state"]
    invocation.show(
        {"tokens": [_document(each) for each in found]},
        lambda: text.table(columns, rows) if rows else "No tokens. `mainspring tokens create NAME` makes one.",
    )


@tokens.command("create")
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, metavar="ROLE",
    help="Decide on versions in this role only; may be given several times.",
)  # fmt: skip
@click.option("--expires", "days", type=float, metavar="DAYS", help="Admit for so many days; for good unless given.")
@click.pass_obj
def create_token(invocation: Invocation, name: str, roles: tuple[str, ...], days: float | None) -> None:
    """Make a token for the person NAME, and show it, which is done once."""
    made, secret = _store(invocation.start_in(invocation.project)).create(name, roles=roles, expires_days=days)
    told = f"{secret}\nIt is shown this once. Clients bear it as MLFLOW_TRACKING_TOKEN, or `Authorization: Bearer`."
    invocation.show({"token": _document(made), "secret": secret}, told)


@tokens.command("revoke")
@click.argument("token_id", metavar="ID")
@click.pass_obj
def revoke_token(invocation: Invocation, token_id: str) -> None:
    """Let the token of this ID admit no longer."""
    gone = _store(invocation.workspace).revoke(token_id)
    invocation.show({"token": _document(gone)}, f"Revoked {gone.id} of {gone.name}.")


def _store(workspace: Workspace) -> TokenStore:
    from mainspring.server import TokenStore

    return TokenStore(workspace.database, workspace.ledger)


def _document(token: Token) -> dict[str, object]:
    import msgspec

    document: dict[str, object] = msgspec.to_builtins(token)
    return document | {"state": token.state}


def _until(token: Token) -> str:
    return text.moment(token.expires_at) if token.expires_at is not None else "never"
