"""Gates: what an evaluation must show before a model may be registered, and why it did or didn't pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, WrongTypeError, close_names
from mainspring.evaluation.evaluation import Evaluation, SliceValues
from mainspring.evaluation.evidence import Evidence, Fact
from mainspring.evaluation.given import expect_text, number_of, several
from mainspring.evaluation.tables import shown

if TYPE_CHECKING:
    from mainspring.evaluation.comparison import Comparison, Difference

_NO_CHAMPION = "there is no champion to compare with"
_NOT_MEASURED = "it was not measured on the champion, so there is nothing to compare with"


class Gate(msgspec.Struct, frozen=True):
    """One condition on a metric: at least, at most, no worse than the champion by more than `margin`, or better than it.

    With `worst_slice` it is asked of the worst value of that slice (`"*"`: of any), else of the whole. `metric` may also
    name a number of the evidence, such as `equal_opportunity_gap` or `latency_p95_ms`. With `confident` the bound must hold
    at the worse end of the interval, not only for the value.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    no_worse_than_champion: bool = False
    margin: float = 0.0
    worst_slice: str = ""
    better_than_champion: bool = False
    confident: bool = False

    def __post_init__(self) -> None:
        path = f"Gate({expect_text('metric', self.metric)!r})"
        for name in ("at_least", "at_most", "margin"):
            if (given := getattr(self, name)) is not None:
                msgspec.structs.force_setattr(self, name, number_of(f"{path}, {name}", given))
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise InvalidError(path, f"at least {self.at_least} and at most {self.at_most}", "what a value can be")
        compares = self.no_worse_than_champion or self.better_than_champion
        if self.at_least is None and self.at_most is None and not compares:
            raise InvalidError(path, "no bound", "`at_least`, `at_most` or `no_worse_than_champion`")
        if self.margin < 0:
            raise InvalidError(path, self.margin, "a margin of 0 or more")


class GateResult(msgspec.Struct, frozen=True):
    """Whether one gate passed, and the sentence that says why.

    `value` is what was measured (None where it isn't defined), `where` the slice value that it was measured on, empty
    for the whole; `asked` is the bound in words.
    """

    gate: Gate
    passed: bool
    reason: str
    value: float | None = None
    where: str = ""
    asked: str = ""

    @property
    def subject(self) -> str:
        """What was measured: the metric, and on which slice value."""
        on = f" on {self.where} (worst)" if self.where else " on the worst slice" if self.gate.worst_slice else ""
        return self.gate.metric + on


