"""`mainspring data add`, `status`, `checkout`, `open`, and the pointers that go to Git."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mainspring.data import dataset
from mainspring.data.trees.pointer import find_pointers, pointed, read_pointer, write_pointer
from mainspring.errors import InvalidError, NotFoundError
from mainspring.workspace import Workspace, using
from tests.cli.conftest import call, called, document
from tests.data.trees.folders import content, rewrite, tree_of

FILES = {"a.txt": b"one", "sub/b.bin": b"two", "ünï": b"3"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mainspring.toml").write_text('name = "cards"\n')
    content(tmp_path / "photos", FILES)
    return tmp_path


def test_data_go_with_the_commits_of_git(project: Path, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        ran = subprocess.run(["git", *identity, *words], cwd=project, capture_output=True, text=True, check=True)
        return ran.stdout

    git("init", "-q")
    said = called("data", "add", "photos", "--dataset", "cards", "--note", "the first", cwd=project)
    assert "cards/1" in said
    assert "photos.data.toml" in said
    assert (project / ".gitignore").read_text().splitlines() == ["/photos"]
    git("add", "photos.data.toml", ".gitignore")
    git("commit", "-qm", "one")
    rewrite(project / "photos" / "a.txt", b"changed")
    assert document("data", "status", cwd=project)["status"][0]["changed"] == ["a.txt"]
    called("data", "add", "photos", cwd=project)
    assert (project / ".gitignore").read_text().splitlines() == ["/photos"]
    git("commit", "-qam", "two")
    git("checkout", "-q", "HEAD~1")
    called("data", "checkout", cwd=project)
    assert tree_of(project / "photos") == FILES
    git("checkout", "-q", "-")
    shutil.rmtree(project / "photos")
    assert "3 written" in called("data", "checkout", cwd=project)
    assert tree_of(project / "photos") == FILES | {"a.txt": b"changed"}
    assert "unchanged" in called("data", "status", cwd=project)
    assert git("status", "--porcelain", "--", "photos") == ""


def test_a_pointer_is_a_few_lines_of_toml(project: Path) -> None:
    told = document("data", "add", "photos", "--dataset", "cards", cwd=project)
    assert (told["is_new"], told["pointer"]) == (True, "photos.data.toml")
    found = tomllib.loads((project / "photos.data.toml").read_text())
    assert found == {
        "dataset": "cards", "version": 1, "id": told["dataset"]["id"], "content_digest": told["dataset"]["content_digest"],
        "files": 3, "size_bytes": 7, "kind": "folder",
    }  # fmt: skip
    assert not (project / ".gitignore").exists()
    assert document("data", "add", "photos", cwd=project)["is_new"] is False
    assert document("data", "add", "photos", "--no-pointer", "--dataset", "x", cwd=project)["pointer"] is None


def test_status_names_what_differs_and_ends_well(project: Path) -> None:
    called("data", "add", "photos", cwd=project)
    (project / "photos" / "new").write_bytes(b"n")
    rewrite(project / "photos" / "a.txt", b"two")
    (project / "photos" / "ünï").unlink()
    lines = called("data", "status", "photos", cwd=project).splitlines()
    assert lines[0].startswith("photos/1")
    assert lines[1:] == ["  new      new", "  changed  a.txt", "  removed  ünï"]
    assert called("data", "status", cwd=project) == called("data", "status", "photos.data.toml", cwd=project)
    assert "No pointers here" in called("data", "status", cwd=content(project / "other", {}))
    assert "No pointer" in called("data", "status", "nowhere", cwd=project, status=1)


def test_a_changed_file_stops_a_checkout_and_force_does_not(project: Path) -> None:
    called("data", "add", "photos", cwd=project)
    rewrite(project / "photos" / "a.txt", b"mine")
    assert "`a.txt` would be lost" in called("data", "checkout", cwd=project, status=1)
    assert (project / "photos" / "a.txt").read_bytes() == b"mine"
    called("data", "checkout", "photos", "--force", cwd=project)
    assert tree_of(project / "photos") == FILES


def test_a_version_is_checked_out_anywhere_and_in_part(project: Path) -> None:
    called("data", "add", "photos", "--dataset", "cards", cwd=project)
    rewrite(project / "photos" / "a.txt", b"changed")
    called("data", "add", "photos", "--dataset", "cards", cwd=project)
    called("data", "checkout", "cards@1", "old", cwd=project)
    assert tree_of(project / "old") == FILES
    called("data", "checkout", "cards/2", "part", "--path", "**/*.bin", "--path", "a.txt", cwd=project)
    assert tree_of(project / "part") == {"a.txt": b"changed", "sub/b.bin": b"two"}
    assert document("data", "checkout", "cards", cwd=project)["checkouts"][0]["path"] == str(project / "cards")


def test_a_lone_file_has_a_pointer_too(project: Path) -> None:
    content(project, {"labels.csv": b"a,b\n"})
    called("data", "add", "labels.csv", cwd=project)
    assert read_pointer(project / "labels.csv.data.toml").kind == "file"
    assert read_pointer(project / "labels.csv.data.toml").dataset == "labels"
    (project / "labels.csv").unlink()
    assert document("data", "status", cwd=project)["status"][0]["removed"] == ["labels.csv"]
    called("data", "checkout", cwd=project)
    assert (project / "labels.csv").read_bytes() == b"a,b\n"
    assert {path.name for path in project.iterdir()} >= {"photos", "mainspring.toml"}


def test_a_folder_of_a_tree_has_a_pointer(project: Path) -> None:
    called("data", "add", "photos", "--dataset", "cards", cwd=project)
    content(project / "more", {"x": b"x"})
    called("data", "add", "more", "--dataset", "cards", "--update", "--into", "extra", cwd=project)
    assert read_pointer(project / "more.data.toml").into == "extra"
    shutil.rmtree(project / "more")
    called("data", "checkout", "more", cwd=project)
    assert tree_of(project / "more") == {"x": b"x"}
    assert [each["unchanged"] for each in document("data", "status", cwd=project)["status"]] == [1, 3]


def test_a_file_is_printed_without_a_checkout(project: Path) -> None:
    called("data", "add", "photos", "--dataset", "cards", cwd=project)
    assert called("data", "open", "cards", "sub/b.bin", cwd=project) == "two"
    called("data", "open", "cards@1", "a.txt", "-o", "copy", cwd=project)
    assert "There is no folder `no`" in called(
        "data", "open", "cards@1", "a.txt", "-o", "no/copy", cwd=project, status=1
    )
    assert (project / "copy").read_bytes() == b"one"
    assert document("data", "open", "cards/1", "a.txt", cwd=project)["file"]["media_type"] == "text/plain"
    assert "Nearest: a.txt" in called("data", "open", "cards", "a.tx", cwd=project, status=1)


def test_a_pointer_of_another_workspace_finds_the_content_or_says_so(project: Path, tmp_path: Path) -> None:
    called("data", "add", "photos", "--dataset", "cards", cwd=project)
    other = tmp_path / "clone"
    other.mkdir()
    (other / "mainspring.toml").write_text('name = "cards"\n')
    shutil.copy(project / "photos.data.toml", other)
    with Workspace.open(other) as workspace:
        dataset("cards", workspace).add(content(tmp_path / "unlike", {"a": b"1"}))
    assert "made in another workspace" in called("data", "checkout", cwd=other, status=1)
    with Workspace.open(other) as workspace:
        dataset("cards", workspace).add(project / "photos")
    called("data", "checkout", cwd=other)
    assert tree_of(other / "photos") == FILES


@pytest.mark.parametrize("text", ["", "dataset = ", "dataset = 7", 'dataset = "x"\nversion = 1\n'])
def test_half_a_pointer_is_named(project: Path, text: str) -> None:
    called("data", "add", "photos", cwd=project)
    (project / "photos.data.toml").write_text(text)
    with pytest.raises(InvalidError, match=r"photos\.data\.toml: .* is not a pointer"):
        read_pointer(project / "photos.data.toml")
    assert "photos.data.toml" in called("data", "status", cwd=project, status=1)


def test_one_broken_pointer_does_not_stop_the_others(project: Path) -> None:
    for name in ("photos", "edited", "broken", "elsewhere"):
        call("data", "add", str(content(project / name, FILES)), "--dataset", name, cwd=project)
    for name, old, new in (
        ("edited", 'content_digest = "', 'content_digest = "0'), ("broken", "version = 1", ""),
        ("elsewhere", 'dataset = "elsewhere"', 'dataset = "gone"'),
    ):  # fmt: skip
        file = project / f"{name}.data.toml"
        file.write_text(file.read_text().replace(old, new))
    shutil.rmtree(project / "photos")
    for command in ("status", "checkout"):
        done = call("data", command, cwd=project)
        assert (done.exit_code, done.stdout.startswith("photos/1")) == (1, True)
        errors = done.stderr.splitlines()
        assert [next(name for name in ("broken", "edited", "elsewhere") if name in line) for line in errors] == [
            "broken", "edited", "elsewhere",
        ]  # fmt: skip
        told = json.loads(call("data", command, "--json", cwd=project).stdout)
        assert [each["code"] for each in told["failed"]] == ["invalid", "invalid", "not_found"]
    assert tree_of(project / "photos") == FILES


def test_the_folder_one_is_in_is_named_by_its_own_name(project: Path) -> None:
    done = call("data", "add", ".", cwd=project / "photos")
    assert done.stdout.startswith("photos/1  3 files"), done.stderr
    assert read_pointer(project / "photos.data.toml").dataset == "photos"


def test_a_tree_that_is_exported_as_a_table_is_told_where_to(project: Path) -> None:
    call("data", "add", "photos", cwd=project)
    said = call("data", "export", "photos", "out", cwd=project).stderr
    assert "`mainspring data checkout photos/1 out` writes its files, `--format dvc` gives them to DVC" in said


def test_log_marks_what_was_removed(project: Path) -> None:
    for text in (b"1", b"2"):
        call("data", "add", str(content(project / "photos", {"a": text})), "--note", "mine", cwd=project)
    call("data", "remove", "photos/1", cwd=project)
    newest, removed = call("data", "log", "photos", cwd=project).stdout.splitlines()[-2:]
    assert newest.endswith("mine")
    assert removed.endswith("(removed)")


def test_what_is_left_of_what_was_removed_is_shown(project: Path) -> None:
    for text in (b"1", b"2"):
        call("data", "add", str(content(project / "photos", {"a": text})), cwd=project)
    call("data", "remove", "photos/1", cwd=project)
    shown = call("data", "show", "photos/1", cwd=project).stdout
    assert re.search(r"holds +4 files, 8 B\nremoved +\d", shown)
    assert document("data", "show", "photos/1", cwd=project)["dataset"]["files_shown"] == []
    call("data", "remove", "photos", "--yes", cwd=project)
    pointer = read_pointer(project / "photos.data.toml")
    assert "No data of version `photos/2`. It was removed at" in called("data", "status", cwd=project, status=1)
    assert "removed" in called("data", "show", pointer.id, cwd=project)
    assert "data of a version, or a whole DATASET with its name" in called("data", "remove", "--help", cwd=project)


def test_a_hostile_pointer_leaves_nothing(project: Path) -> None:
    called("data", "add", "photos", cwd=project)
    file = project / "photos.data.toml"
    file.write_text(file.read_text() + 'into = "../../etc"\n')
    with pytest.raises(InvalidError, match="relative path"):
        read_pointer(file)
    file.write_text(
        file.read_text().replace('into = "../../etc"\n', "").replace('content_digest = "', 'content_digest = "0')
    )
    assert "The pointer was edited" in called("data", "checkout", cwd=project, status=1)


def test_pointers_are_found_below_but_not_within_data(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "ws") as workspace, using(workspace):
        for name in ("a", "deep/er/b", "odd [x]\"'\\*"):
            root = content(tmp_path / name, {"file": b"1", "inner.data.toml": b"dataset = 'no pointer of ours'"})
            written = write_pointer(root, dataset("d").add(root))
            assert pointed(written) == root
            assert read_pointer(written).dataset == "d"
    content(tmp_path / ".hidden", {"x.data.toml": b""})
    assert [path.relative_to(tmp_path).as_posix() for path in find_pointers(tmp_path)] == [
        "a.data.toml",
        "deep/er/b.data.toml",
        "odd [x]\"'\\*.data.toml",
    ]
    with pytest.raises(NotFoundError):
        read_pointer(tmp_path / "none.data.toml")


def test_nothing_heavy_is_loaded_for_status(project: Path) -> None:
    called("data", "add", "photos", cwd=project)
    code = (
        "import sys; from mainspring.cli.main import cli; cli(['data', 'status'], standalone_mode=False); "
        "print(sorted({'polars', 'numpy', 'rich', 'PIL', 'fsspec', 'pyfastcdc'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=os.environ, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


def test_two_paths_of_one_name_are_no_versions_of_one_dataset(project: Path) -> None:
    for name in ("train", "test"):
        content(project / name / "images", {f"{name}.txt": name.encode()})
        content(project / name, {"labels.csv": name.encode()})
    for path in ("images", "labels.csv"):
        name = path.partition(".")[0]
        assert f"{name}/1" in called("data", "add", f"train/{path}", cwd=project)
        for more in ([], ["--no-pointer"], ["--update"]):
            said = call("data", "add", f"test/{path}", *more, cwd=project)
            assert said.exit_code == 1
            assert re.search(
                rf"`{name}` is not free for test/{path}\. train/{path}\.data\.toml names it\. Say `--dataset NAME`",
                said.stderr,
            )
        assert not (project / "test" / f"{path}.data.toml").exists()
        assert f"{name}/1" in called("data", "add", f"train/{path}", cwd=project)
        assert f"test-{name}/1" in called("data", "add", f"test/{path}", "--dataset", f"test-{name}", cwd=project)
        assert f"test-{name}/1" in called("data", "add", f"test/{path}", cwd=project)
        called("data", "log", f"{name}/1", cwd=project)
    assert "images/2" in called("data", "add", "test/images", "--dataset", "images", cwd=project)


def test_a_name_is_free_again_when_its_pointer_is_gone_moved_or_names_another(project: Path) -> None:
    called("data", "add", "photos", cwd=project)
    (project / "moved").mkdir()
    for name in ("photos", "photos.data.toml"):
        (project / name).rename(project / "moved" / name)
    assert "photos/1" in called("data", "add", "moved/photos", cwd=project)
    content(project / "photos", {"b.txt": b"b"})
    assert "moved/photos.data.toml names it" in call("data", "add", "photos", cwd=project).stderr
    (project / "moved" / "photos.data.toml").write_text("half a")
    assert "photos/2" in called("data", "add", "photos", cwd=project)
    (project / "photos.data.toml").unlink()
    assert "photos/2" in called("data", "add", "photos", cwd=project)
    called("data", "add", "photos", "--dataset", "other", cwd=project)
    content(project / "new" / "photos", {"c.txt": b"c"})
    assert "photos/3" in called("data", "add", "new/photos", cwd=project)
    called("data", "remove", "photos", "--yes", cwd=project)
    content(project / "newest" / "photos", {"c.txt": b"d"})
    assert "photos/" in called("data", "add", "newest/photos", cwd=project)


def test_a_path_with_the_name_of_a_table_is_told_to_choose_another(project: Path) -> None:
    (project / "rows.csv").write_text("n\n1\n")
    called("data", "ingest", "rows.csv", "--to", "photos", cwd=project)
    said = call("data", "add", "photos", cwd=project)
    assert (said.exit_code, "It is a table; choose another: `--dataset NAME`" in said.stderr) == (1, True)
    assert "cards/1" in called("data", "add", "photos", "--dataset", "cards", cwd=project)


def test_the_project_itself_has_no_place_for_a_pointer(project: Path) -> None:
    for here, path in ((project, "."), (project / "photos", "..")):
        refused = call("data", "add", path, cwd=here)
        assert (refused.exit_code, "`--no-pointer`" in refused.stderr) == (1, True)
    assert not list(project.parent.glob("*.data.toml"))
