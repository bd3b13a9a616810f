"""An image of an endpoint: what is in it and what is not, that it is an image by the specification, and that it is refused."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

from mainspring.cli.main import cli
from mainspring.deploy import BuiltImage, build_image
from mainspring.deploy.needs import Needs
from mainspring.deploy.shared import SharedLibrary
from mainspring.deploy.tree import File
from mainspring.errors import (
    ExistsError,
    InvalidError,
    MainspringError,
    NotAllowedError,
    NotFoundError,
    RebuildError,
    StorageError,
    UnavailableError,
)
from mainspring.models import get_model_version, register
from mainspring.serving import bind, get_endpoint
from mainspring.workspace import Workspace
from tests.deploy.bases import MINOR, PROGRAM, empty_base
from tests.deploy.conftest import ROWS
from tests.deploy.oci import Checked, unpacked

pytestmark = [pytest.mark.journey, pytest.mark.one_backend("what is sealed has a suite on each")]
LIBRARY = "opt/mainspring/lib"


class Made(NamedTuple):
    told: BuiltImage
    image: Checked
    said: list[str]
    base: Path


@pytest.fixture(scope="module")
def made(project: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, said = tmp_path_factory.mktemp("made"), list[str]()
    base = empty_base(folder / "base")
    told = build_image("lines", folder / "lines.tar", base=str(base), on_progress=said.append)
    return Made(told, Checked(unpacked(folder / "lines.tar", folder / "layout")), said, base)


def test_it_is_an_image_by_the_specification(made: Made) -> None:
    assert (made.image.digest, made.image.reference) == (made.told.digest, "lines:1")
    assert len(made.image.layers) == 4
    for number in range(4):
        made.image.entries(number)


def test_it_starts_as_nobody_and_serves_this_version(made: Made) -> None:
    started = made.image.config["config"]
    assert started["Entrypoint"] == [f"/{PROGRAM}", "-P", "-m", "mainspring"]
    assert (started["Cmd"], started["User"]) == (["serve"], "65532:0")
    assert started["ExposedPorts"] == {"8080/tcp": {}}
    variables = made.image.environment
    assert variables["PATH"] == "/usr/local/bin:/usr/bin"
    assert (variables["MAINSPRING_SERVE_HOST"], variables["MAINSPRING_SERVE_PORT"]) == ("0.0.0.0", "8080")
    assert variables["MAINSPRING_SERVE_TOKEN"] == "secret:env/SERVE_TOKEN"
    sealed = json.loads(made.image.read(f"{variables['MAINSPRING_SERVE_ENDPOINT'][1:]}/endpoint.json"))
    assert sealed["version"]["id"] == get_endpoint("lines").version
    state = made.image.entries(3)["var/lib/mainspring"]
    assert (state.uid, state.gid, state.mode) == (65532, 0, 0o770)


def test_it_says_what_it_is(made: Made) -> None:
    version = get_model_version("line/1")
    said = made.image.manifest["annotations"]
    assert said.items() <= made.image.config["config"]["Labels"].items()
    assert made.image.config["config"]["Labels"]["who"] == "base"
    assert said["dev.mainspring.model-version"] == version.id
    assert said["dev.mainspring.content-digest"] == version.content_digest
    assert said["org.opencontainers.image.version"] == "line/1"
    assert said["org.opencontainers.image.licenses"] == "MIT"
    assert said["org.opencontainers.image.base.digest"] == made.told.base_digest


def test_a_graph_brings_neither_polars_nor_scikit_learn_nor_tools(made: Made) -> None:
    assert {"numpy", "onnxruntime", "uvicorn", "msgspec"} <= made.told.distributions.keys()
    assert (
        not {"polars", "scikit-learn", "scipy", "pip", "setuptools", "pytest", "onnx"} & made.told.distributions.keys()
    )
    names = {path.split("/")[3] for path in made.image.entries(1) if path.count("/") > 2}
    assert {"numpy", "onnxruntime"} <= names
    assert "polars" not in names


def test_the_lock_is_in_it_and_was_kept_to(made: Made, project: Workspace) -> None:
    lines = made.image.read("opt/mainspring/requirements.txt").decode().splitlines()
    assert lines == [f"{name}=={version}" for name, version in sorted(made.told.distributions.items())]
    lock = get_model_version("line/1").environment
    assert lock is not None
    recorded = msgspec.json.decode(made.image.read(f"opt/mainspring/endpoint/blobs/{lock}"))["distributions"]
    assert recorded.items() >= made.told.distributions.items()


def test_files_are_roots_and_of_no_time(made: Made) -> None:
    for number in (1, 2, 3):
        for path, entry in made.image.entries(number).items():
            if path != "var/lib/mainspring":
                assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", 0)
                assert entry.mode in ((0o755,) if entry.isdir() else (0o644, 0o755))


def test_what_serving_imports_has_bytecode_and_tests_have_none(made: Made) -> None:
    compiled = [path for path in made.image.entries(1) if path.endswith(".pyc")]
    assert any("/numpy/__pycache__/__init__" in path for path in compiled)
    assert not [path for path in compiled if "/tests/" in path]
    assert f"{LIBRARY}/mainspring/serving/__pycache__/app.cpython-{MINOR.replace('.', '')}.pyc" in made.image.entries(2)


def test_nothing_in_it_tells_of_this_machine_or_its_people(made: Made, project: Workspace) -> None:
    places = [os.fsencode(place) for place in (project.project.root, Path(__file__).parents[2], made.base)]
    for number in (2, 3):
        assert not [place for place in places if place in made.image.layers[number]]
    assert json.loads(made.image.read("opt/mainspring/endpoint/endpoint.json"))["version"]["actor"] == ""


def test_progress_names_each_step(made: Made) -> None:
    assert made.said[0].startswith("serving lines once")
    assert {"reading the base", "packing distributions", "writing lines.tar"} <= {*made.said}


def test_a_platform_in_front_is_declared_and_a_time_is_taken(
    made: Made, project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.deploy.image.trees_of", lambda *_, **__: {})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    told = build_image(
        "lines", tmp_path / "layout", base=str(made.base), authentication="platform", tag="shop/lines:v1"
    )
    image = Checked(tmp_path / "layout")
    assert "MAINSPRING_SERVE_TOKEN" not in image.environment
    assert image.environment["MAINSPRING_SERVE_AUTHENTICATION"] == "platform"
    assert (image.reference, told.reference) == ("shop/lines:v1", "shop/lines:v1")
    assert image.config["created"] == "2023-11-14T22:13:20Z"
    assert {entry.mtime for entry in image.entries(2).values()} == {1_700_000_000}
    with pytest.raises(ExistsError, match="folder"):
        build_image("lines", tmp_path / "layout", base=str(made.base))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built needs nothing, so that what is refused behind that is refused at once."""
    monkeypatch.setattr("mainspring.deploy.image.needs_of", lambda *_: Needs(MINOR, {}, frozenset(), {}))


