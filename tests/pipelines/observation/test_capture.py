"""Everything a step prints is in its log at once, redacted, and the streams are as before afterwards."""

import logging
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from mainspring.pipelines.observation.capture import absorb, capture
from mainspring.testing.threads import at_once

SRC = str(Path(__file__).parents[3] / "src")


def hide(line: str) -> str:
    return line.replace("s3cret", "***")


class TestInline:
    def test_both_streams_go_to_the_log_in_order(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "logs" / "step.log"
        with capture(path):
            print("one")
            print("two", file=sys.stderr)
            sys.stdout.write("three\nfo")
            sys.stdout.write("ur\n")
            sys.stdout.buffer.write("fünf\n".encode())
        print("outside")
        assert path.read_text().splitlines() == ["one", "two", "three", "four", "fünf"]
        assert capsys.readouterr().out == "outside\n"

    def test_streams_are_restored_also_after_an_error(self, tmp_path: Path) -> None:
        before = sys.stdout, sys.stderr
        with pytest.raises(KeyError), capture(tmp_path / "log"):
            raise KeyError
        assert (sys.stdout, sys.stderr) == before

    def test_an_unfinished_line_is_in_the_log_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with capture(path, redact=hide):
            print("begin s3c", end="")
            assert path.read_text() == "begin s3c"
            print("ret end", end="")
            assert path.read_text() == "begin *** end"
            print("other", file=sys.stderr)
            assert path.read_text() == "begin *** end\nother\n"

    def test_of_a_long_unfinished_line_a_kill_loses_an_eighth_at_most_and_never_much(self, tmp_path: Path) -> None:
        log = tmp_path / "x.log"
        seen = []
        with capture(log):
            for piece in range(0, 60_000, 50):
                print("." * 50, end="", flush=True)
                seen.append((piece + 50, log.stat().st_size))
        assert all(written == length for length, written in seen if length <= 1_024)
        assert all(length - written <= min(length / 8, 2_048) for length, written in seen)
        assert len({written for _, written in seen}) < 100

    def test_a_long_bar_is_written_each_time(self, tmp_path: Path) -> None:
        log = tmp_path / "x.log"
        with capture(log):
            for frame in range(3):
                print("\r" + "#" * 2_000 + f" {frame}", end="", flush=True)
                assert log.read_text().endswith(f"# {frame}")
        assert log.read_text() == "#" * 2_000 + " 2\n"

    def test_a_line_that_gets_shorter_when_redacted_leaves_no_rest(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with capture(path, redact=lambda line: "" if "x" in line else line):
            print("long text", end="")
            print("x")
            print("after")
        assert path.read_text() == "\nafter\n"

    def test_a_progress_bar_leaves_its_last_form(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        with capture(path):
            for percent in range(0, 101, 10):
                sys.stderr.write(f"\r{percent}%")
            sys.stderr.write("\n")
            for percent in range(0, 101, 10):
                sys.stderr.write(f"{percent}%\r")
        assert path.read_text() == "100%\n100%\n"

    def test_the_tee_gets_finished_redacted_lines_and_may_print(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with capture(tmp_path / "log", lambda line: print("train |", line), redact=hide):
            print("a s3cret\nb", end="")
        assert capsys.readouterr().out == "train | a ***\ntrain | b\n"
        assert (tmp_path / "log").read_text() == "a ***\nb\n"

    @pytest.mark.parametrize("fd", [False, True])
    def test_a_private_key_is_redacted_though_it_is_many_lines(self, tmp_path: Path, fd: bool) -> None:
        code = (
            "from mainspring.secrets import redact\n"
            f"with capture(path, fd={fd}, redact=redact):\n"
            "    print('begin')\n"
            "    print('-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\nU2Vjb25k', flush=True)\n"
            "    print('bGFzdA==\\n-----END PRIVATE KEY-----\\nend')\n"
        )
        done = in_process(code, tmp_path / "log")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "log").read_text().splitlines() == ["begin", *["[redacted]"] * 5, "end"]

    def test_a_thread_of_the_step_is_captured(self, tmp_path: Path) -> None:
        with capture(tmp_path / "log"):
            thread = threading.Thread(target=print, args=("from a thread",))
            thread.start()
            thread.join()
        assert (tmp_path / "log").read_text() == "from a thread\n"

    def test_two_captures_at_once_keep_apart(self, tmp_path: Path) -> None:
        together = threading.Barrier(2, timeout=30)
        before = sys.stdout

        def task(name: str) -> None:
            with capture(tmp_path / name):
                together.wait()
                for _ in range(100):
                    print(name)
                together.wait()

        at_once(partial(task, "a"), partial(task, "b"))
        assert (tmp_path / "a").read_text() == "a\n" * 100
        assert (tmp_path / "b").read_text() == "b\n" * 100
        assert sys.stdout is before

    def test_a_second_capture_appends(self, tmp_path: Path) -> None:
        for word in ("one", "two"):
            with capture(tmp_path / "log"):
                print(word)
        assert (tmp_path / "log").read_text() == "one\ntwo\n"


def in_process(code: str, path: Path, **options: object) -> subprocess.CompletedProcess[str]:
    prologue = (
        "import sys, os, signal, subprocess, logging\nfrom pathlib import Path\n"
        "from mainspring.pipelines.observation.capture import capture\n"
        "path = Path(sys.argv[1])\nhide = lambda line: line.replace('s3cret', '***')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prologue + code, str(path)],
        env={**os.environ, "PYTHONPATH": SRC},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


EVERYTHING = """
    print("python", end=" ")
    print("s3cret", file=sys.stderr)
    os.write(1, b"descriptor\\n")
    subprocess.run(["echo", "child"], check=True)
    import ctypes
    ctypes.CDLL(None).puts(b"from C")
"""


class TestLogging:
    CODE = "with capture(path{options}):\n    {setup}\n    logging.getLogger('flights').info('fit %d', 3)\n"

    @pytest.mark.parametrize("options", ["", ", fd=True"])
    def test_records_from_info_on_are_kept_without_any_set_up(self, tmp_path: Path, options: str) -> None:
        done = in_process(self.CODE.format(options=options, setup="pass"), tmp_path / "log")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "log").read_text() == "INFO flights: fit 3\n"

    def test_a_steps_own_set_up_is_respected(self, tmp_path: Path) -> None:
        code = self.CODE.format(options="", setup="logging.basicConfig(format='mine %(message)s', level='INFO')")
        done = in_process(code, tmp_path / "log")
        assert (tmp_path / "log").read_text() == "mine fit 3\n", done.stderr

    def test_logging_is_as_before_afterwards(self, tmp_path: Path) -> None:
        root = logging.getLogger()
        before = root.level, list(root.handlers), logging.lastResort and logging.lastResort.level
        with capture(tmp_path / "log"):
            pass
        assert (root.level, root.handlers, logging.lastResort and logging.lastResort.level) == before


class TestDescriptors:
    @pytest.mark.parametrize("redacted", [False, True])
    def test_c_code_and_children_are_captured_in_order(self, tmp_path: Path, redacted: bool) -> None:
        options = ", redact=hide" if redacted else ""
        done = in_process(f"with capture(path, fd=True{options}):{EVERYTHING}\nprint('outside')", tmp_path / "log")
        assert (done.returncode, done.stdout) == (0, "outside\n"), done.stderr
        secret = "***" if redacted else "s3cret"
        lines = ["python " + secret, "descriptor", "child", "from C"]
        assert (tmp_path / "log").read_text().splitlines() == lines
        assert os.listdir(tmp_path) == ["log"]

    @pytest.mark.parametrize("redacted", [False, True])
    def test_a_kill_loses_nothing_already_printed(self, tmp_path: Path, redacted: bool) -> None:
        options = ", redact=hide" if redacted else ""
        code = (
            "path.write_text('earlier\\n')\n"
            f"with capture(path, fd=True{options}):{EVERYTHING}"
            "    print('unfinished', end='')\n    os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = in_process(code, tmp_path / "log")
        assert done.returncode == -signal.SIGKILL, done.stderr
        for _ in range(2):
            absorb(tmp_path / "log", hide if redacted else None)
            secret = "***" if redacted else "s3cret"
            lines = ["earlier", "python " + secret, "descriptor", "child", "from C", "unfinished"]
            assert (tmp_path / "log").read_text().splitlines() == lines
        assert os.listdir(tmp_path) == ["log"]

    def test_the_tee_gets_each_line(self, tmp_path: Path) -> None:
        code = f"got = []\nwith capture(path, got.append, fd=True, redact=hide):{EVERYTHING}\nprint(got)"
        done = in_process(code, tmp_path / "log")
        assert done.stdout == "['python ***', 'descriptor', 'child', 'from C']\n", done.stderr

    def test_a_character_split_over_two_writes_stays_whole(self, tmp_path: Path) -> None:
        code = (
            "import threading\nseen = threading.Event()\n"
            "def redact(line):\n    seen.set()\n    return line\n"
            "with capture(path, fd=True, redact=redact):\n"
            "    os.write(1, 'a\\u00fc'.encode()[:2])\n    seen.wait(30)\n    os.write(1, 'a\\u00fc'.encode()[2:])\n"
        )
        done = in_process(code, tmp_path / "log")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "log").read_text() == "aü\n"


def test_an_inline_kill_loses_nothing_already_printed(tmp_path: Path) -> None:
    code = "with capture(path):\n    print('a')\n    print('b', end='')\n    os.kill(os.getpid(), signal.SIGKILL)"
    in_process(code, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "a\nb"
