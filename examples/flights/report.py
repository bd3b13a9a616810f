"""The demo's report: what the pipeline found, what the endpoint answered, and where it all came from."""

import calendar
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
from flights.features import NEW_YORK
from flights.live import ASKED_AT
from flights.months import APART, DATASET, Delivery
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

import mainspring as ms
from mainspring.data import Report
from mainspring.evaluation import Approval, Calibration, Comparison, Evaluation, Fairness, GateReport
from mainspring.features import TrainingSet
from mainspring.models import AliasMove, ModelCard
from mainspring.pipelines import RunResult
from mainspring.serving.feedback import labelled
from mainspring.stats import Interval

WIDTH = 100
WORST, BEST = 2, 3
DIGITS = 16
WRAPPED = ("not passed", "asked")


class Page:
    """Sections on the terminal, at most 100 columns wide; plain when nobody watches."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.console.width = min(self.console.width, WIDTH) if sys.stdout.isatty() else WIDTH

    def section(self, title: str, *blocks: object) -> None:
        """A heading and what stands below it."""
        with self.console.capture() as drawn:
            self.console.print()
            self.console.print(Rule(Text(title, "bold"), align="left", characters="─", style="dim"))
            for block in blocks:
                self.console.print(Padding(block, (0, 0, 0, 2)))
        print("\n".join(line.rstrip() for line in drawn.get().splitlines()), flush=True)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, soft_wrap=True)


def of_the_run(page: Page, result: RunResult) -> None:
    """Data, checks, evaluation and gates of a run, with how many of its steps came from the cache."""
    reports, evaluations = result.output("checks"), result.output("evaluations")
    page.section(_ran(result))
    page.section("Data", _left_out(reports, result), "", _parts(result))
    page.section("Checks", _checks(reports))
    page.section("Features, as they were known before each flight", *_known(result.output("training_set")))
    page.section("Tuning: the best of few trials, each on a part of the rows", _tried(result.output("trials")))
    page.section(f"Evaluation of {result.output('version')}", _metrics(evaluations), *_worst(evaluations[-1]))
    comparison = result.output("comparison")
    page.section(f"Against {_the(comparison.champion)}, on the same {comparison.rows:,} flights", _compared(comparison))
    judged = [result.output(name) for name in ("honest", "fair", "cost")]
    page.section(
        "Calibration, fairness, cost", _judged(*judged, size_bytes=result.output("version").encoded.size_bytes)
    )
    page.section(f"Gates, the last of them: no worse than {_the(comparison.champion)}", _gates(result.output("gates")))


def _ran(result: RunResult) -> str:
    """How the run went, in a line."""
    count, seconds = len(result.tasks), result.run.duration_s
    cached = sum(task.state.value == "reused" for task in result.tasks)
    took = f"{seconds:.1f} s" if seconds >= 1 else f"{1_000 * seconds:.0f} ms"
    whence = f"all {count} steps came" if cached == count else f"{cached} of {count} steps came"
    told = f"{whence} from the cache, in {took}" if cached else f"{count} steps ran in {took}"
    return f"Run {result.id[:12]}: {told}"


def _left_out(reports: list[Report], result: RunResult) -> str:
    rows = {report.subject.partition("/")[0]: report.rows for report in reports}
    arrived = result.output("parts")["flights"].sum()
    return (
        f"{rows['flights']:,} flights came in, {rows['flights'] - arrived:,} that never arrived were dropped, "
        f"{arrived:,} are left, joined with {rows['weather']:,} hours of weather and {rows['planes']:,} planes."
    )


def _parts(result: RunResult) -> Table:
    table = _table("part", "months", ">flights", ">late")
    for part in result.output("parts").iter_rows(named=True):
        first, last = (calendar.month_abbr[part[month]] for month in ("first_month", "last_month"))
        months = first if first == last else f"{first}–{last}"
        table.add_row(part["part"], months, f"{part['flights']:,}", f"{100 * part['late_share']:.1f} %")
    return table


def _checks(reports: list[Report]) -> Table:
    table = _table("dataset", ">rows", ">passed", "not passed")
    for report in reports:
        passed = f"{len(report.results) - len(report.failed)} of {len(report.results)}"
        colour = "yellow" if report.passed else "red"
        failed = "\n".join(" ".join(str(check).split()) for check in report.failed)
        table.add_row(report.subject, f"{report.rows:,}", passed, Text(failed, colour))
    return table


def _known(made: TrainingSet) -> list[object]:
    told = f"{len(made.features)} features of {made.service} for {made.frame.height:,} flights, each as of its hour:"
    table = _table("view", "source", ">found", ">would have seen what nobody knew yet")
    for view in {report.view: report for report in made.reports}.values():
        leaked = f"{view.guard.changed:,} flights" if view.guard.possible else f"[dim]{view.guard.why}[/dim]"
        table.add_row(view.view, view.source, f"{100 * (view.coverage or 0):.1f} %", leaked)
    return [told, "", table]


def _tried(trials: pl.DataFrame) -> Table:
    """The best trials; of all, how many."""
    *params, metric = trials.columns[1:]
    table = _table(f"of {trials.height} trials", *(f">{name}" for name in params), f">{metric}")
    for trial in trials.sort(metric, descending=True).head(BEST).iter_rows(named=True):
        given = (f"{trial[name]:.4g}" for name in params)
        table.add_row(f"trial {trial['trial']}", *given, f"{trial[metric]:.4f}")
    return table


def _metrics(evaluations: list[Evaluation]) -> Table:
    usual, *models = evaluations
    table = _table("", ">baseline on test", *(f">on {each.subject}" for each in models), "95 % confidence")
    for name, higher in usual.higher_is_better.items():
        arrow = f"[dim]{'↑' if higher else '↓'}[/dim]"
        values = (f"{each.metrics[name]:.4f}" for each in evaluations)
        table.add_row(f"{name} {arrow}", *values, _between(models[-1].intervals.get(name)))
    return table


def _worst(evaluation: Evaluation) -> list[object]:
    metric, overall = next(iter(evaluation.metrics.items()))
    table = _table(f"worst slices of {evaluation.subject}", ">flights", f">{metric}", ">against all", "95 % confidence")
    for name in dict.fromkeys(each.slice for each in evaluation.slices):
        of_it = [each for each in evaluation.slices if each.slice == name and each.metrics[metric] < overall]
        for each in sorted(of_it, key=lambda each: each.metrics[metric])[:WORST]:
            value = each.metrics[metric]
            label, sure = f"{name}={each.value}", _between(each.intervals.get(metric))
            table.add_row(label, f"{each.rows:,}", f"{value:.4f}", f"{value - overall:+.4f}", sure)
    return ["", table]


def _compared(comparison: Comparison) -> Table:
    names = (f">{comparison.candidate}", f">{comparison.champion}")
    table = _table("", "metric", *names, ">difference", "95 % confidence", "verdict")
    colours = {"better": "green", "worse": "bold red", "undecided": "yellow"}
    for each in comparison.differences:
        values = (f"{value:.4f}" for value in (each.candidate, each.champion))
        verdict = Text(each.verdict, colours[each.verdict])
        table.add_row(each.where, each.metric, *values, f"{each.difference:+.4f}", _between(each.interval), verdict)
    return table


def _judged(honest: Calibration, fair: Fairness, cost: pl.DataFrame, *, size_bytes: int) -> Table:
    """What was found, a line each: of fairness the gaps between groups, with who is on either side."""
    table = _table("", ">value", "", header=False)
    table.add_row("calibration error", f"{honest.error:.4f}", f"predicted minus happened: {honest.bias:+.4f}")
    for gap in fair.gaps:
        sides = f"{_between(gap.interval)}, {gap.highest} above {gap.lowest}"
        table.add_row(f"{gap.name.replace('_', ' ')} gap", f"{gap.value:.4f}", sides)
    for each in cost.iter_rows(named=True):
        about = "a flight" if each["flights"] == 1 else f"{each['flights']} flights"
        table.add_row(f"an answer for {about}", f"{each['p50_ms']:.1f} ms", f"95 of 100 within {each['p95_ms']:.1f} ms")
    table.add_row("stored model", f"{size_bytes / 1_000:,.0f} kB", "")
    return table


def _gates(report: GateReport) -> Table:
    table = _table("", "gate", ">value", "asked")
    for gate in report.reasons:
        state = "[green]pass[/green]" if gate.passed else "[bold red]FAIL[/bold red]"
        table.add_row(state, gate.subject, f"{gate.value:.4f}", gate.asked)
    return table


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"


def _the(champion: str) -> str:
    return f"the {champion}" if champion == "baseline" else f"the champion {champion}"


def of_the_promotion(page: Page, approval: Approval, move: AliasMove, target: str) -> None:
    """Who approved the version, what that rests on, and that it was promoted."""
    policies = ", ".join(f"`{name}`" for name in approval.policies)
    lines = [f"By the policy {policies}, under which here, with one person only, an author may approve:"]
    lines += [f"  {reason}" for reason in dict.fromkeys(approval.reasons)]
    lines += [f"  “{each.comment}”" for each in approval.decisions if each.state == "standing"]
    lines.append(f"It holds for this content and evidence ({approval.evidence[:DIGITS]}); a change of either ends it.")
    before = f"version {move.from_number}" if move.from_number else "none"
    lines.append(f"{target} is version {move.to_number} (before: {before}), moved by {move.actor}: {move.note}")
    page.section(f"Approval and promotion of {approval.version}", Text("\n".join(lines)))


def of_the_card(page: Page, card: ModelCard, file: Path) -> None:
    """What the model card holds: facts by section, and what people wrote."""
    facts = ", ".join(f"{name} ({len(rows)})" for name, rows in card.facts.items())
    table = _table("", "not passed", header=False)
    table.add_row("facts", facts)
    for note in card.notes:
        table.add_row(note.title.lower(), note.text)
    page.section(f"Model card of {card.version}, a page in {file.name}", table)


def of_the_endpoint(
    page: Page, title: str, flights: list[dict], answers: list[float], *, url: str, seconds: float
) -> None:
    """What was answered for later flights, held against what happened."""
    ranked = sorted(zip(answers, flights, strict=True), key=lambda pair: pair[0])
    told = (
        f"{len(flights):,} flights of {_span(flights)}: those that were to leave New York from {ASKED_AT}:00"
        f" to {ASKED_AT}:59 and arrived, a request a day. Asked at {url} in {seconds:.1f} s. A few, safest first:"
    )
    few = _table("flight", "departs", ">predicted late", ">arrived", "")
    for place in (0, 0.2, 0.4, 0.6, 0.8, 1):
        answer, flight = ranked[round(place * (len(ranked) - 1))]
        name = f"{flight['carrier']} {flight['flight']}  {flight['origin']}–{flight['dest']}"
        departs = f"{flight['time_hour'].astimezone(ZoneInfo(NEW_YORK)):%d %b %H:00}"
        came = "[red]late[/red]" if flight["late"] else "[green]on time[/green]"
        few.add_row(name, departs, f"{100 * answer:.0f} %", f"{flight['arr_delay']:+.0f} min", came)
    fifths = _table("all of them", ">flights", ">predicted late", ">came late")
    borders = [round(part * len(ranked) / 5) for part in range(6)]
    names = ("safest fifth", "second", "third", "fourth", "likeliest fifth")
    for name, (start, end) in zip(names, pairwise(borders), strict=True):
        said = sum(answer for answer, _ in ranked[start:end]) / (end - start)
        late = sum(flight["late"] for _, flight in ranked[start:end]) / (end - start)
        fifths.add_row(name, f"{end - start:,}", f"{100 * said:.0f} %", f"{100 * late:.0f} %")
    page.section(title, told, "", few, "", fifths)


def _span(flights: list[dict]) -> str:
    """The days of the first and the last flight, and how many days there are."""
    days = {flight["time_hour"].astimezone(ZoneInfo(NEW_YORK)).date() for flight in flights}
    return f"{len(days)} days, {min(days):%d %b} to {max(days):%d %b}"


def of_the_labels(page: Page, predictions: list[str], endpoint: str) -> None:
    """The labels of these predictions, as the record has them: how late they came, and what they say."""
    wait = (pl.col("label_known_at") - pl.col("features_at")).alias("wait")
    is_theirs = pl.col("id").is_in(predictions) & pl.col("label").is_not_null()
    logged = labelled(endpoint).filter(is_theirs).select("output", "label", wait).collect()
    waits = logged["wait"].sort().to_list()
    told = (
        f"{len(waits):,} labels came, each when its flight had arrived: the first {_hours(waits[0])} after it was asked about,"
        f" half of them within {_hours(waits[len(waits) // 2])}, the last after {_hours(waits[-1])}."
    )
    late, rank = logged["label"], logged["output"].rank()
    area = (rank.filter(late).sum() - late.sum() * (late.sum() + 1) / 2) / (late.sum() * (~late).sum())
    joined = (
        f"Joined to the log, {late.len():,} predictions have one: {100 * logged['output'].mean():.1f} % predicted late,"
        f" {100 * late.mean():.1f} % came late, roc_auc {area:.4f}."
    )
    page.section("Labels, as late as they were", told, joined)


def of_the_batch(page: Page, name: str, flights: list[dict], answers: list[float]) -> None:
    """A month in batch, and the flights of it that were asked about over HTTP."""
    version = ms.dataset(name).latest()
    month = version.to_polars().select("time_hour", "carrier", "flight", "prediction")
    served = pl.DataFrame([{key: flight[key] for key in ("time_hour", "carrier", "flight")} for flight in flights])
    both = served.with_columns(answer=pl.Series(answers)).join(
        month, on=["time_hour", "carrier", "flight"], how="inner"
    )
    same = (both["answer"] == both["prediction"]).sum()
    told = f"{version.rows:,} flights as {version}, with the features as they were known at the hour of each."
    beside = f"Of the {both.height:,} of them asked about over HTTP, {same:,} have the same answer, bit for bit."
    page.section("A month in batch", told, beside)


def of_the_explanation(page: Page, flight: dict, found: dict) -> None:
    """What one prediction came from: its answer and label, some features as they were read, and the files behind it all."""
    name = f"{flight['carrier']} {flight['flight']} {flight['origin']}–{flight['dest']}"
    label = next((each["label"] for each in found["labels"] if each["counts"]), None)
    came = {True: "It came late", False: "It was on time", None: "It has no label yet"}[label]
    answered = f"{name}: {100 * found['prediction']['output']:.0f} % late, said {found['model']}. {came}."
    made = f"{found['model']} was made by {found['run']['task_name']} of run {found['run']['id'][:12]}."
    sources = {view["view"]: view["dataset_version"] or f"stream {view['source']}" for view in found["views"]}
    features = _table("a feature of each view", ">as it was read", "of", "from")
    shown = set()
    for each in found["features"]:
        if each["value"] is not None and not shown & set(each["views"]):
            shown |= set(each["views"])
            known = dict.fromkeys(sources[view] for view in each["views"] if view in sources)
            features.add_row(each["name"], f"{each['value']:,.2f}", ", ".join(each["views"]), ", ".join(known))
    files = _table("raw file", "digest")
    for source in found["sources"]:
        if source["kind"] == "source_file":
            files.add_row(Path(source["label"]).name, source["content_digest"][:DIGITS])
    page.section(f"The prediction {found['id']} explained", answered, made, "", features, "", files)


def _hours(wait: timedelta) -> str:
    return f"{wait // timedelta(hours=1)} h {wait % timedelta(hours=1) // timedelta(minutes=1):02} min"


def of_the_parity(page: Page, found: dict, asked: int) -> None:
    """Whether the features that were served are those that the offline path gives, bit for bit."""
    table = _table("view", ">served", ">the same bits", ">differ", ">behind what was known")
    for view in found["views"]:
        differ = f"{view['mismatched']:,}" if view["mismatched"] else "[green]0[/green]"
        table.add_row(view["view"], f"{view['vectors']:,}", f"{view['verified']:,}", differ, f"{view['stale']:,}")
    before = ", in this demo and those before," if found["vectors"] > asked else ""
    told = f"{found['vectors']:,} vectors were read for the flights{before} and computed again from the datasets:"
    page.section("Parity of training and serving", told, "", table)


def of_the_months(page: Page, deliveries: list[Delivery]) -> None:
    """Months that arrive one by one: those that were taken in a line, each broken one with what its checks said."""
    taken = [each for each in deliveries if each.verdict != "stopped"]
    rows = sum(each.rows for each in taken)
    head = (
        f"{len(deliveries)} files came in; {len(taken)} became versions of `{DATASET}`, {rows:,} rows. Of the others:"
    )
    table = _table("delivery", "", "not passed")
    for each in deliveries:
        if each.verdict == "stopped":
            table.add_row(each.file, "[red]stopped[/red]", Text(each.why))
        elif each.apart:
            told = f"{each.apart:,} rows are in `{APART}`, {each.rows:,} in {each.version}"
            table.add_row(each.file, "[yellow]rows set apart[/yellow]", told)
    page.section("Months arriving one by one, some of them broken", head, "", table)


def of_the_lineage(page: Page, endpoint: str, walked: dict) -> None:
    """The short form of a lineage: from the endpoint over the model and its data to the digests of the raw files."""
    nodes = {node["id"]: node for node in walked["nodes"]}
    ends: dict[tuple[str, str], list[dict]] = {}
    for edge in walked["edges"]:
        ends.setdefault((edge["src"], edge["role"]), []).append(nodes[edge["dst"]])

    def end(node: dict, role: str) -> dict:
        return ends[node["id"], role][0]

    version = end({"id": walked["start"]}, "binds")
    maker = end(version, "made_by")
    run = end(maker, "part_of")
    tree = Tree(f"endpoint [bold]{endpoint}[/bold]", guide_style="dim")
    below = tree.add(f"model [bold]{version['label']}[/bold], made by {maker['label']}{_digest(version)}")
    below = below.add(f"run [bold]{run['id'][:12]}[/bold] of the code{_digest(end(run, 'ran'))}")
    for data in sorted(
        (node for node in nodes.values() if node["kind"] == "dataset_version"), key=lambda n: n["label"]
    ):
        made_by = end(data, "made_by")["label"]
        branch = below.add(f"data [bold]{data['label']}[/bold], made by {made_by}{_digest(data)}")
        for source in ends.get((data["id"], "read_from"), ()):
            branch.add(f"{Path(source['label']).name}{_digest(source)}")
    page.section("Lineage, to the digests of the raw files", tree)


def _digest(node: dict) -> str:
    return f"  [dim]{node['content_digest'][:DIGITS]}[/dim]"


def _table(*columns: str, header: bool = True) -> Table:
    """Columns without lines; `>` before a name puts it to the right."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False, show_header=header)
    for name in columns:
        wraps = name in WRAPPED
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=not wraps)
    return table
