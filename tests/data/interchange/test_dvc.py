"""DVC's files and caches: what DVC wrote becomes a version, what we write is what DVC would have written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.interchange.dvc import export_dvc, import_dvc
from mainspring.data.interchange.dvc_files import read_dvc_file
from mainspring.data.trees.manifest import read_listing
from mainspring.errors import CorruptBlobError, ExistsError, InvalidError, MainspringError, NotFoundError, StorageError
from mainspring.workspace import Workspace
from tests.data.trees.folders import content, spoil, tree_of

FILES = {"a/one.txt": b"1", "é.txt": b"", "a/two.bin": bytes(range(256)) * 2_000, "z": b"last"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What `git init` and `dvc init` leave that matters here."""
    (tmp_path / "repo" / ".dvc").mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    return tmp_path / "repo"


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def kept(repository: Path, data: bytes, suffix: str = "", *, old: bool = False, name: str = "") -> str:
    """Put bytes into a cache as DVC does; gives their name."""
    name = name or md5(data) + suffix
    cache = repository / ".dvc" / "cache"
    place = (cache if old else cache / "files" / "md5") / name[:2] / name[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    place.chmod(0o444)
    return name


def folder_of(repository: Path, files: dict[str, bytes], *, old: bool = False) -> str:
    listed = [{"md5": kept(repository, data, old=old), "relpath": path} for path, data in sorted(files.items())]
    return kept(repository, json.dumps(listed).encode(), ".dir", old=old)


def pointer(repository: Path, text: str, name: str = "cards.dvc") -> Path:
    (repository / name).write_text(text)
    return repository / name


def test_a_folder_and_a_file_of_dvc_3_become_trees(workspace: Workspace, repository: Path) -> None:
    name = folder_of(repository, FILES)
    file = pointer(repository, f"outs:\n- md5: {name}\n  size: 5\n  nfiles: 4\n  hash: md5\n  path: cards\n")
    version = import_dvc("cards", file, note="from DVC")
    assert {each.path: version.read_bytes(each.path) for each in version.list_files()} == FILES
    assert (version.kind, version.note, [source.uri for source in version.source]) == (
        "tree", "from DVC", [file.as_uri()]
    )  # fmt: skip
    assert import_dvc("cards", file).id == version.id
    one = pointer(
        repository,
        f"outs:\n- md5: {kept(repository, b'#!')}\n  isexec: true\n  hash: md5\n  path: run.sh\n",
        "run.sh.dvc",
    )
    (found,) = import_dvc("script", one).list_files()
    assert (found.path, found.executable) == ("run.sh", True)


@pytest.mark.one_backend("a file of the local store is spoilt")
def test_what_was_damaged_is_stored_again_by_another_import(workspace: Workspace, repository: Path) -> None:
    name = folder_of(repository, FILES)
    file = pointer(repository, f"outs:\n- md5: {name}\n  size: 5\n  nfiles: 4\n  hash: md5\n  path: cards\n")
    version = import_dvc("cards", file)
    entries = read_listing(workspace.blobs, version.manifest).entries
    for blob in {entries["z"].home.hex(), entries["a/two.bin"].digest.hex()}:
        spoil(workspace, blob, 1)
        with pytest.raises(CorruptBlobError):
            workspace.blobs.read(blob)
    again = import_dvc("cards", file)
    assert again.id == version.id
    assert {each.path: again.read_bytes(each.path) for each in again.list_files()} == FILES


def test_caches_of_dvc_2_are_read_with_their_digests_of_text(workspace: Workspace, repository: Path) -> None:
    text = b"one\r\ntwo\r\n"
    kept(repository, text, old=True, name=md5(text.replace(b"\r\n", b"\n")))
    listed = [{"md5": md5(text.replace(b"\r\n", b"\n")), "relpath": "dos.txt"}]
    name = kept(repository, json.dumps(listed).encode(), ".dir", old=True)
    version = import_dvc("cards", pointer(repository, f"outs:\n- md5: {name}\n  path: cards\n"))
    assert version.read_bytes("dos.txt") == text


def test_what_was_imported_by_dvc_names_its_origin(workspace: Workspace, repository: Path) -> None:
    name = kept(repository, b"data")
    text = f"deps:\n- path: https://example.org/data\n  etag: x\nouts:\n- md5: {name}\n  hash: md5\n  path: data\n"
    version = import_dvc("data", pointer(repository, text))
    assert [source.uri for source in version.source][1:] == ["https://example.org/data"]


def test_a_configured_cache_is_found(workspace: Workspace, repository: Path, tmp_path: Path) -> None:
    name = kept(repository, b"data")
    (repository / ".dvc" / "cache").rename(tmp_path / "shared")
    (repository / ".dvc" / "config").write_text(
        "[cache]\n    dir = ../../shared\n['remote \"x\"']\n    url = s3://x%y\n"
    )
    file = pointer(repository, f"outs:\n- md5: {name}\n  hash: md5\n  path: data\n")
    assert import_dvc("data", file).files == 1
    elsewhere = content(tmp_path / "elsewhere", {"data.dvc": file.read_bytes()}) / "data.dvc"
    with pytest.raises(NotFoundError, match="DVC repository"):
        import_dvc("other", elsewhere)
    assert import_dvc("other", elsewhere, cache=tmp_path / "shared").files == 1


def damaged(repository: Path) -> str:
    name = kept(repository, b"data")
    place = repository / ".dvc" / "cache" / "files" / "md5" / name[:2] / name[2:]
    place.chmod(0o644)
    place.write_bytes(b"daba")
    return name


def hostile(repository: Path) -> str:
    return kept(repository, json.dumps([{"md5": kept(repository, b"x"), "relpath": "../../x"}]).encode(), ".dir")


@pytest.mark.one_backend("what is wrong lies in DVC's files")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (damaged, StorageError, "`data` has another MD5"),
        (lambda _: md5(b"nowhere"), NotFoundError, "dvc pull"),
        (hostile, InvalidError, "relative path"),
        (lambda repository: kept(repository, b"[1]", ".dir"), InvalidError, "list of files"),
        (lambda _: "../../../etc/passwd", InvalidError, "32 hexadecimal digits"),
        (lambda _: "'1'\n  cloud: {}", InvalidError, "32 hexadecimal digits"),
    ],
)
def test_what_is_wrong_in_a_cache_is_named_and_nothing_is_committed(
    workspace: Workspace, repository: Path, make: Callable[[Path], str], error: type[MainspringError], message: str
) -> None:
    file = pointer(repository, f"outs:\n- md5: {make(repository)}\n  hash: md5\n  path: data\n")
    with pytest.raises(error, match=message):
        import_dvc("data", file)
    with pytest.raises(NotFoundError):
        dataset("data").latest()


