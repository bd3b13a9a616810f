"""What must hold before a version is promoted: rooms above register a guard for a table of the project's settings.

A guard is an entry point of the group `mainspring.promotion_guards` with the table's name. It is called in the transaction
of the promotion, and refuses it by raising. A table that no guard keeps refuses every promotion: silence is no approval.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import msgspec

from mainspring.errors import NotAllowedError
from mainspring.lazy import registered
from mainspring.models.version import ModelVersion
from mainspring.store import Transaction
from mainspring.workspace import Workspace

GROUP = "mainspring.promotion_guards"
TABLES = ("approval",)


class Promotion(msgspec.Struct, frozen=True):
    """A version that is to come under an alias or into a stage; `endpoint` serves the alias then, if one does."""

    version: ModelVersion
    kind: Literal["alias", "stage"]
    name: str
    endpoint: str | None = None

    def __str__(self) -> str:
        if self.kind == "stage":
            return f"the stage {self.name}"
        served = f", which the endpoint `{self.endpoint}` serves" if self.endpoint else ""
        return f"`{self.version.name}@{self.name}`{served}"


Guard = Callable[[Transaction, Workspace, Promotion], None]


def expect_promotable(tx: Transaction, workspace: Workspace, promotion: Promotion) -> None:
    """Refuse a promotion that a guard of the project's settings doesn't let pass.

    Raises:
        NotAllowedError: a guard refuses, with what is missing; or there is none for what the settings ask.
    """
    for table in TABLES:
        if workspace.project.settings.tables.get(table):
            guards = _guards(table)
            if not guards:
                raise NotAllowedError(
                    f"`{promotion.version}` can't become {promotion}: the settings have [{table}], and nothing that is"
                    " installed keeps it. Install mainspring anew: pip install --force-reinstall --no-deps mainspring"
                )
            for guard in guards:
                guard(tx, workspace, promotion)


@lru_cache
def _guards(table: str) -> tuple[Any, ...]:
    return tuple(registered(GROUP, table))
