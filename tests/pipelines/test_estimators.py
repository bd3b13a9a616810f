"""Estimators that hold the project's own classes and functions are results like any other."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

from mainspring.errors import CodecError
from mainspring.models import Field, Signature, allow_pickle, register, set_alias, set_stage
from mainspring.serving import bind
from mainspring.serving.live import load_live
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab, states, task_of

pytestmark = pytest.mark.one_backend("what an estimator holds is no matter of where its bytes lie")

EST = """
from sklearn.base import BaseEstimator, TransformerMixin
class Times(TransformerMixin, BaseEstimator):
    def __init__(self, by=2): self.by = by
    def fit(self, X, y=None):
        self.seen_ = len(X)
        return self
    def transform(self, X): return X * self.by
def scaled(X): return X * 3
class Twice(BaseEstimator):
    def fit(self, X, y=None): return self
    def predict(self, X): return X[:, 0] * 2
"""
FLOW = """
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
@ms.step
def fit():
    import est
    return {"model": make_pipeline(est.Times(), FunctionTransformer(est.scaled)).fit(np.arange(4.0).reshape(2, 2))}
@ms.step
def use(model): return model["model"].transform(np.ones((1, 2))).tolist()
@ms.pipeline
def main(): return use(fit())
"""

REGISTERED = """
from mainspring.models import Field, Signature, register
@ms.step
def fit():
    import est
    model = est.Twice().fit(np.ones((2, 1)))
    register(model, "twice", signature=Signature((Field("x", "f64"),)), input_kind="numpy")
    return model
