"""What git says of the project: commit, and what differs from it, without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mainspring.secrets import redact
from mainspring.store.own_work import at_own_work

if TYPE_CHECKING:
    from subprocess import Popen

_DIFF = ("diff", "HEAD", "--no-color", "--no-ext-diff", "--", ".")
_TIMEOUT_S = 10
_LARGEST_DIFF = 5_000_000  # characters; a larger one is cut and says so


class GitState(msgspec.Struct, frozen=True):
    """A commit and the redacted difference of the working tree; `diff` is empty on a clean tree."""

    commit: str | None
    diff: str


class GitQuery:
    """git at work on the question while the caller goes on; `result()` waits for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes = [] if _repository(folder) is None else [self._ask("rev-parse", "HEAD"), self._ask(*_DIFF)]

    def result(self) -> GitState:
        """The answer; commit None outside a repository, without git, or before the first commit."""
        import subprocess

        outputs: list[str] = []
        for process in self._processes:
            if process is None:
                return GitState(None, "")
            try:
                outputs.append(process.communicate(timeout=_TIMEOUT_S)[0].decode("utf-8", "replace"))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                outputs.append("")
            if process.returncode and len(outputs) == 1:  # no commit yet: git says `HEAD` and fails
                outputs[0] = ""
        if not outputs or not outputs[0].strip().isalnum():
            return GitState(None, "")
        diff = redact(outputs[1])
        if len(diff) > _LARGEST_DIFF:
            diff = diff[:_LARGEST_DIFF] + f"\n[cut: {len(diff):,} characters in all]\n"
        return GitState(outputs[0].strip(), diff)

    @at_own_work()
    def _ask(self, *arguments: str) -> Popen[bytes] | None:
        import subprocess

        try:
            return subprocess.Popen(
                ["git", "--no-optional-locks", *arguments],
                cwd=self._folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            return None


def git_state(folder: Path) -> GitState:
    """Commit and redacted diff of the repository that holds a folder."""
    return GitQuery(folder).result()


def _repository(folder: Path) -> Path | None:
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), None)
