"""One report of all that is known: as data, as text, and as a page that needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.evaluation import (
    EvaluationReport,
    Gate,
    calibration,
    compare,
    curves,
    decide,
    evaluate,
    fairness,
    measure_cost,
    robustness,
)
from mainspring.evaluation._svg import Mark, bars, forest

ROWS = 400
GENERATOR = np.random.default_rng(2)
TRUTH = GENERATOR.integers(0, 2, ROWS)
SCORE = np.clip(0.25 + TRUTH * 0.4 + GENERATOR.normal(0, 0.2, ROWS), 0, 1)
FRAME = pl.DataFrame({"score": SCORE, "<part>": ["a&b", "c", "d", "e"] * 100})


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    evaluation = evaluate(TRUTH, SCORE, ["roc_auc", "brier"], slices=["<part>"], frame=FRAME, bootstrap=50)
    comparison = compare(TRUTH, SCORE, SCORE[::-1], ["roc_auc"], slices=["<part>"], frame=FRAME, bootstrap=50)
    fair = fairness(TRUTH, SCORE, "<part>", frame=FRAME, bootstrap=50)
    return EvaluationReport(
        evaluation,
        gates=decide(
            evaluation, [Gate("roc_auc", at_least=0.5), Gate("demographic_parity_gap", at_most=0.0)], evidence=[fair]
        ),
        comparison=comparison,
        curves=curves(TRUTH, SCORE),
        calibration=calibration(TRUTH, SCORE, bootstrap=20),
        fairness=fair,
        robustness=robustness(lambda frame: frame["score"].fill_null(0.5), FRAME, TRUTH, "roc_auc", repeats=1),
        cost=measure_cost(lambda frame: frame["score"], FRAME, calls=2),
        title="<Report>",
    )


class Tags(HTMLParser):
    """Which tags a page opens and has not closed, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_page_is_whole_and_stands_alone(report: EvaluationReport, tmp_path: Path) -> None:
    page = report.write_html(tmp_path / "report.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert (tags.open, tags.loads) == ([], [])
    assert "<script" not in page
    assert "&lt;part&gt;=a&amp;b" in page
    plots = re.findall(r"<svg.*?</svg>", page)
    assert len(plots) == 7
    assert all(ElementTree.fromstring(plot).tag.endswith("svg") for plot in plots)
    assert "iframe" in report._repr_html_()


def test_the_report_is_data_and_text(report: EvaluationReport) -> None:
    assert msgspec.json.decode(msgspec.json.encode(report), type=EvaluationReport) == report
    headings = ["Gates", "Metrics", "Against the champion", "Calibration", "Fairness", "Robustness", "Cost"]
    assert [line for line in str(report).splitlines() if line in headings] == headings
    assert "FAIL  demographic_parity_gap" in str(report)


def test_a_report_shows_only_what_is_there() -> None:
    bare = EvaluationReport(evaluate([0, 1], [0.2, 0.9], ["brier"]))
    assert str(bare).splitlines()[0] == "Metrics"
    assert "<svg" not in bare.to_html()


def test_curves_end_in_their_corners_and_are_thin() -> None:
    found = curves(np.append(TRUTH, [0, 1]), np.append(SCORE, [0.5, 0.5]))
    assert (found.roc[0], found.roc[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert found.precision_recall[-1][0] == 1.0
    assert len(found.roc) <= 201
    area = np.trapezoid(
        [point[1] for point in curves(TRUTH, SCORE).roc], [point[0] for point in curves(TRUTH, SCORE).roc]
    )
    assert area == pytest.approx(evaluate(TRUTH, SCORE, ["roc_auc"]).value("roc_auc"), abs=0.01)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=8))
def test_plots_take_any_numbers(values: list[float]) -> None:
    marks = [Mark("x" * place, value, value - 1, value + 1) for place, value in enumerate(values)]
    for plot in (forest(marks, "x", reference=0.5), bars(marks, "x")):
        assert "nan" not in plot
        ElementTree.fromstring(plot)


def test_calibration_tells_bias_and_parts() -> None:
    honest = np.linspace(0.05, 0.95, 2_000)
    happened = GENERATOR.random(2_000) < honest
    good, shifted = calibration(happened, honest), calibration(happened, honest * 0.5, bootstrap=50)
    assert good.error < 0.06
    assert shifted.bias == pytest.approx(-0.25, abs=0.03)
    assert shifted.facts()["calibration_bias"].value == -shifted.bias
    assert shifted.interval is not None
    assert shifted.interval.low > good.error
    assert good.reliability - good.resolution + good.uncertainty == pytest.approx(good.brier)
    assert sum(each.rows for each in good.bins) == 2_000
    assert str(good).splitlines()[1].startswith("Brier")