def test_shared_libraries_that_the_base_lacks_are_in_it_and_found(
    made: Made, project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gomp = SharedLibrary("libgomp.so.1", File(b"OpenMP"), ("lightgbm",))
    needs = Needs(MINOR, {}, frozenset(), {}, (gomp,))
    monkeypatch.setattr("mainspring.deploy.image.needs_of", lambda *_: needs)
    told = build_image("lines", tmp_path / "layout", base=str(made.base))
    image = Checked(tmp_path / "layout")
    assert told.shared_libraries == {"libgomp.so.1": ("lightgbm",)}
    assert image.read(f"{image.environment['LD_LIBRARY_PATH'].removeprefix('/')}/libgomp.so.1") == b"OpenMP"
    base = empty_base(tmp_path / "having", "usr/lib/x86_64-linux-gnu/libgomp.so.1")
    assert build_image("lines", tmp_path / "without", base=str(base)).shared_libraries == {}
    without = Checked(tmp_path / "without")
    assert "LD_LIBRARY_PATH" not in without.environment
    assert not [path for path in without.entries(1) if "libgomp" in path]
    monkeypatch.setattr("mainspring.deploy.image.is_own_platform", lambda _: False)
    with pytest.raises(InvalidError, match=r"libgomp\.so\.1 of lightgbm.*This machine has none for linux/"):
        build_image("lines", tmp_path / "other", base=str(made.base))
    assert not (tmp_path / "other").exists()


def test_where_the_base_looks_for_shared_libraries_comes_first(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = Needs(MINOR, {}, frozenset(), {}, (SharedLibrary("liba.so.1", File(b"a"), ("a",)),))
    monkeypatch.setattr("mainspring.deploy.image.needs_of", lambda *_: needs)
    base = empty_base(tmp_path / "base", variables=["LD_LIBRARY_PATH=/opt/own"])
    build_image("lines", tmp_path / "layout", base=str(base))
    assert Checked(tmp_path / "layout").environment["LD_LIBRARY_PATH"] == "/opt/own:/opt/mainspring/shared"


def test_a_base_that_is_none_is_refused_and_nothing_is_left(
    made: Made, project: Workspace, quick: None, tmp_path: Path
) -> None:
    (tmp_path / "text.tar").write_text("no tar")
    with tarfile.open(tmp_path / "other.tar", "w"):
        pass
    (tmp_path / "folder").mkdir()
    damaged = empty_base(tmp_path / "damaged")
    layer = max((damaged / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    layer.write_bytes(layer.read_bytes()[:-1] + b"?")
    musl = empty_base(tmp_path / "musl", "lib/ld-musl-x86_64.so.1")
    older = empty_base(tmp_path / "older")
    for given, error, text in (
        ("text.tar", InvalidError, "OCI image layout"), ("other.tar", InvalidError, "OCI image layout"),
        ("folder", InvalidError, "OCI image layout"), (damaged.name, StorageError, "bytes of this blob"),
        (musl.name, InvalidError, "glibc"),
    ):  # fmt: skip
        with pytest.raises(error, match=text):
            build_image("lines", tmp_path / "out.tar", base=str(tmp_path / given))
    with pytest.raises(InvalidError, match=r"such as docker.io"):
        build_image("lines", tmp_path / "out.tar", base="No Image")
    with pytest.raises(InvalidError, match="linux/amd64"):
        build_image("lines", tmp_path / "out.tar", base=str(older), platform="windows/amd64")
    with pytest.raises(InvalidError, match="image for linux/arm64"):
        build_image("lines", tmp_path / "out.tar", base=str(older), platform="linux/arm64")
    with pytest.raises(UnavailableError, match="--base PATH"):
        build_image("lines", tmp_path / "out.tar", base="127.0.0.1:9/none:1")
    assert [path for path in tmp_path.iterdir() if "out" in path.name] == []


def test_a_base_of_the_project_that_is_none_is_named_as_its_setting(
    project: Workspace, quick: None, tmp_path: Path
) -> None:
    with Workspace.open(project.project.root, overrides={"image_base": "No Image"}) as workspace:
        with pytest.raises(InvalidError, match=r"^image_base: `No Image` is not an image"):
            build_image("lines", tmp_path / "out.tar", workspace=workspace)
        with pytest.raises(InvalidError, match=r"^base: `None at all` is not an image"):
            build_image("lines", tmp_path / "out.tar", base="None at all", workspace=workspace)


def test_a_base_that_is_not_there_is_refused_before_the_endpoint_is_served(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.deploy.image.needs_of", lambda *_: pytest.fail("it was served"))
    with pytest.raises(MainspringError, match="nowhere"):
        build_image("lines", tmp_path / "out.tar", base=str(tmp_path / "nowhere"))


def test_a_base_without_this_python_is_refused(
    made: Made, project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.deploy.image.needs_of", lambda *_: Needs("3.99", {}, frozenset(), {}))
    with pytest.raises(InvalidError, match=re.escape("no bin/python3.99")):
        build_image("lines", tmp_path / "out.tar", base=str(made.base))


def test_a_full_disk_is_said_and_nothing_is_left(made: Made, project: Workspace, quick: None, small_disk: Path) -> None:
    with pytest.raises(StorageError, match="disk is full"):
        build_image("lines", small_disk / "out.tar", base=str(made.base))
    assert list(small_disk.iterdir()) == []


def test_a_distribution_without_a_wheel_is_named(
    made: Made, project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mainspring.deploy.image.needs_of", lambda *_: Needs(MINOR, {"no-such-thing": "1.0"}, frozenset(), {})
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RebuildError, match=r"no-such-thing==1\.0.*--wheels DIR"):
        build_image("lines", tmp_path / "out.tar", base=str(made.base))


def set_lock(project: Workspace, blob: str | None) -> None:
    with project.database.transaction() as tx:
        tx.execute("UPDATE model_version SET environment = ? WHERE id = ?", (blob, get_endpoint("bare").version))


def test_what_cannot_be_sealed_is_refused_first(project: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No endpoint `line`"):
        build_image("line", tmp_path / "out.tar")
    register(LinearRegression().fit(ROWS, [3.0, 6.0]), "bare", input_example=ROWS)
    bind("bare", "bare@production", version="bare/1")
    set_lock(project, None)
    with pytest.raises(NotFoundError, match="bare/1 has no record `environment`"):
        build_image("bare", tmp_path / "out.tar")
    lock = {
        "python": "3.9.1",
        "implementation": "cpython",
        "platform": "linux-x86_64",
        "distributions": {},
        "digest": "",
    }
    set_lock(project, project.blobs.put(msgspec.json.encode(lock)))
    with pytest.raises(NotAllowedError, match=re.escape("registered with cpython 3.9")):
        build_image("bare", tmp_path / "out.tar")


def test_the_command_tells_one_line_of_what_is_wrong(project: Workspace, tmp_path: Path) -> None:
    run = CliRunner().invoke(cli, ["-C", str(project.project.root), "build", "line", "-o", str(tmp_path / "x.tar")])
    assert (run.exit_code, run.stderr.count("\n")) == (1, 1)
    assert "Nearest: lines" in run.stderr
    asked = ["-C", str(project.project.root), "build", "lines", "--dockerfile", "d", "--tag", "x"]
    assert CliRunner().invoke(cli, asked).exit_code == 2
