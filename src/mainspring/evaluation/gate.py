"""Gates: what an evaluation must show before a model may be registered, and why it did or didn't pass."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import msgspec

from mainspring.errors import InvalidError, NotAllowedError
from mainspring.evaluation.evaluation import Evaluation, SliceValues, shown

_NO_CHAMPION = "there is no champion to compare with"
_NOT_MEASURED = "it was not measured on the champion, so there is nothing to compare with"


class Gate(msgspec.Struct, frozen=True):
    """One condition on a metric: at least, at most, or no worse than the champion by more than `margin`.

    With `worst_slice` it is asked of the worst value of that slice (`"*"`: of any), else of the whole.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    no_worse_than_champion: bool = False
    margin: float = 0.0
    worst_slice: str = ""

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None and not self.no_worse_than_champion:
            raise InvalidError(
                f"Gate({self.metric!r})", "no bound", "`at_least`, `at_most` or `no_worse_than_champion`"
            )


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


def decide(evaluation: Evaluation, gates: Iterable[Gate], champion: Evaluation | None = None) -> GateReport:
    """Hold an evaluation to gates. A gate against the champion passes if there is none yet, and says so.

    A metric that is not defined fails: no evidence is not a pass.

    Raises:
        NotFoundError: a gate's metric was not evaluated.

    >>> evaluation = Evaluation(1000, {"roc_auc": 0.71}, {"roc_auc": True})
    >>> print(decide(evaluation, [Gate("roc_auc", at_least=0.65)]))
    1 of 1 gates passed
      pass  roc_auc  0.7100  at least 0.6500
    """
    results = tuple(_judge(gate, evaluation, champion) for gate in gates)
    return GateReport(all(result.passed for result in results), results)


def _judge(gate: Gate, evaluation: Evaluation, champion: Evaluation | None) -> GateResult:
    value, worst = _measured(gate, evaluation)
    asked = _asked(gate, evaluation, champion, value)
    told = ", ".join(bound for _, bound in asked)
    where = f"{worst.slice}={worst.value}" if worst else ""
    if value is None:
        on = f" on the slices of {gate.worst_slice.replace('*', '') or 'any column'}" if gate.worst_slice else ""
        reason = f"{gate.metric}{on} is not defined, so there is no evidence."
        return GateResult(gate, False, reason, asked=told)
    on = f" on the worst slice, {where} ({worst.rows:,} rows)," if worst else ""
    needs = ", ".join(bound if bound in (_NO_CHAMPION, _NOT_MEASURED) else f"{bound} is asked" for _, bound in asked)
    reason = f"{gate.metric}{on} is {value:.4f}, {needs}."
    return GateResult(gate, all(passed for passed, _ in asked), reason, value, where, told)


def _measured(gate: Gate, evaluation: Evaluation) -> tuple[float | None, SliceValues | None]:
    """The value that a gate is about, and the slice value that it was measured on if it is about one."""
    if not gate.worst_slice:
        return evaluation.value(gate.metric), None
    worst = evaluation.worst(gate.metric, "" if gate.worst_slice == "*" else gate.worst_slice)
    return (worst.metrics[gate.metric], worst) if worst else (None, None)


def _asked(
    gate: Gate, evaluation: Evaluation, champion: Evaluation | None, value: float | None
) -> list[tuple[bool, str]]:
    """Each bound in words, with whether the value keeps it."""
    known = float("nan") if value is None else value
    asked: list[tuple[bool, str]] = []
    if gate.at_least is not None:
        asked.append((known >= gate.at_least, f"at least {gate.at_least:.4f}"))
    if gate.at_most is not None:
        asked.append((known <= gate.at_most, f"at most {gate.at_most:.4f}"))
    if gate.no_worse_than_champion:
        asked.append(_against(gate, evaluation, champion, known))
    return asked


def _against(gate: Gate, evaluation: Evaluation, champion: Evaluation | None, value: float) -> tuple[bool, str]:
    if champion is not None and gate.metric not in champion.metrics:
        return True, _NOT_MEASURED
    best = _measured(gate, champion)[0] if champion is not None else None
    if best is None:
        return True, _NO_CHAMPION
    higher = evaluation.higher_is_better[gate.metric]
    passed = value >= best - gate.margin if higher else value <= best + gate.margin
    allowed = f" within {gate.margin:.4f}" if gate.margin else ""
    return passed, f"no worse than the champion's {best:.4f}{allowed}"
