"""What a version was evaluated with is found by whatever names the version."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.evaluation import evaluate, recorded_evaluation
from mainspring.models import Field, Signature, register
from mainspring.testing.workspaces import Lab
from mainspring.workspace import using


def test_an_evaluation_is_found_by_a_reference_or_by_its_version(lab: Lab) -> None:
    evaluation = evaluate([0, 1], [0.1, 0.9], ["roc_auc"])
    model, takes = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), Signature((Field("x", "f64"),))
    with using(lab.workspace):
        version = register(model, "late", signature=takes, evaluation=evaluation)
        plain = register(model, "early", signature=takes)
        for ref in (version, "late/1", "late/latest", "late"):
            assert recorded_evaluation(ref) == evaluation
        with pytest.raises(NotFoundError, match="late"):
            recorded_evaluation("lat/1")
    assert recorded_evaluation(plain, workspace=lab.workspace) is None


@pytest.mark.one_backend("what is wrong is seen before a store is asked")
@pytest.mark.parametrize(
    ("given", "error"), [(None, WrongTypeError), (3, WrongTypeError), ("", InvalidError), (" ", InvalidError)]
)
def test_what_is_no_reference_is_refused_with_the_forms_of_one(given: Any, error: type[Exception], lab: Lab) -> None:
    with pytest.raises(error, match=re.escape("`name/number`, `name@alias`")):
        recorded_evaluation(given, workspace=lab.workspace)
