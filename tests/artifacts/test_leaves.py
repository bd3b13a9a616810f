"""Models of other libraries inside estimators: the same meaning in every process, the same answers, and no other way in."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from blake3 import blake3
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from xgboost import XGBClassifier
from xgboost.callback import EarlyStopping

from mainspring.artifacts import codec_for, compare, content_digest, load, save
from mainspring.artifacts.codec import Encoded
from mainspring.artifacts.leaves import models_in
from mainspring.artifacts.project import importing_from
from mainspring.errors import CodecError, MissingLibraryError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws, digest_in_fresh_process

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(80, 3))
TARGET = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)

LIBRARIES: dict[str, Callable[[], Any]] = {
    "xgboost": lambda: XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1),
    "lightgbm": lambda: LGBMClassifier(n_estimators=3, num_leaves=4, verbose=-1, n_jobs=1),
    "catboost": lambda: CatBoostClassifier(
        iterations=3, depth=2, verbose=False, allow_writing_files=False, thread_count=1
    ),
}
AROUND: dict[str, Callable[[Any], Any]] = {
    "pipeline": lambda model: make_pipeline(StandardScaler(), model).fit(ROWS, TARGET),
    "calibrated": lambda model: CalibratedClassifierCV(model, cv=2).fit(ROWS, TARGET),
    "search": lambda model: (
        GridSearchCV(make_pipeline(StandardScaler(), model), {f"{type(model).__name__.lower()}__learning_rate": [0.1]}, cv=2)
        .fit(ROWS, TARGET)
        .best_estimator_
    ),
    "voting": lambda model: VotingClassifier([("a", model), ("b", LogisticRegression())], voting="soft").fit(ROWS, TARGET),
    "stacking": lambda model: StackingClassifier([("a", model), ("b", LogisticRegression())], cv=2).fit(ROWS, TARGET),
}  # fmt: skip


def fitted(library: str) -> dict[str, Any]:
    return {name: make(LIBRARIES[library]()) for name, make in AROUND.items()}


def fit_all() -> dict[str, Any]:
    return {library: fitted(library) for library in LIBRARIES}


def rewritten(data: bytes, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        files = {name: old.read(name) for name in old.namelist()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as new:
        for name, content in change(files).items():
            new.writestr(name, content)
    return made.getvalue()


def stored(value: Any, blobs: FolderBlobs) -> bytes:
    return blobs.read(save(value, blobs)[1].blob)


def decoded(data: bytes, blobs: FolderBlobs) -> Any:
    return codec_for(StandardScaler()).decode(Encoded("sklearn", blobs.put(data), len(data)), blobs)


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_loaded_answers_the_same_to_the_bit_and_keeps_the_laws(library: str, blobs: FolderBlobs) -> None:
    models = fitted(library)
    check_codec_laws(None, list(models.values()), blobs)
    for model in models.values():
        again = load(save(model, blobs)[1], blobs)
        assert (again.predict_proba(ROWS) == model.predict_proba(ROWS)).all()


def test_a_refit_in_a_fresh_process_with_another_hash_seed_has_the_same_digest() -> None:
    setup = f"import runpy; fit_all = runpy.run_path({__file__!r})['fit_all']"
    assert digest_in_fresh_process("fit_all()", hash_seed=1, setup=setup) == content_digest(fit_all())


def test_only_the_library_that_is_inside_is_imported() -> None:
    setup = """
import sys
from lightgbm import LGBMClassifier
from mainspring.artifacts import load, save
from mainspring.testing.codecs import FolderBlobs
from sklearn.pipeline import make_pipeline
blobs = FolderBlobs()
again = load(save(make_pipeline(LGBMClassifier(n_jobs=1)), blobs)[1], blobs)
assert not {"xgboost", "catboost", "torch"} & sys.modules.keys()
"""
    assert digest_in_fresh_process("again", hash_seed=2, setup=setup) == content_digest(
        make_pipeline(LGBMClassifier(n_jobs=1))
    )


def test_what_was_loaded_before_the_first_model_is_stored_changes_nothing(blobs: FolderBlobs) -> None:
    encoded = save(LogisticRegression(), blobs)[1]
    setup = f"""
