"""The model card: what is known of a version, and what people add to it. Nothing of it changes the version's content."""

from __future__ import annotations

from html import escape

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError
from mainspring.ledger import current_actor, is_replay
from mainspring.models._rules import check_text
from mainspring.models.provenance import Facts, facts_of
from mainspring.models.registry import get_model_version, model_store
from mainspring.models.version import ModelVersion
from mainspring.workspace import Workspace, current_workspace

ASKED = ("Intended use", "Limits", "Ethics")
"""What a card asks people for."""
_LONGEST_TITLE = 100
_MOST_DISTRIBUTIONS = 12
_STYLE = (
    "body{font:16px/1.5 system-ui;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.15rem 1.5rem .15rem 0;vertical-align:top}"
    "p{white-space:pre-wrap}.open{color:#888}"
)


class Note(msgspec.Struct, frozen=True):
    """A section that somebody wrote; `written_at` is in microseconds since 1970."""

    title: str
    text: str
    written_at: int
    actor: str


class ModelCard(msgspec.Struct, frozen=True):
    """A version's facts by section, its gates with their reasons, and people's sections in their order."""

    version: str
    made: str
    description: str
    facts: Facts
    gates: tuple[tuple[bool, str], ...]
    slices: tuple[tuple[str, dict[str, str]], ...]
    notes: tuple[Note, ...]

    def to_markdown(self) -> str:
        """The card as Markdown; what people wrote is theirs, everything else is escaped."""
        parts = [f"# {_plain(self.version)}", _plain(self.made), *([self.description] if self.description else [])]
        written = {note.title: note.text for note in self.notes}
        for title, rows in self._tables():
            lines = [f"| {_plain(name)} | {_plain(value)} |" for name, value in rows.items()]
            parts.append("\n".join([f"## {title}", "", "| | |", "| --- | --- |", *lines]))
        parts += [
            f"## {_plain(title)}\n\n{written.get(title) or '*Not stated.*'}"
            for title in {**dict.fromkeys(ASKED), **written}
        ]
        return "\n\n".join(parts) + "\n"

    def to_html(self) -> str:
        """The card as a page without script or anything from elsewhere; everything is escaped."""
        written = {note.title: note.text for note in self.notes}
        tables = "".join(
            f"<h2>{escape(title)}</h2><table>"
            + "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows.items())
            + "</table>"
            for title, rows in self._tables()
        )
        said = "".join(
            f"<h2>{escape(title)}</h2>"
            + (f"<p>{escape(written[title])}</p>" if written.get(title) else "<p class=open>Not stated.</p>")
            for title in {**dict.fromkeys(ASKED), **written}
        )
        return (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(self.version)}</title><style>{_STYLE}</style>"
            f"<h1>{escape(self.version)}</h1><p>{escape(self.made)}</p><p>{escape(self.description)}</p>{tables}{said}</html>"
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def _tables(self) -> list[tuple[str, dict[str, str]]]:
        facts = [(section.capitalize(), rows) for section, rows in self.facts.items() if section != "environment"]
        gates = {f"{place + 1}": f"{'passed' if ok else 'FAILED'}: {why}" for place, (ok, why) in enumerate(self.gates)}
        slices = {
            name: ", ".join(f"{metric} {value}" for metric, value in values.items()) for name, values in self.slices
        }
        environment = self.facts.get("environment", {})
        shown = dict(list(environment.items())[:_MOST_DISTRIBUTIONS])
        if len(environment) > len(shown):
            shown["…"] = f"{len(environment) - len(shown)} more distributions"
        everything = [*facts, ("Slices", slices), ("Gates", gates), ("Environment", shown)]
        return [(title, rows) for title, rows in everything if rows]


def model_card(ref: str | ModelVersion, *, more: Facts | None = None, workspace: Workspace | None = None) -> ModelCard:
    """The card of a version: its facts now, and what people wrote; raises `NotFoundError`.

    `more` are facts of rooms above, by section, as whether it is approved.
    """
    workspace = workspace or current_workspace()
    version = get_model_version(ref, workspace)
    results = (version.gates or {}).get("reasons", ())
    made = f"Made {clock.from_us(version.created_at).isoformat(timespec='seconds')} by {version.actor}."
    return ModelCard(
        str(version), made, version.description, facts_of(version, workspace) | (more or {}),
        tuple((bool(each["passed"]), str(each["reason"])) for each in results), _slices(version),
        notes_of(version, workspace),
    )  # fmt: skip


def notes_of(version: ModelVersion, workspace: Workspace) -> tuple[Note, ...]:
    """What people wrote on the card of a version, oldest first."""
    rows = workspace.database.query(
        "SELECT section, text, written_at, actor FROM model_card WHERE version = ? ORDER BY written_at, section",
        (version.id,),
    )
    return tuple(Note(*row) for row in rows)


def extend_card(ref: str | ModelVersion, title: str, text: str, *, workspace: Workspace | None = None) -> ModelCard:
    """Write a section of a version's card, in place of one of that title; an empty text removes it.

    What it said before stays in the ledger. In a replay nothing is written.

    Raises:
        NotFoundError: no such version.
        InvalidError: the title is none, or the text is too long.
    """
    store, version = model_store(workspace), get_model_version(ref, workspace)
    title = title.strip()
    if not title or len(title) > _LONGEST_TITLE or not title.isprintable():
        raise InvalidError("section", title, f"a title of 1 to {_LONGEST_TITLE} characters on one line")
    check_text(f"section {title}", text)
    if not is_replay():
        with store.database.transaction() as tx:
            tx.execute("DELETE FROM model_card WHERE version = ? AND section = ?", (version.id, title))
            if text:
                written = (version.id, title, text, clock.now_us(), str(current_actor()))
                tx.execute("INSERT INTO model_card VALUES (?, ?, ?, ?, ?)", written)
            store.ledger.append(tx, "model_version.card", version.id, {"section": title, "text": text})
    return model_card(version, workspace=workspace)


def _slices(version: ModelVersion) -> tuple[tuple[str, dict[str, str]], ...]:
    """The evaluation's slices with their metrics, as far as it was kept in the form that evaluations have."""
    found = (version.evaluation or {}).get("slices", ())
    return tuple(
        (
            f"{each.get('slice')} = {each.get('value')}",
            {str(key): f"{value:.4g}" for key, value in each["metrics"].items() if value is not None},
        )
        for each in found
        if isinstance(each, dict) and isinstance(each.get("metrics"), dict)
    )


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|" else char for char in line)
