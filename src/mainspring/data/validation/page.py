"""A validation report as HTML: one page without any other file, in the reader's light or dark colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mainspring.data.validation.report import CheckResult, Report
from mainspring.errors import counted

_WORDS = {"ok": "passed", "stop": "stop", "quarantine": "quarantine", "warn": "warning"}
_ORDER = ("stop", "quarantine", "warn", "ok")
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6675;--paper:#fff;--card:#f6f7f9;--line:#dde1e7;--ok:#1a7f4b;
--stop:#c0293b;--quarantine:#a15c00;--warn:#7a6a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa4b2;--paper:#14181d;--card:#1c2229;--line:#323a45;
--ok:#4cc38a;--stop:#ff7b86;--quarantine:#f5a95b;--warn:#dcc94d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:2rem 1.25rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{margin:.25rem 0;color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.25rem 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem 1rem;min-width:7rem}
.tile b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:.85rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.45rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:.8rem}td.n{white-space:nowrap;font-variant-numeric:tabular-nums}
.ok{color:var(--ok)}.stop{color:var(--stop)}.quarantine{color:var(--quarantine)}.warn{color:var(--warn)}
.badge{font-weight:600;white-space:nowrap}
.bar{width:8rem;height:.5rem;border-radius:.25rem;background:var(--line);margin-top:.35rem;overflow:hidden}
.bar i{display:block;height:100%;background:currentColor}
details{margin-top:.3rem}summary{cursor:pointer;color:var(--soft);font-size:.85rem}
details table{width:auto;margin-top:.3rem;font:13px ui-monospace,monospace}details td,details th{padding:.15rem .6rem}
.null{color:var(--soft);font-style:italic}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
"""


def page(reports: Sequence[Report]) -> str:
    """One page about some reports, in their order."""
    title = escape(", ".join(report.subject for report in reports))
    body = "".join(_section(report) for report in reports)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Validation of {title}</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def fragment(report: Report) -> str:
    """A report for a notebook, which has colours of its own."""
    rows = "".join(
        f"<tr><td>{_state(result)}</td><td>{escape(result.check.name)}</td><td>{escape(result.finding)}</td>"
        f"<td>{escape('; '.join(map(str, result.examples[:3])))}</td></tr>"
        for result in report.results
    )
    head = "<tr><th></th><th>check</th><th>found</th><th>examples</th></tr>"
    return f"<b>{escape(report.subject)}</b> {counted(report.rows, 'row')}<table>{head}{rows}</table>"


def _state(result: CheckResult) -> str:
    return "ok" if result.passed else "stop" if result.stops else result.check.severity


def _section(report: Report) -> str:
    ordered = sorted(report.results, key=lambda result: (_ORDER.index(_state(result)), -result.share))
    head = "<tr><th>outcome</th><th>check</th><th>found</th><th>share of rows</th></tr>"
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return (
        f"<h1>{escape(report.subject)}</h1><p>{_verdict(report)}</p>{_tiles(report)}"
        f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(map(_row, ordered))}</tbody></table></div>'
        + (f"<h2>Not checked</h2><ul>{notes}</ul>" if notes else "")
    )


def _verdict(report: Report) -> str:
    said = {
        "stopped": "A check stops this table: it is not fit for use.",
        "quarantined": "Fit for use once the failing rows are set apart.",
        "warned": "Fit for use; some checks ask for a look.",
        "passed": "Every check passed.",
    }
    return said[report.verdict]


def _tiles(report: Report) -> str:
    counts = {state: sum(_state(result) == state for result in report.results) for state in _ORDER}
    tiles = [(f"{report.rows:,}", "rows" if report.rows != 1 else "row", "")]
    tiles += [(f"{counts[state]:,}", _WORDS[state], state) for state in ("ok", *_ORDER[:3]) if counts[state]]
    return f'<div class="tiles">{"".join(_tile(*tile) for tile in tiles)}</div>'


def _tile(value: str, word: str, state: str) -> str:
    return f'<div class="tile {state}"><b>{value}</b><span>{word}</span></div>'


def _row(result: CheckResult) -> str:
    state = _state(result)
    against = f"<p>against <code>{escape(result.against)}</code></p>" if result.against else ""
    return (
        f'<tr><td class="badge {state}">{_WORDS[state]}</td><td><code>{escape(result.check.name)}</code>{against}'
        f"{_examples(result.examples)}</td><td>{escape(result.finding)}</td>"
        f'<td class="n {state}">{_bar(result)}</td></tr>'
    )


def _bar(result: CheckResult) -> str:
    if not result.failing:
        return ""
    percent = 100 * result.share
    return f'{percent:.3g} %<div class="bar"><i style="width:{max(percent, 1.5):.4g}%"></i></div>'


def _examples(examples: Iterable[dict[str, object]]) -> str:
    rows = list(examples)
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in names) + "</tr>" for row in rows)
    opened = " open" if len(rows) <= 5 else ""
    return f"<details{opened}><summary>{counted(len(rows), 'example')}</summary><table><tr>{head}</tr>{body}</table></details>"


def _cell(value: object) -> str:
    return '<span class="null">null</span>' if value is None else escape(str(value))
