"""Images that really run: unpacked into a folder that is the root of a process, and two builds that differ in nothing."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from mainspring.deploy import build_image
from mainspring.models import export_onnx, register
from mainspring.serving import bind
from mainspring.serving.runtime import Runtime
from mainspring.workspace import Workspace, using
from tests.deploy.bases import running_base
from tests.deploy.conftest import with_endpoint
from tests.deploy.oci import Checked, unpacked

pytestmark = [
    pytest.mark.journey, pytest.mark.one_backend("an image holds its own workspace"),
    pytest.mark.skipif(sys.platform != "linux", reason="images are of Linux"),
]  # fmt: skip
IMPORTED = ("mainspring.cli.serve", "mainspring.serving.supervisor", "mainspring.serving.app")
BUILD = """
import os, sys
os.umask(int(sys.argv[1], 8))
from mainspring.__main__ import main
sys.argv = ["mainspring", "build", *sys.argv[2:]]
main()
"""


@contextmanager
def container(image: Checked, root: Path, *options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The image's command in a folder as its root, as its user, with its variables and none of this process's."""
    inner = image.config["config"]
    user = ["--userspec", inner["User"]] if os.geteuid() == 0 else []
    outside = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
    given = {"PATH": os.environ["PATH"]} | {name: value for name, value in image.environment.items() if name != "PATH"}
    # `chroot` starts in the root; the working directory of an image is where its workspace is.
    place = ["-C", inner["WorkingDir"]]
    command = [*outside, "chroot", *user, str(root), *inner["Entrypoint"], *place, *inner["Cmd"], *options, "--json"]
    process = subprocess.Popen(
        command, env=given | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=30)


def told(image: Checked, root: Path, code: str, **variables: str) -> str:
    """What some code prints that the image's Python runs."""
    outside = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
    python = image.config["config"]["Entrypoint"][0]
    command = [*outside, "chroot", str(root), python, "-P", "-W", "ignore", "-c", code]
    given = {**image.environment, "PATH": os.environ["PATH"], **variables}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=True).stdout