from pathlib import Path
import msgspec
from lightgbm import LGBMClassifier
from mainspring.artifacts import load
from mainspring.artifacts.codec import Encoded
from mainspring.testing.codecs import FolderBlobs
from sklearn.pipeline import make_pipeline
load(msgspec.json.decode({msgspec.json.encode(encoded)!r}, type=Encoded), FolderBlobs(Path({str(blobs.folder)!r})))
"""
    assert digest_in_fresh_process(
        "make_pipeline(LGBMClassifier(n_jobs=1))", hash_seed=1, setup=setup
    ) == content_digest(make_pipeline(LGBMClassifier(n_jobs=1)))


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_model_inside_has_the_bytes_and_the_digest_that_it_has_alone(library: str, blobs: FolderBlobs) -> None:
    model = AROUND["pipeline"](LIBRARIES[library]())
    digest, alone, _ = save(model[-1], blobs)
    with zipfile.ZipFile(io.BytesIO(stored(model, blobs))) as archive:
        (leaf,) = (json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".leaf"))
        assert (leaf["digest"], leaf["encoded"]["codec"]) == (digest, library)
        for blob in (alone.blob, *alone.blobs):
            assert archive.read(f"{blob}.blob") == blobs.read(blob)


def test_a_model_that_stands_in_two_places_is_one_and_two_equal_ones_are_two(blobs: FolderBlobs) -> None:
    voting = AROUND["voting"](LIBRARIES["xgboost"]())
    again = load(save(voting, blobs)[1], blobs)
    assert again.estimators_[0] is again.named_estimators_["a"]
    assert again.estimators_[0] is not again.estimators[0][1]


def test_comparison_names_the_parameter_of_the_model_inside() -> None:
    old, new = (make_pipeline(StandardScaler(), LGBMClassifier(num_leaves=leaves)) for leaves in (4, 5))
    told = compare(old, new)
    assert (told.kind, "num_leaves: 4 → 5" in told.detail) == ("values", True)


def test_two_fits_of_a_search_are_compared_though_some_of_what_they_hold_is_masked() -> None:
    grid = {"C": [0.1, 1.0], "l1_ratio": [0.0]}
    old, new = (GridSearchCV(LogisticRegression(), grid, cv=2).fit(ROWS, TARGET) for _ in range(2))
    assert compare(old, new).kind == "floats"  # the times that fitting took


def test_what_a_model_inside_cant_keep_is_refused_with_its_name(blobs: FolderBlobs) -> None:
    model = make_pipeline(StandardScaler(), XGBClassifier(callbacks=[EarlyStopping(rounds=2)]))
    with pytest.raises(CodecError, match=r"The `XGBClassifier` in it can't be stored: .*EarlyStopping") as refused:
        save(model, blobs)
    assert "pickled" not in str(refused.value)


def test_a_class_of_the_project_around_a_booster_is_brought_along(
    blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_boosters.py").write_text("from lightgbm import LGBMClassifier\nclass Own(LGBMClassifier): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with importing_from([tmp_path]):
        from own_boosters import Own  # type: ignore[import-not-found]  # the test has just written it

        encoded = save(make_pipeline(StandardScaler(), Own()), blobs)[1]
        assert encoded.brings == ("own_boosters:Own",)
        assert type(load(encoded, blobs)[-1]) is Own


@pytest.mark.parametrize("loader", ["ObjectNode", "TypeNode", "FunctionNode", "ConstructorFromReduceNode"])
@pytest.mark.parametrize(
    "path", ["xgboost.sklearn.XGBClassifier", "xgboost.core.Booster", "mainspring.artifacts.<model>"]
)
def test_a_model_comes_in_by_no_other_node(path: str, loader: str, blobs: FolderBlobs, tmp_path: Path) -> None:
    module, _, name = path.rpartition(".")
    empty = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []}
    node = {"__class__": name, "__module__": module, "__loader__": loader, "content": empty}

    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        schema = json.loads(
            files["schema.json"], object_hook=lambda old: {**old, "func": node} if "func" in old else old
        )
        return {**files, "schema.json": json.dumps(schema).encode()}

    with importing_from([tmp_path]), pytest.raises(CodecError):
        decoded(rewritten(stored(FunctionTransformer(np.sin), blobs), change), blobs)


def _leaf_with(**changes: Any) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        (name,) = (name for name in files if name.endswith(".leaf"))
        leaf = json.loads(files[name])
        return {**files, name: json.dumps({**leaf, "encoded": {**leaf["encoded"], **changes}}).encode()}

    return change


def _class_with(reference: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """A record inside that names another class, under its right digest."""

    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        (name,) = (name for name in files if name.endswith(".leaf"))
        record = files[json.loads(files[name])["encoded"]["blob"] + ".blob"]
        forged = record.replace(b"xgboost.sklearn:XGBClassifier", reference.encode())
        assert forged != record
        digest = blake3(forged).hexdigest()
        return _leaf_with(blob=digest)({**files, f"{digest}.blob": forged})

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_leaf_with(codec="path"), "no codec of models"),
        (_leaf_with(codec="sklearn"), "no codec of models"),
        (_leaf_with(codec="lightgbm"), "has no module `xgboost.sklearn`"),
        (_leaf_with(codec="unheard_of"), "No codec"),
        (_leaf_with(blob="0" * 64), "has no blob"),
        (_class_with("subprocess:Popen"), "not there|project|no model"),
        (_class_with("xgboost.core:os"), "not there|no model"),
        (lambda files: {n: b"\x00" if n.endswith(".leaf") else c for n, c in files.items()}, "can't be read"),
        (lambda files: {n: c + b" " if n.endswith(".blob") else c for n, c in files.items()}, "other bytes"),
        (lambda files: {n: c for n, c in files.items() if not n.endswith(".leaf")}, "not a stored estimator"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_hand_made_leaf_is_refused(change: Any, said: str, blobs: FolderBlobs, tmp_path: Path) -> None:
    data = stored(make_pipeline(StandardScaler(), XGBClassifier()), blobs)
    assert isinstance(decoded(data, blobs)[-1], XGBClassifier)
    with importing_from([tmp_path]), pytest.raises(CodecError, match=said):
        decoded(rewritten(data, change), blobs)


def test_skops_alone_opens_no_estimator_with_a_model_inside_unless_it_is_told_to(blobs: FolderBlobs) -> None:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    data = stored(make_pipeline(StandardScaler(), XGBClassifier()), blobs)
    with pytest.raises(UntrustedTypesFoundException, match="<model>"):
        skops.io.loads(data)
    assert b"<model>" not in skops.io.dumps(make_pipeline(StandardScaler(), XGBClassifier()))


@pytest.mark.parametrize("function", [str.lower, str.split, str.strip, str.upper, np.ravel, np.argmin], ids=range(6))
def test_pure_methods_of_texts_and_functions_of_arrays_may_be_parameters(function: Any, blobs: FolderBlobs) -> None:
    again = load(save(FunctionTransformer(function), blobs)[1], blobs)
    assert again.func == function


def test_a_vectorizer_with_methods_of_texts_counts_the_same(blobs: FolderBlobs) -> None:
    model = CountVectorizer(tokenizer=str.split, preprocessor=str.lower, token_pattern=None).fit(["A b", "b C"])
    again = load(save(model, blobs)[1], blobs)
    assert (again.transform(["b B c"]).toarray() == model.transform(["b B c"]).toarray()).all()


@pytest.mark.parametrize("name", ["str.format", "str.join", "str.encode", "str.__class__", "str.nothing", "eval"])
def test_no_other_method_may_be_named(name: str, blobs: FolderBlobs, tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        return {**files, "schema.json": files["schema.json"].replace(b'"str.lower"', json.dumps(name).encode())}

    data = rewritten(stored(FunctionTransformer(str.lower), blobs), change)
    with importing_from([tmp_path]), pytest.raises(CodecError, match="not on the list"):
        decoded(data, blobs)


def test_a_refusal_names_the_parameter(blobs: FolderBlobs, tmp_path: Path) -> None:
    model: BaseEstimator = make_pipeline(CountVectorizer(preprocessor=str.encode), LogisticRegression())
    with importing_from([tmp_path]), pytest.raises(CodecError, match=r"at `\.steps\[0\]\[1\]\.preprocessor`"):
        save(model, blobs)


def test_a_refusal_names_the_place_of_what_is_refused_and_no_other(blobs: FolderBlobs, tmp_path: Path) -> None:
    data = stored(make_pipeline(FunctionTransformer(str.lower), LogisticRegression()), blobs)

    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        return {**files, "schema.json": files["schema.json"].replace(b'"str.lower"', b'"str.format"')}

    said = r"`builtins\.str\.format` at `\.steps\[0\]\[1\]\.func`"
    with importing_from([tmp_path]), pytest.raises(CodecError, match=said):
        decoded(rewritten(data, change), blobs)


@pytest.mark.parametrize(
    "function", [np.where, math.log, json.dumps, str.format], ids=["numpy", "math", "json", "method"]
)
def test_a_refused_function_is_to_be_wrapped(function: Any, blobs: FolderBlobs, tmp_path: Path) -> None:
    with importing_from([tmp_path]), pytest.raises(CodecError, match=r"at `\.func`.*Wrap it in a top-level function"):
        save(FunctionTransformer(function), blobs)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_model_inside_an_estimator_is_found(library: str) -> None:
    for name, model in fitted(library).items():
        kind = type(LIBRARIES[library]())
        found = list(models_in(model))
        assert found, name
        assert all(isinstance(each, kind) for each in found), name
        assert any(hasattr(each, "classes_") for each in found), name


def test_an_estimator_without_a_leaf_is_stored_as_before(blobs: FolderBlobs) -> None:
    with zipfile.ZipFile(io.BytesIO(stored(StandardScaler(), blobs))) as archive:
        assert archive.namelist() == ["schema.json"]
        assert "StandardScaler" in msgspec.json.decode(archive.read("schema.json"))["__class__"]


@pytest.mark.parametrize("model", [LGBMClassifier(n_estimators=2), make_pipeline(LGBMClassifier(n_estimators=2))])
def test_a_missing_shared_library_is_named_and_no_fault_of_the_blob(
    model: Any, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    saved = save(model.fit(ROWS, TARGET), blobs)
    monkeypatch.setattr("lightgbm.Booster", missing)
    with pytest.raises(MissingLibraryError, match=r"^`lightgbm` needs .* `libgomp\.so\.1`.*apt-get install libgomp1$"):
        load(saved[1], blobs)