class GateReport(msgspec.Struct, frozen=True):
    """Whether all gates passed, each with its reason."""

    passed: bool
    reasons: tuple[GateResult, ...]

    def raise_for_failure(self) -> None:
        """Go on only if all gates passed.

        Raises:
            NotAllowedError: one did not; the reasons are given.
        """
        if not self.passed:
            failed = " ".join(result.reason for result in self.reasons if not result.passed)
            raise NotAllowedError(f"The gates did not pass. {failed}")

    def __repr__(self) -> str:
        passed = sum(result.passed for result in self.reasons)
        return f"<gates {'passed' if self.passed else 'failed'}, {passed} of {len(self.reasons)}>"

    def __str__(self) -> str:
        subjects = [result.subject for result in self.reasons]
        width = max(map(len, subjects), default=0)
        passed = sum(result.passed for result in self.reasons)
        lines = [
            f"  {'pass' if result.passed else 'FAIL'}  {subject.ljust(width)}  {shown(result.value):>6}  {result.asked}"
            for subject, result in zip(subjects, self.reasons, strict=True)
        ]
        return "\n".join([f"{passed} of {len(lines)} gates passed", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{'pass' if result.passed else '<b>FAIL</b>'}</td><td>{escape(result.reason)}</td></tr>"
            for result in self.reasons
        )
        return f"<table>{rows}</table>"


def decide(
    evaluation: Evaluation,
    gates: Gate | Iterable[Gate],
    champion: Evaluation | None = None,
    *,
    comparison: Comparison | None = None,
    evidence: Evidence | Iterable[Evidence] = (),
) -> GateReport:
    """Hold an evaluation to gates. A gate against the champion passes if there is none yet, and says so.

    With a `comparison` of the two on the same rows the champion's gates go by the interval of the difference: no worse
    means that its worse end stays within the margin (non-inferiority), better that the verdict is `better`; on the worst
    slice no slice may be found worse. `evidence` is reports whose numbers gates name: fairness, cost, calibration,
    robustness. A metric that is not defined fails: no evidence is not a pass. No gates at all ask for nothing, so that they
    are passed; a policy of approval with `gates = true` counts that as none.

    Raises:
        NotFoundError: a gate's metric was not evaluated.
        WrongTypeError: what is given is no gate.

    >>> evaluation = Evaluation(1000, {"roc_auc": 0.71}, {"roc_auc": True})
    >>> print(decide(evaluation, [Gate("roc_auc", at_least=0.65)]))
    1 of 1 gates passed
      pass  roc_auc  0.7100  at least 0.6500
    """
    asked, told = (
        several("gates", gates, Gate),
        [evidence] if hasattr(evidence, "facts") else several("evidence", evidence),
    )
    if other := [each for each in asked if not isinstance(each, Gate)]:
        raise WrongTypeError("gates", other[0], "a `Gate`")
    facts = {name: fact for each in told for name, fact in each.facts().items()}
    known = _Known(evaluation, champion, comparison, facts)
    results = tuple(_judge(gate, known) for gate in asked)
    return GateReport(all(result.passed for result in results), results)


def goal_gates(goal: Mapping[str, Any] | None = None) -> list[Gate]:
    """The gate of the project's goal: its `metric` with `at_least` or `at_most`; none if the goal names no bound.

    `goal` is the table `[goal]` of `mainspring.toml` (`[tool.mainspring.goal]` of `pyproject.toml`); that of the project
    around the working directory unless given.

    Raises:
        WrongTypeError: a bound is no number.
        InvalidError: there is a bound, and no metric.

    >>> goal_gates({"metric": "roc_auc", "at_least": 0.7})[0].at_least
    0.7
    """
    if goal is None:
        from mainspring.workspace.project import find_project

        goal = find_project().settings.tables.get("goal", {})
    bounds = {name: goal[name] for name in ("at_least", "at_most") if name in goal}
    for name, bound in bounds.items():
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise WrongTypeError(f"goal.{name}", bound, "a number")
    metric = goal.get("metric", "")
    if bounds and not (isinstance(metric, str) and metric):
        raise InvalidError("goal.metric", metric, "the name of the metric that the bound is for")
    return [Gate(metric, **bounds)] if bounds else []


class _Known(NamedTuple):
    """All that gates are held against."""

    evaluation: Evaluation
    champion: Evaluation | None
    comparison: Comparison | None
    facts: dict[str, Fact]

    def higher_is_better(self, metric: str) -> bool:
        """Which way a metric or a number goes."""
        if metric in self.facts and metric not in self.evaluation.metrics:
            return self.facts[metric].higher_is_better
        return self.evaluation.higher_is_better[metric]


class _Measured(NamedTuple):
    """What a gate is about: a number, and on which slice value it was measured."""

    fact: Fact
    worst: SliceValues | None = None


def _judge(gate: Gate, known: _Known) -> GateResult:
    measured, worst = _measured(gate, known.evaluation, known.facts)
    value = measured.value
    asked = _asked(gate, known, measured)
    told = ", ".join(bound for _, bound in asked)
    where = f"{worst.slice}={worst.value}" if worst else ""
    if value is None:
        on = f" on the slices of {gate.worst_slice.replace('*', '') or 'any column'}" if gate.worst_slice else ""
        near = close_names(gate.worst_slice, {each.slice for each in known.evaluation.slices} - {gate.worst_slice})
        nearest = f" Nearest slice: {near[0]}." if near else ""
        reason = f"{gate.metric}{on} is not defined, so there is no evidence.{nearest}"
        return GateResult(gate, False, reason, asked=f"{told}, but it is not defined.{nearest}".removesuffix("."))
    on = f" on the worst slice, {where} ({worst.rows:,} rows)," if worst else ""
    on = on or (f" ({measured.where})" if measured.where else "")
    needs = ", ".join(bound if bound in (_NO_CHAMPION, _NOT_MEASURED) else f"{bound} is asked" for _, bound in asked)
    reason = f"{gate.metric}{on} is {shown(value, measured.interval if gate.confident else None)}, {needs}."
    return GateResult(gate, all(passed for passed, _ in asked), reason, value, where, told)


def _measured(gate: Gate, evaluation: Evaluation, facts: Mapping[str, Fact]) -> _Measured:
    if gate.metric not in evaluation.metrics and gate.metric in facts:
        return _Measured(facts[gate.metric])
    if not gate.worst_slice:
        near = close_names(gate.metric, [*evaluation.metrics, *facts])
        if gate.metric not in evaluation.metrics:
            raise NotFoundError("metric", gate.metric, near, "It was not evaluated.")
        return _Measured(_fact(evaluation, evaluation, gate.metric))
    worst = evaluation.worst(gate.metric, "" if gate.worst_slice == "*" else gate.worst_slice)
    return _Measured(_fact(worst, evaluation, gate.metric), worst) if worst else _Measured(Fact(None))


def _fact(values: Evaluation | SliceValues, evaluation: Evaluation, metric: str) -> Fact:
    return Fact(values.metrics[metric], evaluation.higher_is_better[metric], values.intervals.get(metric))


def _asked(gate: Gate, known: _Known, measured: Fact) -> list[tuple[bool, str]]:
    """Each bound in words, with whether the value keeps it."""
    low = high = float("nan") if measured.value is None else measured.value
    sure = ""
    if gate.confident:
        ends = measured.interval
        low, high = (ends.low, ends.high) if ends else (float("nan"), float("nan"))
        sure = f" with {ends.level:.0%} confidence" if ends else " with confidence (it has no interval)"
    asked: list[tuple[bool, str]] = []
    if gate.at_least is not None:
        asked.append((low >= gate.at_least, f"at least {gate.at_least:.4f}{sure}"))
    if gate.at_most is not None:
        asked.append((high <= gate.at_most, f"at most {gate.at_most:.4f}{sure}"))
    if gate.no_worse_than_champion or gate.better_than_champion:
        value = float("nan") if measured.value is None else measured.value
        asked += _compared(gate, known) or [_against(gate, known, value)]
    return asked


def _compared(gate: Gate, known: _Known) -> list[tuple[bool, str]]:
    """The bounds against the champion by the comparison on the same rows; none if it doesn't tell of the metric."""
    if known.comparison is None:
        return []
    slice_name = "" if gate.worst_slice == "*" else gate.worst_slice
    found: list[Difference] = known.comparison.on_slices(gate.metric, slice_name) if gate.worst_slice else []
    if gate.worst_slice and found:
        worse = [f"{each.slice}={each.value}" for each in found if each.verdict == "worse"]
        told = f" (it is on {', '.join(worse)})" if worse else ""
        return [(not worse, f"not found worse than the champion on any slice{told}")]
    whole = [each for each in known.comparison.differences if each.metric == gate.metric and not each.slice]
    if gate.worst_slice or not whole:
        return []
    difference = whole[0]
    told = shown(difference.difference, difference.interval)
    asked = []
    if gate.no_worse_than_champion:
        gain = difference.least_gain
        allowed = f" by more than {gate.margin:.4f}" if gate.margin else ""
        asked.append(
            (
                gain is not None and gain >= -gate.margin,
                f"surely no worse than the champion{allowed} (difference {told})",
            )
        )
    if gate.better_than_champion:
        asked.append(
            (
                difference.verdict == "better",
                f"surely better than the champion (difference {told}, {difference.verdict})",
            )
        )
    return asked


def _against(gate: Gate, known: _Known, value: float) -> tuple[bool, str]:
    """The bound against what was recorded of the champion, maybe on other rows: values alone are compared."""
    champion = known.champion
    if champion is not None and gate.metric not in champion.metrics:
        return True, _NOT_MEASURED
    best = _measured(gate, champion, {}).fact.value if champion is not None else None
    if best is None:
        return True, _NO_CHAMPION
    gain = (value - best) if known.higher_is_better(gate.metric) else (best - value)
    if gate.better_than_champion:
        return gain > 0, f"better than the champion's {best:.4f}"
    allowed = f" within {gate.margin:.4f}" if gate.margin else ""
    return gain >= -gate.margin, f"no worse than the champion's {best:.4f}{allowed}"
