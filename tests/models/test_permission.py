"""A pickle is opened only if this workspace signed it and a person allowed this version; a converted one needs neither."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression

from mainspring.artifacts import Encoded
from mainspring.artifacts.project import importing_from
from mainspring.errors import CodecError, CorruptBlobError, InvalidError, NotAllowedError
from mainspring.ledger import Replay, within_task
from mainspring.models import (
    Field,
    ModelStore,
    ModelVersion,
    Predictor,
    Signature,
    allow_pickle,
    convert_model,
    get_model_version,
    load_model,
    register,
    register_folder,
    revoke_pickle,
)
from mainspring.serving import bind
from mainspring.workspace import Workspace, collect
from mainspring.workspace.signing import sign, verified
from tests.models.mlflow_folders import COLUMNS, LATE, TABLE, folder

ROWS = TABLE.to_dict("records")


class Odd:
    """A model that no codec takes."""

    def predict(self, rows: Any) -> Any:
        return rows[:, 0] * 2


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def odd(name: str = "odd") -> ModelVersion:
    return register(
        Odd(),
        name,
        signature=Signature((Field("x", "f64"),)),
        input_example=[{"x": 1.0}],
        input_kind="numpy",
        pickled=True,
    )


@pytest.mark.one_backend("where a module is found has nothing to do with the store")
def test_a_pickle_finds_the_modules_of_the_project(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "doubling.py").write_text("class Doubled:\n    def predict(self, rows):\n        return rows[:, 0] * 2\n")
    signature = Signature((Field("x", "f64"),))
    path = list(sys.path)
    try:
        sys.path.insert(0, str(folder))
        model = importlib.import_module("doubling").Doubled()
        register(model, "far", signature=signature, input_example=[{"x": 1.0}], input_kind="numpy", pickled=True)
        allow_pickle("far/1", note="made here")
        sys.path[:] = path
        del sys.modules["doubling"]
        with pytest.raises(CodecError, match="No module named 'doubling'"):
            load_model("far")
        with importing_from([folder]):
            assert Predictor.load(get_model_version("far"), workspace.blobs)([{"x": 4}]) == [8.0]
    finally:
        sys.path[:] = path
        sys.modules.pop("doubling", None)


def test_a_pickle_loads_once_a_person_allowed_it_and_until_it_is_revoked(workspace: Workspace) -> None:
    version = odd()
    assert version.encoded is not None
    assert odd() == version
    refused = r"`odd/1` is a pickle.*allow-pickle odd/1"
    for use in (
        lambda: load_model("odd"),
        lambda: Predictor.load(version, workspace.blobs),
        lambda: bind("live", "odd@prod", version="odd/1"),
    ):
        with pytest.raises(NotAllowedError, match=refused):
            use()
    assert allow_pickle("odd/1", note="made here") == version
    for _ in range(2):
        collect(workspace, grace_s=-1)
    assert Predictor.load(version, workspace.blobs)([{"x": 4}]) == [8.0]
    assert bind("live", "odd@prod", version="odd/1").number == 1
    revoke_pickle("odd/1", note="not any more")
    revoke_pickle("odd/1", note="nor now")
    with pytest.raises(NotAllowedError, match=refused):
        load_model("odd")
    told = [(event.kind, event.payload.get("note")) for event in workspace.ledger.events(subject=version.id, limit=9)]
    assert [each for each in told if "pickle" in each[0]] == [
        ("model_version.pickle_allowed", "made here"), ("model_version.pickle_revoked", "not any more")
    ]  # fmt: skip


@pytest.mark.one_backend("the permission has a test on both")
def test_a_permission_is_a_persons_for_one_version_and_has_a_reason(workspace: Workspace, registered: Any) -> None:
    odd()
    with within_task("step"), pytest.raises(NotAllowedError, match="A step can't allow a pickle"):
        allow_pickle("odd/1", note="automatic")
    with within_task("again", replay=Replay("then")), pytest.raises(NotAllowedError, match="A step can't take"):
        revoke_pickle("odd/1")
    with pytest.raises(InvalidError, match="why it is trusted"):
        allow_pickle("odd/1", note=" ")
    with pytest.raises(InvalidError, match="one that is stored as a pickle"):
        allow_pickle(registered(), note="needless")
    allow_pickle("odd/1", note="seen")
    other = register(Odd(), "other", signature=Signature((Field("y", "f64"),)), input_kind="numpy", pickled=True)
    with pytest.raises(NotAllowedError, match="nobody allowed it"):
        load_model(other)


def test_a_pickle_of_another_workspace_or_a_changed_one_is_never_opened(workspace: Workspace, tmp_path: Path) -> None:
    """Even with the permission's row and the version's row rewritten: only the key signs."""
    version = odd()
    exploded = tmp_path / "exploded"
    bomb = pickle.dumps(Touch(exploded))
    with Workspace.open(tmp_path / "other", overrides={"database": f"sqlite://{tmp_path}/o.db"}) as other:
        foreign = sign(other.database, "model pickle", bomb)
    own = workspace.blobs.read(version.encoded.blob if version.encoded else "")
    for data in (foreign, bomb, b"", own[:-1] + b"x", own[:40], sign(workspace.database, "something else", bomb)):
        blob = workspace.blobs.put(data)
        store = ModelStore(workspace.database)
        with store.database.transaction() as tx:
            changed = store.change_version(
                tx, store.version(version.id), "x", encoded=Encoded("pickle", blob, len(data))
            )
            tx.execute("DELETE FROM model_permission")
            tx.insert("model_permission", {"version": version.id, "blob": blob})
        with pytest.raises(NotAllowedError, match="came from elsewhere"):
            load_model(changed)
    assert not exploded.exists()
    assert verified(workspace.database, "p", sign(workspace.database, "p", b"1")) == b"1"


@pytest.mark.one_backend("a file is changed in place")
def test_a_blob_changed_on_the_disk_is_found_by_its_digest(workspace: Workspace) -> None:
    version = odd()
    allow_pickle(version, note="mine")
    path = workspace.blobs.path(version.encoded.blob if version.encoded else "")
    data = path.read_bytes()
    os.chmod(path, 0o644)
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(CorruptBlobError):
        load_model(version)


@pytest.mark.one_backend("the permission has a test on both")
def test_what_pickle_cant_bring_back_is_refused_when_it_is_registered(workspace: Workspace) -> None:
    signature = Signature((Field("x", "f64"),))
    with pytest.raises(CodecError, match="pickle can't store"):
        register(lambda rows: rows, "odd", signature=signature, pickled=True)
    local = type("Local", (), {"__module__": "__main__", "predict": Odd.predict})
    vars(__import__("sys").modules["__main__"])["Local"] = local
    try:
        with pytest.raises(CodecError, match=r"`__main__\.Local`, of the script"):
            register(local(), "odd", signature=signature, pickled=True)
    finally:
        del vars(__import__("sys").modules["__main__"])["Local"]


@pytest.mark.one_backend("the permission has a test on both")
def test_a_pickle_of_mlflow_loads_after_permission_and_needs_none_after_conversion(
    workspace: Workspace, tmp_path: Path
) -> None:
    model = LogisticRegression().fit(TABLE, LATE)
    version = register_folder(folder(tmp_path / "m", model, "cloudpickle"), "late")
    with pytest.raises(NotAllowedError, match=r"mainspring models allow-pickle"):
        load_model(version)
    with pytest.raises(NotAllowedError, match="can't be loaded"):
        convert_model(version)
    allowed = allow_pickle(version, note="our own training job")
    assert (allowed.refusal, allowed.content_digest, allowed.files) == ("", version.content_digest, version.files)
    assert allowed.signature is not None
    assert [each.name for each in allowed.signature.inputs] == [each["name"] for each in COLUMNS]
    expected = model.predict(TABLE).tolist()
    assert Predictor.load(get_model_version("late"), workspace.blobs)(ROWS) == expected

    converted = convert_model(version, note="safe now")
    assert (str(converted), converted.source) == ("late/2", "converted from late/1")
    assert converted.encoded is not None
    assert converted.encoded.codec == "sklearn"
    assert ("converted_from", version.id) in [(edge.role, edge.dst) for edge in workspace.ledger.edges([converted.id])]
    revoke_pickle(version)
    assert Predictor.load(converted, workspace.blobs)(ROWS) == expected
    with pytest.raises(InvalidError, match="a pickle to convert"):
        convert_model(converted)


@pytest.mark.one_backend("the permission has a test on both")
def test_a_conversion_that_is_impossible_says_why(workspace: Workspace, tmp_path: Path) -> None:
    allow_pickle(odd(), note="mine")
    with pytest.raises(CodecError, match="No codec takes"):
        convert_model("odd")
    cut = register_folder(folder(tmp_path / "m", LogisticRegression().fit(TABLE, LATE), "pickle"), "cut")
    short = folder(tmp_path / "s", None, "pickle")
    (short / "model.pkl").write_bytes(b"\x80\x05cut")
    with pytest.raises(CodecError, match="can't be opened here"):
        allow_pickle(register_folder(short, "short"), note="mine")
    store = ModelStore(workspace.database)
    allowed = allow_pickle(cut, note="mine")
    with store.database.transaction() as tx:
        store.change_version(tx, allowed, "x", input_example=None)
    with pytest.raises(InvalidError, match=r"`cut/1` has no example.*by --example FILE"):
        convert_model("cut")
    with pytest.raises(InvalidError, match=f"{COLUMNS[0]['name']}: missing"):
        convert_model("cut", input_example=[{"late": 1}])
    assert str(convert_model("cut", input_example=[{**ROWS[0], "late": 1}])) == "cut/2"
    with pytest.raises(NotAllowedError, match="nobody allowed"):
        convert_model(replace(odd("second")))