def asked(port: int, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, json.loads(said)


@pytest.fixture(scope="module")
def image(project: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    folder = tmp_path_factory.mktemp("image")
    build_image("lines", folder / "lines.tar", base=str(running_base(folder / "base")))
    return Checked(unpacked(folder / "lines.tar", folder / "layout"))


def test_it_answers_with_a_token_and_logs_as_nobody(image: Checked, tmp_path: Path) -> None:
    root = image.unpack(tmp_path / "root")
    with container(image, root, MAINSPRING_SERVE_PORT="0", SERVE_TOKEN="t0p") as process:
        assert process.stdout is not None
        port = int(json.loads(process.stdout.readline())["url"].rpartition(":")[2])
        assert asked(port, "/ping")[0] == 200
        assert asked(port, "/predict", {"x": 3.0, "y": 1.0})[0] == 401
        bearing = {"authorization": "Bearer t0p", "content-type": "application/json"}
        status, said = asked(port, "/predict", {"x": 1.0, "y": 0.5}, **bearing)
        assert (status, said["predictions"], said["model_version"]) == (200, [pytest.approx(2.0)], "line/1")
        frame = {"dataframe_split": {"columns": ["x", "y"], "data": [[2.0, 1.0]]}}
        assert asked(port, "/invocations", frame, **bearing) == (200, {"predictions": [pytest.approx(4.0)]})
    segments = [
        path for path in (root / "var/lib/mainspring").rglob("*") if "predictions" in path.parts and path.is_file()
    ]
    assert segments
    if os.geteuid() == 0:
        assert {path.stat().st_uid for path in segments} == {65532}


STARTED = f"""
import importlib, os, sys
for name in {tuple(IMPORTED)!r}:
    importlib.import_module(name)
files = {{name: module.__cached__ for name, module in sys.modules.items() if getattr(module, "__cached__", None)}}
print(len(files), *sorted(name for name, file in files.items() if not os.path.exists(file)))
"""


def test_a_start_compiles_nothing(image: Checked, tmp_path: Path) -> None:
    """Neither of Mainspring nor of Python's own library, of which the base has no bytecode."""
    root = image.unpack(tmp_path / "root")
    count, *compiled = told(image, root, STARTED, PYTHONDONTWRITEBYTECODE="1").split()
    assert int(count) > 200
    assert compiled == []


def test_without_a_token_it_does_not_start(image: Checked, tmp_path: Path) -> None:
    with container(image, image.unpack(tmp_path / "root"), MAINSPRING_SERVE_PORT="0") as process:
        said = "".join(process.communicate(timeout=60))
    assert process.returncode == 1
    assert json.loads(said)["error"]["code"] == "secret"
    assert "SERVE_TOKEN" in said


def test_two_builds_from_two_paths_are_one_image(image: Checked, tmp_path: Path, project: Workspace) -> None:
    """Another copy of the project, another path of the base, another umask, language, time zone and hash seed."""
    copy = tmp_path / "elsewhere" / "of another name"
    shutil.copytree(project.project.root, copy)
    shutil.rmtree(copy / ".mainspring" / "cache", ignore_errors=True)
    base = tmp_path / "b"
    shutil.copytree(image.layout.parent / "base", base)
    other = {
        "PYTHONHASHSEED": "4242", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PATH": os.environ["PATH"], "HOME": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-c", BUILD, "0077", "lines", "--base", str(base), "-o", "out.tar", "--json"]
    done = subprocess.run(command, cwd=copy, env=other, capture_output=True, check=True)
    assert json.loads(done.stdout)["digest"] == image.digest
    again = Checked(unpacked(copy / "out.tar", tmp_path / "again"))
    assert again.manifest == image.manifest


def test_another_endpoint_is_another_image(image: Checked, tmp_path: Path) -> None:
    with_endpoint(tmp_path / "second")
    with Workspace.open(tmp_path / "second") as second:
        told = build_image("lines", tmp_path / "out.tar", base=str(image.layout.parent / "base"), workspace=second)
    assert told.digest != image.digest


@pytest.fixture(scope="module")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    """An image of a booster of LightGBM, native, on a base without libgomp."""
    folder = tmp_path_factory.mktemp("boosted")
    (folder / "project").mkdir()
    with Workspace.open(folder / "project") as opened, using(opened):
        data = lightgbm.Dataset(np.array([[1.0], [2.0]] * 20), [2.0, 4.0] * 20)
        booster = lightgbm.train({"verbose": -1, "num_threads": 1}, data, 2)
        register(booster, "steps", input_example=pl.DataFrame({"x": [1.0, 2.0]}))
        bind("steps", "steps@production", version="steps/1")
        told = build_image("steps", folder / "steps.tar", base=str(running_base(folder / "base")))
    assert told.shared_libraries == {"libgomp.so.1": ("lightgbm",)}
    return Checked(unpacked(folder / "steps.tar", folder / "layout"))


def test_a_model_of_lightgbm_runs_on_a_base_without_its_library(boosted: Checked, tmp_path: Path) -> None:
    root = boosted.unpack(tmp_path / "root")
    with container(boosted, root, MAINSPRING_SERVE_PORT="0", SERVE_TOKEN="t0p") as process:
        assert process.stdout is not None
        port = int(json.loads(process.stdout.readline())["url"].rpartition(":")[2])
        bearing = {"authorization": "Bearer t0p", "content-type": "application/json"}
        assert asked(port, "/predict", {"x": 1.0}, **bearing)[0] == 200
    (root / "opt/mainspring/shared/libgomp.so.1").unlink()
    with container(boosted, root, MAINSPRING_SERVE_PORT="0", SERVE_TOKEN="t0p") as process:
        said = "".join(process.communicate(timeout=60))
    assert process.returncode == 1
    assert "needs the shared library `libgomp.so.1`" in said
    assert "apt-get install libgomp1" in said


@pytest.mark.soak
@pytest.mark.parametrize("runtime", ["native", "onnx"])
@pytest.mark.parametrize("workers", [0, 1])
def test_it_is_ready_in_two_seconds(runtime: Runtime, workers: int, tmp_path: Path) -> None:
    """The median of seven starts on a base without bytecode, or twice what importing scikit-learn takes there."""
    rows = np.random.default_rng(0).normal(size=(200, 8))
    table = pl.DataFrame({f"x{number}": rows[:, number] for number in range(8)})
    (tmp_path / "project").mkdir()
    with Workspace.open(tmp_path / "project") as workspace, using(workspace):
        version = register(LogisticRegression().fit(rows, rows[:, 0] > 0), "late", input_example=table[:5])
        export_onnx(version, rows=table)
        bind("late", "late@production", version=str(version), runtime=runtime)
        build_image("late", tmp_path / "late.tar", base=str(running_base(tmp_path / "base")))
    image = Checked(unpacked(tmp_path / "late.tar", tmp_path / "layout"))
    root = image.unpack(tmp_path / "root")
    took = []
    for _ in range(7):
        began = time.perf_counter()
        options = ("--workers", str(workers))
        with container(image, root, *options, MAINSPRING_SERVE_PORT="0", SERVE_TOKEN="t0p") as process:
            assert process.stdout is not None
            port = int(json.loads(process.stdout.readline())["url"].rpartition(":")[2])
            while not is_ready(port):
                time.sleep(0.005)
            took.append(time.perf_counter() - began)
    ready, floor = sorted(took)[3], min(imported_s(image, root) for _ in range(3)) if runtime == "native" else 0.0
    print(f"{runtime}, {workers} workers: ready after {ready:.2f} s, of which its library's import takes {floor:.2f} s")
    assert ready <= max(2, 2 * floor)


def imported_s(image: Checked, root: Path) -> float:
    began = time.perf_counter()
    told(image, root, "import sklearn.linear_model")
    return time.perf_counter() - began


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with suppress(OSError), closing(connection):
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    return False
