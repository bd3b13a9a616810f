"""Errors say what is wrong, what was expected and what to do; they keep their data and can cross processes."""

from __future__ import annotations

import ctypes
import pickle
from pathlib import Path
from typing import Any

import pytest

from mainspring import errors


@pytest.mark.parametrize(
    ("error", "builtin", "text"),
    [
        (errors.NotFoundError("model", "chrun", ["churn"]), LookupError, "No model `chrun`. Nearest: churn."),
        (errors.NotFoundError("step", "x", owner="Run 1"), LookupError, "Run 1 has no step `x`."),
        (errors.InvalidError("seed", -1, "a whole number"), ValueError, "seed: `-1` is not a whole number."),
        (errors.WrongTypeError("n", "x", "int"), TypeError, "n: `x` is a str, expected int."),
        (errors.ConfigError("no", "here:1"), ValueError, "here:1: no"),
        (errors.GraphError("fails", "load"), ValueError, "Step `load`: fails"),
        (errors.StepError("load", "timeout", "slow", 2), RuntimeError, "Step `load` failed (timeout, attempt 2): slow"),
        (
            errors.RebuildError("`a==1`", "there is no network"),
            RuntimeError,
            "`a==1` can't be had, there is no network.",
        ),
        (errors.WorkerError("m/1 failed", "model_failed"), RuntimeError, "m/1 failed"),
        (errors.StorageError("/x", "the disk is full"), OSError, "/x: the disk is full."),
        (errors.MissingExtraError("skops", "sklearn", "Saving"), ImportError, "pip install 'mainspring[sklearn]'"),
        (errors.MissingLibraryError("libgomp.so.1", "`lightgbm`"), OSError, "Run: apt-get install libgomp1"),
        (errors.MissingLibraryError("libodd.so.2", "`odd`"), OSError, "`odd` needs the shared library `libodd.so.2`"),
    ],
)
def test_an_error_is_the_builtin_it_refines_and_says_what_is_wrong(error: Any, builtin: type, text: str) -> None:
    assert isinstance(error, builtin)
    assert isinstance(error, errors.MainspringError)
    assert text in str(error)
    assert error.code != "error"


def test_a_long_value_is_shortened_to_one_line() -> None:
    text = str(errors.InvalidError("path", "line\n" * 1000, "short"))
    assert len(text) < 200
    assert "\n" not in text


def test_the_path_of_a_file_is_whole() -> None:
    path = Path("/folder" * 40)
    assert f"`{path}`" in str(errors.InvalidError("data", path, "short"))


def test_a_lost_lease_is_no_reason_to_try_again() -> None:
    assert errors.ConflictError.transient
    assert not errors.LeaseLostError.transient


def test_misspelt_names_find_their_neighbours_and_strange_ones_nothing() -> None:
    assert errors.close_names("flihgts", ["flights", "weather"]) == ["flights"]
    assert errors.close_names("zzz", ["flights"]) == []
    assert errors.close_names("", []) == []


def test_a_plain_error_crosses_processes() -> None:
    assert str(pickle.loads(pickle.dumps(errors.MainspringError("text")))) == "text"


def test_what_a_loader_says_is_missing_is_named_and_nothing_else_is_taken_for_it() -> None:
    """The first is what glibc really says."""
    with pytest.raises(OSError, match="libnowhere") as real:
        ctypes.CDLL("libnowhere.so.7")
    found = errors.MissingLibraryError.of(real.value, "It")
    assert found is not None
    assert found.library == "libnowhere.so.7"
    assert errors.MissingLibraryError.of(FileNotFoundError(2, "No such file", "libnowhere.so.7"), "It") is None
    assert errors.MissingLibraryError.of(ValueError(str(real.value)), "It") is None
