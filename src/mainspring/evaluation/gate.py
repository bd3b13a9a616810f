"""Gates: what an evaluation must show before a model may be registered, and why it did or didn't pass."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import msgspec

from mainspring.errors import InvalidError, NotAllowedError
from mainspring.evaluation.evaluation import Evaluation


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
    """Whether one gate passed, and the sentence that says why."""

    gate: Gate
    passed: bool
    reason: str


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

    def __str__(self) -> str:
        lines = [f"{'pass' if result.passed else 'FAIL'}  {result.reason}" for result in self.reasons]
        return "\n".join(["gates passed" if self.passed else "gates failed", *lines])

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
    gates passed
    pass  roc_auc is 0.7100, at least 0.6500 is asked.
    """
    results = tuple(_judge(gate, evaluation, champion) for gate in gates)
    return GateReport(all(result.passed for result in results), results)


def _judge(gate: Gate, evaluation: Evaluation, champion: Evaluation | None) -> GateResult:
    value, where = _measured(gate, evaluation)
    if value is None:
        return GateResult(gate, False, f"{gate.metric}{where} is not defined, so there is no evidence.")
    asked: list[tuple[bool, str]] = []
    if gate.at_least is not None:
        asked.append((value >= gate.at_least, f"at least {gate.at_least:.4f} is asked"))
    if gate.at_most is not None:
        asked.append((value <= gate.at_most, f"at most {gate.at_most:.4f} is asked"))
    if gate.no_worse_than_champion:
        asked.append(_against(gate, evaluation, champion, value))
    return GateResult(
        gate,
        all(passed for passed, _ in asked),
        f"{gate.metric}{where} is {value:.4f}, {', '.join(sentence for _, sentence in asked)}.",
    )


def _measured(gate: Gate, evaluation: Evaluation) -> tuple[float | None, str]:
    if not gate.worst_slice:
        return evaluation.value(gate.metric), ""
    name = "" if gate.worst_slice == "*" else gate.worst_slice
    worst = evaluation.worst(gate.metric, name)
    if worst is None:
        return None, f" on the slices of {name or 'any column'}"
    return worst.metrics[gate.metric], f" on the worst slice, {worst.slice}={worst.value} ({worst.rows:,} rows),"


def _against(gate: Gate, evaluation: Evaluation, champion: Evaluation | None, value: float) -> tuple[bool, str]:
    best = _measured(gate, champion)[0] if champion is not None else None
    if best is None:
        return True, "there is no champion to compare with"
    higher = evaluation.higher_is_better[gate.metric]
    passed = value >= best - gate.margin if higher else value <= best + gate.margin
    allowed = f" within {gate.margin:.4f}" if gate.margin else ""
    return passed, f"no worse than the champion's {best:.4f}{allowed} is asked"
