"""Killed at any instant, right after recovery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mainspring.testing.plugin import Backend
from mainspring.testing.workspaces import Lab, digests, lab_in
from tests.pipelines.lives import FLOW, check_recovered, instants, killed_at, recover, seed_of, whole_life_s

HERE = {"sqlite inline": 4, "sqlite pool": 2, "postgres inline": 2, "postgres pool": 2}
SOAK = 250  # for each of two backends and two runners


@pytest.fixture
def fresh(backend: Backend, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes labs, each with a workspace that was never opened."""
    with ExitStack() as stack:
        made: list[Lab] = []

        def make() -> Lab:
            folder = tmp_path / f"life-{len(made)}"
            if backend.name == "sqlite":
                urls = (f"sqlite://{folder}/state.db", f"file://{folder}/blobs")
            else:
                urls = (request.getfixturevalue("postgres").url(), request.getfixturevalue("s3").url())
            lab = stack.enter_context(lab_in(folder / "project", *urls, threads=1, opened=False))
            lab.write(FLOW)
            made.append(lab)
            return lab

        yield make


def campaign(fresh: Any, runner: str, count: int, name: str) -> None:
    """Measure a life, then kill as many others at drawn instants and recover each."""
    lab = fresh()
    whole_s = whole_life_s(lab, runner)
    lab.workspace = lab.open()
    expected = digests(lab.run(runner=runner, jobs=2, reuse=False))
    lab.close()
    for share in instants(seed_of(name), count):
        lab = fresh()
        told = killed_at(lab, runner, share, whole_s)
        print(f"{share:.4f} of {whole_s:.2f} s: {told}")
        check_recovered(lab, recover(lab, runner), expected)
        lab.close()


@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_a_run_killed_at_any_instant_is_right_after_recovery(fresh: Any, runner: str, backend: Backend) -> None:
    campaign(fresh, runner, HERE[f"{backend.name} {runner}"], f"{backend.name} {runner}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_a_thousand_kills(fresh: Any, runner: str, backend: Backend) -> None:
    campaign(fresh, runner, SOAK, f"{backend.name} {runner}")
