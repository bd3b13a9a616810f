"""Each kind of undeclared input, real, is seen and named; what is declared or the task's own is not."""

import asyncio
import linecache
import os
import pkgutil
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from mainspring.pipelines.observation.observer import Observation, Observer
from mainspring.pipelines.observation.uncounted import editable_places, is_library_code
from mainspring.runs.environment import snapshot
from mainspring.testing.threads import at_once

Watch = Callable[..., Observer]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "conf.yaml").write_text("limit: 3\n")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def watch(project: Path) -> Watch:
    def make(**options: object) -> Observer:
        settings: dict = {"declared_files": (), "declared_env": (), "allowed_paths": (), **options}
        return Observer(project_root=project, **settings)

    return make


def names(observer: Observer) -> list[tuple[str, str]]:
    return [(seen.kind, seen.name) for seen in observer.seen]


class TestFiles:
    def test_an_undeclared_file_is_seen_once_with_the_line_that_reads_it(self, watch: Watch) -> None:
        with watch() as observer:
            for _ in range(2):
                open("conf.yaml").close()
        [seen] = observer.seen
        assert (seen.kind, seen.name) == ("file", "conf.yaml")
        assert seen.by.startswith("test_observer.py:")

    def test_what_is_only_removed_is_not_read(self, watch: Watch, project: Path) -> None:
        deep = project / "old" / "ab" / "cd"
        deep.mkdir(parents=True)
        (deep / "x").write_text("1")
        with watch() as observer:
            shutil.rmtree(project / "old")
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "ab" / "cd").mkdir(parents=True)
        assert names(observer) == []

    def test_what_mainspring_lists_to_tell_the_environment_is_no_input(
        self, watch: Watch, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(project))
        with watch() as observer:
            assert snapshot().distributions
        assert names(observer) == []

    def test_a_walk_over_open_folders_is_seen_by_their_paths(self, watch: Watch, project: Path) -> None:
        (project / "raw" / "ab" / "cd").mkdir(parents=True)
        with watch() as observer:
            assert len(list(os.fwalk("raw"))) == 3
        assert names(observer) == [("directory", "raw"), ("directory", "raw/ab"), ("directory", "raw/ab/cd")]
        with tempfile.TemporaryDirectory() as folder, watch(allowed_paths=[Path(folder)]) as observer:
            (Path(folder) / "ab" / "cd").mkdir(parents=True)
            assert len(list(os.fwalk(folder))) == 3
        assert names(observer) == []

    def test_every_way_to_open_a_file_is_seen(self, watch: Watch, project: Path) -> None:
        ways: list[Callable[[], object]] = [
            lambda: Path("conf.yaml").read_text(),
            lambda: os.close(os.open("conf.yaml", os.O_RDONLY)),
            lambda: os.close(os.open(b"conf.yaml", os.O_RDWR)),
            lambda: (project / "conf.yaml").open("r+").close(),
        ]
        for way in ways:
            with watch() as observer:
                way()
            assert names(observer) == [("file", "conf.yaml")]

    def test_a_declared_file_is_not_an_observation(self, watch: Watch, project: Path) -> None:
        with watch(declared_files=[project / "conf.yaml"]) as observer:
            open("conf.yaml").close()
        assert observer.seen == ()

    def test_a_declared_file_reached_through_a_link_is_not_an_observation(self, watch: Watch, project: Path) -> None:
        (project / "link.yaml").symlink_to(project / "conf.yaml")
        with watch(declared_files=[project / "link.yaml"]) as observer:
            open("conf.yaml").close()
            open("link.yaml").close()
        assert observer.seen == ()

    def test_a_file_that_is_not_there_is_an_input_too(self, watch: Watch) -> None:
        with watch() as observer, pytest.raises(FileNotFoundError):
            open("absent.yaml")
        assert names(observer) == [("file", "absent.yaml")]

    def test_writing_is_no_input_nor_is_reading_it_back(self, watch: Watch) -> None:
        with watch() as observer:
            Path("out.txt").write_text("x")
            Path("out.txt").read_text()
            os.rename("out.txt", "other.txt")
            Path("other.txt").read_text()
            with open("log.txt", "a+") as log:
                log.read()
        assert observer.seen == ()

    def test_a_foreign_file_moved_over_an_own_one_counts(self, watch: Watch) -> None:
        with watch() as observer:
            Path("own.txt").write_text("x")
            os.rename("conf.yaml", "own.txt")
            Path("own.txt").read_text()
        assert names(observer) == [("file", "conf.yaml"), ("file", "own.txt")]

    def test_temporary_files_and_folders_of_the_step_are_its_own(self, watch: Watch) -> None:
        with watch() as observer:
            with tempfile.NamedTemporaryFile("w+") as file:
                open(file.name).close()
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "x").write_text("x")
                assert [path.read_text() for path in Path(folder).iterdir()] == ["x"]
        assert observer.seen == ()

    def test_data_read_by_what_loads_code_is_data(self, watch: Watch, project: Path) -> None:
        (project / "code.py").write_text("A = 1\n")
        for _ in range(2):  # linecache remembers
            with watch() as observer:
                assert linecache.getline("code.py", 1) == "A = 1\n"
                assert linecache.getline("conf.yaml", 1) == "limit: 3\n"
            assert names(observer) == [("file", "conf.yaml")]

    def test_data_of_a_package_is_seen(self, watch: Watch, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (project / "withdata").mkdir()
        (project / "withdata" / "__init__.py").touch()
        (project / "withdata" / "d.csv").write_text("x\n")
        monkeypatch.syspath_prepend(project)
        with watch() as observer:
            assert pkgutil.get_data("withdata", "d.csv") == b"x\n"
        sys.modules.pop("withdata")
        assert names(observer) == [("file", "withdata/d.csv")]

    def test_a_temporary_file_of_somebody_else_counts(self, watch: Watch, tmp_path: Path) -> None:
        (tmp_path / "shared.txt").write_text("x")
        with watch() as observer:
            open(tmp_path / "shared.txt").close()
        assert names(observer) == [("file", str(tmp_path / "shared.txt"))]

    def test_allowed_files_and_folders_do_not_count(self, watch: Watch, tmp_path: Path) -> None:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        (scratch / "x").write_text("x")
        (tmp_path / "one").write_text("x")
        with watch(allowed_paths=[scratch, tmp_path / "one"]) as observer:
            open(scratch / "x").close()
            open(tmp_path / "one").close()
            os.listdir(scratch)
        assert observer.seen == ()

    def test_a_folder_that_only_begins_like_an_allowed_one_counts(self, watch: Watch, tmp_path: Path) -> None:
        (tmp_path / "scratch2").mkdir()
        with watch(allowed_paths=[tmp_path / "scratch"]) as observer:
            os.listdir(tmp_path / "scratch2")
        assert names(observer) == [("directory", str(tmp_path / "scratch2"))]

    def test_a_listing_is_an_input(self, watch: Watch, project: Path) -> None:
        ways: list[Callable[[], object]] = [
            lambda: os.listdir(),
            lambda: list(os.scandir(".")),
            lambda: list(Path().iterdir()),
            lambda: list(project.glob("*.yaml")),
            lambda: list(os.walk(project)),
        ]
        for way in ways:
            with watch() as observer:
                way()
            assert names(observer) == [("directory", ".")]

    def test_a_database_file_is_an_input_unless_it_is_new_or_in_memory(self, watch: Watch, project: Path) -> None:
        sqlite3.connect(project / "old.db").execute("create table t (x)").connection.close()
        with watch() as observer:
            sqlite3.connect(":memory:").close()
            sqlite3.connect("new.db").close()
            sqlite3.connect("new.db").close()
            sqlite3.connect("file:old.db?mode=ro", uri=True).close()
        assert names(observer) == [("file", "old.db")]

    def test_the_system_and_the_interpreter_are_no_inputs(self, watch: Watch) -> None:
        with watch() as observer:
            open("/dev/null").close()
            open("/dev/urandom", "rb").close()
            open("/etc/localtime", "rb").close() if os.path.exists("/etc/localtime") else None
            open(os.__file__).close()
            open(pytest.__file__).close()
            os.listdir(sys.prefix)
        assert observer.seen == ()

    def test_importing_is_no_input_within_the_project_but_reading_its_source_as_data_is(
        self, watch: Watch, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (project / "observed_helper.py").write_text("x = 1\n")
        monkeypatch.syspath_prepend(str(project))
        with watch() as observer:
            __import__("observed_helper")
            assert observer.seen == ()
            open("observed_helper.py").close()
        assert names(observer) == [("file", "observed_helper.py")]

    def test_a_module_imported_from_outside_the_project_is_an_input(
        self, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "outside").mkdir()
        source = tmp_path / "outside" / "observed_stranger.py"
        source.write_text("x = 1\n")
        monkeypatch.syspath_prepend(str(source.parent))
        with watch() as observer:
            __import__("observed_stranger")
        assert names(observer) == [("file", str(source))]


class TestEnvironment:
    def test_every_way_to_read_a_variable_is_seen(self, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REGION", "eu")
        bound_before = os.environ
        ways: list[Callable[[], object]] = [
            lambda: os.getenv("REGION"),
            lambda: os.environ["REGION"],
            lambda: os.environ.get("REGION"),
            lambda: "REGION" in os.environ,
            lambda: bound_before["REGION"],
            lambda: os.getenvb(b"REGION"),
        ]
        for way in ways:
            with watch() as observer:
                way()
            assert names(observer) == [("env", "REGION")]

    def test_an_absent_variable_is_an_input_too(self, watch: Watch) -> None:
        with watch() as observer:
            os.getenv("NOT_THERE_AT_ALL")
        assert names(observer) == [("env", "NOT_THERE_AT_ALL")]

    def test_reading_the_whole_environment_is_seen_as_one(self, watch: Watch) -> None:
        for way in (lambda: dict(os.environ), lambda: os.environ.copy(), lambda: list(os.environ.items())):
            with watch() as observer:
                way()
            assert names(observer) == [("env", "*")]

    def test_declared_and_own_variables_do_not_count(self, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OWN", "before")
        with watch(declared_env=["REGION"]) as observer:
            os.getenv("REGION")
            os.environ["OWN"] = "1"
            os.getenv("OWN")
        assert observer.seen == ()

    def test_what_libraries_ask_for_on_their_own_does_not_count(self, watch: Watch) -> None:
        with watch() as observer:
            tempfile._candidate_tempdir_list()  # type: ignore[attr-defined]  # a private name of the library
        assert observer.seen == ()

    def test_paths_that_name_variables_read_them(self, watch: Watch) -> None:
        ways: list[Callable[[], object]] = [
            lambda: os.path.expanduser("~/x"),
            lambda: os.path.expandvars("$HOME/x"),
            lambda: Path.home(),
            lambda: Path("~/x").expanduser(),
        ]
        for way in ways:
            with watch() as observer:
                way()
            assert names(observer) == [("env", "HOME")]

    def test_the_environment_behaves_as_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REGION", "eu")
        assert dict(os.environ)["REGION"] == "eu"
        assert isinstance(os.environ, os._Environ)
        with pytest.raises(KeyError):
            os.environ["NOT_THERE_AT_ALL"]


class TestPrograms:
    def test_every_way_to_start_a_program_is_seen(self, watch: Watch) -> None:
        ways: list[tuple[Callable[[], object], str]] = [
            (lambda: subprocess.run(["true", "a"], check=True), "true a"),
            (lambda: subprocess.run("true b", shell=True, check=True), "/bin/sh -c 'true b'"),
            (lambda: os.system("true c"), "true c"),
            (lambda: os.waitpid(os.posix_spawn("/bin/true", ["true", "d"], {}), 0), "true d"),
            (lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true", "e"]), "fork"),
        ]
        for way, name in ways:
            with watch() as observer:
                way()
            assert [seen.kind for seen in observer.seen] == ["subprocess"]
            assert names(observer)[0][1] == name

    @pytest.mark.parametrize(
        ("start", "name"),
        [
            (lambda: subprocess.run(["true", "--password", "q8Xw3 Lm5"], check=True), "true --password '[redacted]'"),
            (lambda: subprocess.run(["true", "--api-key", "q8Xw3Lm5"], check=True), "true --api-key [redacted]"),
            (
                lambda: subprocess.run(["true", "-H", "X-Api-Key: q8Xw3Lm5"], check=True),
                "true -H 'X-Api-Key: [redacted]'",
            ),
            (lambda: os.system("true --token 'q8Xw3 Lm5'"), "true --token '[redacted]'"),
            (
                lambda: subprocess.run("true --token 'q8Xw3 Lm5'", shell=True, check=True),
                """/bin/sh -c 'true --token '"'"'[redacted]'"'"''""",
            ),
        ],
    )
    def test_a_secret_among_the_words_of_a_program_is_not_recorded(
        self, watch: Watch, start: Callable[[], object], name: str
    ) -> None:
        with watch() as observer:
            start()
        assert names(observer)[0][1] == name

    def test_a_child_that_multiprocessing_spawns_is_seen(self, watch: Watch) -> None:
        import multiprocessing.util

        with watch() as observer:
            child = multiprocessing.util.spawnv_passfds(b"/bin/true", [b"true", b"spawned"], ())
            os.waitpid(child, 0)
        assert names(observer) == [("subprocess", "true spawned")]

    def test_asking_for_the_platform_is_no_input(self, watch: Watch) -> None:
        import ctypes.util
        import platform

        with watch() as observer:
            platform.platform()
            platform.processor()
            ctypes.util.find_library("m")
        assert observer.seen == ()


class TestThreads:
    def test_a_thread_the_step_starts_is_seen(self, watch: Watch) -> None:
        with watch() as observer:
            inner = threading.Thread(target=lambda: open("conf.yaml").close())
            outer = threading.Thread(target=inner.start)
            outer.start()
            outer.join()
            inner.join()
        assert names(observer) == [("file", "conf.yaml")]

    def test_work_given_to_an_older_pool_is_seen(self, watch: Watch) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()
            with watch() as observer:
                pool.submit(Path("conf.yaml").read_text).result()
        assert names(observer) == [("file", "conf.yaml")]

    def test_asyncio_and_its_threads_are_seen(self, watch: Watch) -> None:
        async def main() -> None:
            Path("conf.yaml").read_text()
            await asyncio.to_thread(os.getenv, "REGION")
            await asyncio.get_running_loop().run_in_executor(None, lambda: os.getenv("ZONE"))

        with watch() as observer:
            asyncio.run(main())
        assert names(observer) == [("file", "conf.yaml"), ("env", "ZONE")]

    def test_two_tasks_at_once_see_only_their_own(self, watch: Watch, project: Path) -> None:
        observers = {name: watch() for name in "ab"}
        together = threading.Barrier(2, timeout=30)

        def task(name: str) -> None:
            with observers[name]:
                together.wait()
                Path(name).exists()
                for _ in range(50):
                    os.getenv(name)
                together.wait()

        at_once(partial(task, "a"), partial(task, "b"))
        assert {name: names(observer) for name, observer in observers.items()} == {
            "a": [("env", "a")],
            "b": [("env", "b")],
        }

    def test_what_a_thread_does_after_the_step_is_not_seen(self, watch: Watch) -> None:
        ended = threading.Event()

        def late() -> None:
            ended.wait(30)
            open("conf.yaml").close()

        with watch() as observer:
            thread = threading.Thread(target=late)
            thread.start()
        ended.set()
        thread.join()
        assert observer.seen == ()

    def test_the_innermost_observer_sees(self, watch: Watch) -> None:
        with watch() as outer:
            with watch() as inner:
                os.getenv("REGION")
            os.getenv("ZONE")
        assert (names(outer), names(inner)) == ([("env", "ZONE")], [("env", "REGION")])


def test_nothing_is_seen_outside_an_observer(watch: Watch) -> None:
    with watch() as observer:
        pass
    open("conf.yaml").close()
    os.getenv("REGION")
    assert observer.seen == ()


def test_an_observation_is_a_plain_record() -> None:
    import msgspec

    seen = Observation("file", "x.csv", "step.py:3")
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Observation) == seen


@pytest.fixture(autouse=True)
def _clean_modules() -> Iterator[None]:
    yield
    for name in ("observed_helper", "observed_stranger"):
        sys.modules.pop(name, None)


def test_a_thread_of_a_notebook_that_opens_files_meanwhile_is_not_hurt(watch: Watch, project: Path) -> None:
    space: dict = {"ends": threading.Event(), "beats": [], "errors": []}
    text = (
        "def beat():\n  while not ends.is_set():\n    try:\n      open('beat.txt', 'w').close()\n      beats.append(1)\n"
        "    except BaseException as error: errors.append(error)\n"
    )
    exec(compile(text, "/elsewhere/ipykernel_1/cell.py", "exec"), space)
    thread = threading.Thread(target=space["beat"])
    thread.start()
    editable_places.cache_clear()  # as before the first step
    is_library_code.cache_clear()
    for _ in range(20):
        with watch():
            beats = len(space["beats"])
            while thread.is_alive() and not space["errors"] and len(space["beats"]) < beats + 5:
                sum(range(1_000))
    space["ends"].set()
    thread.join()
    assert space["errors"] == []


def test_what_a_library_reads_of_its_own_while_a_step_imports_it_is_no_input(
    watch: Watch, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "site-packages" / "fonts"
    library.mkdir(parents=True)
    for name in ("a", "cache.json"):
        (tmp_path / name).touch()
    text = (
        f"import os\ndef load(): return open({str(tmp_path / 'cache.json')!r}).close(), os.listdir({str(tmp_path)!r})\n"
    )
    (library / "__init__.py").write_text(text + "load()\nopen('conf.yaml').close()\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    with watch() as observer:
        import fonts  # type: ignore[import-not-found]  # written just now
    assert names(observer) == [("file", "conf.yaml")]
    with watch() as observer:
        fonts.load()
        exec(compile("open(path).close()", "<conf>", "exec"), {"path": tmp_path / "a"})
    assert [kind for kind, _ in names(observer)] == ["file", "directory", "file"]
    del sys.modules["fonts"]