@ms.pipeline
def main(): return fit()
"""


@pytest.fixture
def project(lab: Lab) -> Lab:
    lab.write(EST, "est")
    lab.write(FLOW)
    return lab


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_pipeline_of_the_projects_own_definitions_is_a_result(project: Lab, runner: str) -> None:
    made = project.run(runner=runner)
    assert made.value == [[6.0, 6.0]]
    again = project.run(runner=runner)
    assert states(again) == {"fit": "reused", "use": "reused"}, (
        task_of(made, "use").reasons + task_of(again, "use").reasons
    )


def test_a_change_of_a_definition_that_a_model_brings_runs_its_users_again(project: Lab) -> None:
    made = project.run()
    brought = made._store.artifacts.get(task_of(made, "fit").outputs["result"]).encoded.brings
    assert {"est:Times", "est:scaled"} <= set(brought)
    project.write(EST.replace("X * 3", "X * 5"), "est")
    changed = project.run()
    assert changed.value == [[10.0, 10.0]]
    assert "code est.scaled changed" in task_of(changed, "use").reasons


def test_a_registered_model_is_loaded_where_nothing_of_the_project_is_imported(project: Lab) -> None:
    project.write_and_run("import numpy as np\n" + REGISTERED).raise_for_state()
    project.forget()
    sys.path.remove(str(project.root))
    bind("twice", "twice@live", version="twice/1", workspace=project.workspace)
    assert load_live(project.workspace, "twice").predictor([{"x": 2.0}]) == [4.0]
    project.forget()
    (project.root / "est.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(CodecError, match=r"`est\.Twice`.*the project in .* has no module `est`"):
        load_live(project.workspace, "twice")


LOADING = """
import numpy as np
from mainspring.models import load_model
@ms.step
def use(): return load_model(REF).predict(np.ones((1, 1))).tolist()
@ms.pipeline
def main(): return use()
"""


@pytest.fixture
def registered(project: Lab) -> Lab:
    project.write_and_run("import numpy as np\n" + REGISTERED).raise_for_state()
    project.forget()
    return project


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_code_of_a_model_that_a_step_loads_is_noted_unless_its_key_answers_for_it(registered: Lab, runner: str) -> None:
    registered.write(LOADING.replace("REF", "'twice/1'").replace("import numpy as np", "import numpy as np, est"))
    made = registered.run(runner=runner)
    assert made.value == [2.0]
    assert [(seen["kind"], seen["name"]) for seen in task_of(made, "use").seen] == [("code", "est.Twice")]


def test_a_step_that_loads_a_model_runs_again_when_its_code_changes(registered: Lab) -> None:
    flow = LOADING.replace("REF", "'twice/1'").replace("import numpy as np", "import numpy as np, est")
    registered.write(flow)
    for _ in range(2):
        assert states(registered.run()) == {"use": "succeeded"}
    registered.write(EST.replace("X[:, 0] * 2", "X[:, 0] * 7"), "est")
    assert registered.run().value == [7.0]
    registered.write(flow.replace("return load", "est.Twice; return load"))
    assert states(registered.run()) == {"use": "succeeded"}
    assert states(registered.run()) == {"use": "reused"}
    registered.write(EST.replace("X[:, 0] * 2", "X[:, 0] * 5"), "est")
    assert registered.run().value == [5.0]


def test_a_worker_that_lacks_the_module_of_a_model_says_to_import_it(registered: Lab) -> None:
    registered.write(LOADING.replace("REF", "'twice/1'"))
    failed = registered.run(runner="pool")
    said = r"`est\.Twice`.*the recorded code in .* has no module `est`\. Import `est` in the module of the step"
    assert re.search(said, task_of(failed, "use").error or "")
    assert registered.run(runner="inline").value == [2.0]


@pytest.mark.parametrize("reference", ["twice", "twice/latest", "twice@best", "twice/Production"])
def test_a_model_that_is_loaded_by_a_name_that_moves_makes_a_step_not_reusable(registered: Lab, reference: str) -> None:
    set_alias("twice/1", "best", workspace=registered.workspace)
    set_stage("twice/1", "Production", workspace=registered.workspace)
    text = LOADING.replace("load_model(REF).predict(np.ones((1, 1))).tolist()", f"str(type(load_model({reference!r})))")
    made = registered.write_and_run(text)
    assert ("model", reference) in [(seen["kind"], seen["name"]) for seen in task_of(made, "use").seen]
    assert states(registered.run()) == {"use": "succeeded"}


def test_a_pickle_that_holds_code_of_the_project_makes_a_step_not_reusable(project: Lab) -> None:
    pickled = REGISTERED.replace('input_kind="numpy"', 'input_kind="numpy", pickled=True').replace("return model", "")
    project.write_and_run("import numpy as np\n" + pickled).raise_for_state()
    allow_pickle("twice/1", note="made here", workspace=project.workspace)
    made = project.write_and_run(LOADING.replace("REF", "'twice/1'"))
    assert ("code", "est.Twice") in [(seen["kind"], seen["name"]) for seen in task_of(made, "use").seen]
    project.write(EST.replace("X[:, 0] * 2", "X[:, 0] * 7"), "est")
    assert project.run().value == [7.0]


@pytest.mark.parametrize("reference", ["plain/1", "plain/v1", "id"])
def test_a_model_that_is_loaded_by_its_number_or_id_leaves_a_step_reusable(lab: Lab, reference: str) -> None:
    version = register(complex(2), "plain", signature=Signature((Field("x", "f64"),)), workspace=lab.workspace)
    named = version.id if reference == "id" else reference
    text = LOADING.replace("load_model(REF).predict(np.ones((1, 1))).tolist()", f"str(load_model({named!r}))")
    assert lab.write_and_run(text).value == "(2+0j)"
    assert states(lab.run()) == {"use": "reused"}


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("FunctionTransformer(lambda X: X)", "no name to be found by"),
        ("FunctionTransformer(__import__('os').system)", "`posix.system` at `.func`, which is not on the list"),
        (
            "FunctionTransformer(borrowed)",
            "doesn't define `borrowed` itself|`posix.system` at `.func`, which is not on the list",
        ),
        ("inner()", "the module `flow` has no `Inner` at its top level"),
    ],
)
def test_what_has_no_name_in_the_project_is_refused_with_the_reason(lab: Lab, expression: str, why: str) -> None:
    text = f"""
    from os import system as borrowed
    from sklearn.base import BaseEstimator
    from sklearn.preprocessing import FunctionTransformer
    def inner():
        class Inner(BaseEstimator): pass
        return Inner()
    @ms.step
    def fit(): return {expression}
    @ms.pipeline
    def main(): return fit()
    """
    made = lab.write_and_run(text)
    assert re.search(why, task_of(made, "fit").error or "")
