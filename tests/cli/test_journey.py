"""From nothing to a replayed run, by the commands that a user types."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.conftest import call, document, mainspring


def test_a_new_project_is_made_run_looked_at_and_replayed(tmp_path: Path) -> None:
    made = mainspring("init", "first", cwd=tmp_path)
    assert made.returncode == 0
    assert "mainspring run" in made.stdout
    folder = tmp_path / "first"

    ran = mainspring("run", cwd=folder, PYTHONHASHSEED="random")
    assert (ran.returncode, ran.stdout.split()) == (0, ["result", "385"])
    assert "succeeded" in ran.stderr
    assert "3 ran" in ran.stderr
    assert "total | adding 10 numbers" in ran.stderr

    again = mainspring("run", cwd=folder)
    assert "3 reused" in again.stderr

    why = mainspring("why", cwd=folder)
    assert "0 would run, 3 would be reused" in why.stdout
    source = folder / "pipeline.py"
    source.write_text(source.read_text().replace("value * value", "value ** 3"))
    why = mainspring("why", "squares", cwd=folder)
    assert "1 would run" in why.stdout
    assert "squares" in why.stdout

    replayed = mainspring("replay", "latest", cwd=folder)
    assert (replayed.returncode, replayed.stdout.split()[0]) == (0, "VERIFIED")
    # A replay is a run of its own, which is newer; `latest` stays the run that was replayed.
    assert "  replay  " in call("runs", cwd=folder).stdout
    assert "replay of" not in call("runs", "show", "latest", cwd=folder).stdout


def test_a_failed_run_says_what_failed_and_how_to_go_on(project: Path) -> None:
    marker = project / "mended"
    (project / "steps.py").write_text(
        "import os\nimport mainspring as ms\n\n\n@ms.step\ndef first() -> int:\n    return 1\n\n\n"
        f"@ms.step\ndef second(n: int) -> int:\n    print('checking')\n    if not os.path.exists({str(marker)!r}):\n"
        "        raise ValueError('not mended')\n    return n\n\n\n@ms.pipeline\ndef main():\n    return second(first())\n"
    )
    failed = mainspring("run", "main", cwd=project)
    assert failed.returncode == 1
    assert "second: ValueError: not mended" in failed.stderr
    assert "raise ValueError('not mended')" in failed.stderr
    resume = next(line.split("mainspring ")[1].split() for line in failed.stderr.splitlines() if " resume " in line)
    marker.touch()
    resumed = mainspring(*resume, cwd=project)
    assert (resumed.returncode, resumed.stdout.split()) == (0, ["result", "1"])
    listed = document("runs", cwd=project)["runs"]
    assert [run["state"] for run in listed] == ["succeeded"]
    again = call("resume", "latest", cwd=project)
    assert again.exit_code == 1
    assert "nothing to resume" in again.stderr


def test_parameters_come_from_options_and_files_and_options_win(project: Path) -> None:
    (project / "params.json").write_text('{"count": 4, "exponent": 3}')
    (project / "params.toml").write_text("count = 4\nexponent = 3\n")
    for name in ("params.json", "params.toml"):
        assert call("run", "--params", name, cwd=project).stdout.split() == ["total", "36"]
    assert call("run", "--params", "params.json", "--exponent", "1", cwd=project).stdout.split() == ["total", "6"]
    assert call("run", "-p", "count=2", "--exponent=1", cwd=project).stdout.split() == ["total", "1"]


def test_a_target_is_a_name_a_module_or_a_file(project: Path) -> None:
    outside = project / "elsewhere"
    outside.mkdir()
    for target in ("small", "steps:other", "steps.py:other"):
        assert call("run", target, cwd=project).exit_code == 0
    assert call("run", str(project / "steps.py"), cwd=outside).exit_code == 0
    assert not (outside / ".mainspring").exists()


def test_a_dry_run_runs_nothing_and_foresees_reuse(project: Path) -> None:
    fresh = document("run", "--dry-run", cwd=project)["tasks"]
    assert [(task["task"], task["runs"]) for task in fresh] == [("load", True), ("power", None), ("total", None)]
    call("run", cwd=project)
    assert document("runs", cwd=project)["runs"][0]["state"] == "succeeded"
    again = document("run", "--dry-run", cwd=project)["tasks"]
    assert [task["runs"] for task in again] == [False] * 6
    changed = document("run", "--dry-run", "--exponent", "3", cwd=project)["tasks"]
    assert [task["runs"] for task in changed] == [False, True, True, True, True, None]
    assert len(document("runs", cwd=project)["runs"]) == 1


def test_the_hash_seed_is_fixed_and_threads_are_those_of_the_settings(project: Path) -> None:
    (project / "mainspring.toml").write_text("threads = 3\n")
    (project / "steps.py").write_text(
        "import os\nimport mainspring as ms\n\nTHREADS = os.environ['OMP_NUM_THREADS']\n\n\n@ms.step\ndef seen() -> str:\n"
        "    return THREADS\n\n\n@ms.pipeline\ndef main():\n    return seen()\n"
    )
    told = json.loads(mainspring("run", "steps", "--json", cwd=project).stdout)
    assert told["run"]["hash_seed_fixed"] is True
    assert told["run"]["threads"] == 3
    assert told["outputs"]["result"][0]["summary"] == "3"


@contextmanager
def at_work(project: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a run that is in the middle of its step."""
    fifo = project / "fifo"
    os.mkfifo(fifo)
    (project / "steps.py").write_text(
        "import time\nimport mainspring as ms\n\n\n@ms.step\ndef wait(fifo: str) -> int:\n    open(fifo, 'w').write('x')\n"
        "    time.sleep(60)\n    return 1\n\n\n@ms.pipeline\ndef main(fifo: str):\n    return wait(fifo)\n"
    )
    command = [sys.executable, "-m", "mainspring", "run", "main", "--fifo", str(fifo)]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        fifo.read_text()
        yield driver


def test_a_run_of_another_process_can_be_cancelled_and_resumed(project: Path) -> None:
    with at_work(project) as driver:
        cancelled = call("cancel", "latest", "--json", cwd=project)
        assert json.loads(cancelled.stdout)["pid"] == driver.pid
        assert driver.wait(60) == 130
    assert "cancelled" in call("runs", cwd=project).stdout
    refused = call("cancel", "latest", cwd=project)
    assert (refused.exit_code, "it is cancelled" in refused.stderr) == (1, True)


def test_a_killed_run_is_shown_as_interrupted(project: Path) -> None:
    with at_work(project) as driver:
        driver.send_signal(signal.SIGKILL)
        driver.wait(60)
    assert "interrupted" in call("runs", "--state", "interrupted", cwd=project).stdout
    refused = call("cancel", "latest", cwd=project)
    assert "mainspring resume" in refused.stderr


def test_a_run_goes_on_when_nobody_reads_what_it_says(project: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mainspring", "run"]
    ran = subprocess.run(
        command, cwd=project, stderr=writing, stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    os.close(writing)
    assert (ran.stdout.split(), document("runs", cwd=project)["runs"][0]["state"]) == (
        ["total", "5"],
        "succeeded",
    )