@pytest.mark.one_backend("it is refused before anything is stored")
@pytest.mark.parametrize(
    "text", ["", "outs: 3", "outs:\n- path: x\n", "outs: [", "outs:\n- 7\n", "!!python/object:os.x {}"]
)
def test_what_is_no_dvc_file_is_refused(workspace: Workspace, repository: Path, text: str) -> None:
    with pytest.raises(InvalidError, match=r"\.dvc file|an output with"):
        import_dvc("data", pointer(repository, text))


def test_one_of_several_outputs_is_named(workspace: Workspace, repository: Path) -> None:
    outs = "".join(
        f"- md5: {kept(repository, name.encode())}\n  hash: md5\n  path: {name}\n" for name in ("one", "two")
    )
    file = pointer(repository, f"outs:\n{outs}")
    assert import_dvc("data", file, out="two").list_files()[0].path == "two"
    with pytest.raises(InvalidError, match="Nearest: two"):
        import_dvc("data", file, out="tow")


def test_an_export_is_what_dvc_would_have_written(workspace: Workspace, repository: Path, tmp_path: Path) -> None:
    folder = content(tmp_path / "cards", FILES)
    (folder / "link").symlink_to("a/one.txt")
    version = dataset("cards").add(folder)
    written = export_dvc(version, repository / "data" / "cards")
    files = tree_of(folder)
    listed = [{"md5": md5(data), "relpath": path} for path, data in sorted(files.items())]
    (out,) = read_dvc_file(Path(written.path)).outs
    assert out.md5 == md5(json.dumps(listed).encode()) + ".dir"
    assert (written.files, written.size_bytes) == (len(files), sum(map(len, files.values())))
    assert (repository / "data" / ".gitignore").read_text() == "/cards\n"
    cache = repository / ".dvc" / "cache"
    objects = {path.parent.name + path.name: path for path in cache.rglob("*") if path.is_file()}
    assert objects.keys() == {out.md5} | {md5(data) for data in files.values()}
    assert {path.stat().st_mode & 0o777 for path in objects.values()} == {0o444}
    back = import_dvc("back", written.path)
    assert {each.path: back.read_bytes(each.path) for each in back.list_files()} == files


def test_a_table_is_exported_as_one_parquet_file(workspace: Workspace, repository: Path) -> None:
    version = dataset("flights").commit(pl.DataFrame({"n": [1, 2]}))
    written = export_dvc(version, repository / "flights.parquet.dvc")
    assert Path(written.path).name == "flights.parquet.dvc"
    back = import_dvc("back", written.path)
    with back.open("flights.parquet") as file:
        assert pl.read_parquet(file).equals(version.to_polars())


def test_a_damaged_object_is_written_anew_and_other_pointers_are_kept(
    workspace: Workspace, repository: Path, tmp_path: Path
) -> None:
    first = dataset("cards").add(content(tmp_path / "cards", {"a": b"data"}))
    damaged(repository)
    export_dvc(first, repository / "cards")
    assert import_dvc("back", repository / "cards.dvc").read_bytes("a") == b"data"
    second = dataset("cards").add(content(tmp_path / "cards", {"a": b"new"}))
    with pytest.raises(ExistsError, match="other content"):
        export_dvc(second, repository / "cards")
    export_dvc(first, repository / "cards")
    export_dvc(second, repository / "cards", overwrite=True)
    assert import_dvc("back", repository / "cards.dvc") == second
    assert (repository / ".gitignore").read_text() == "/cards\n"


def test_links_to_folders_and_places_outside_a_repository_are_refused(
    workspace: Workspace, repository: Path, tmp_path: Path
) -> None:
    folder = content(tmp_path / "cards", {"a/b": b"1"})
    version = dataset("cards").add(folder)
    with pytest.raises(NotFoundError, match="dvc init"):
        export_dvc(version, tmp_path / "nowhere" / "cards")
    (folder / "link").symlink_to("a")
    with pytest.raises(InvalidError, match="links to folders"):
        export_dvc(dataset("cards").add(folder), repository / "cards")
    assert not (repository / "cards.dvc").exists()
