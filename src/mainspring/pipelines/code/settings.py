"""Settings of libraries that change what a step gives, where they are not the libraries' own.

A notebook's step runs in the process in which a cell set them. Elsewhere a step finds what the modules of its project set
while they are imported, which their sources tell.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

_PARSES = frozenset({"display.date_dayfirst", "display.date_yearfirst"})
_SHOWS = ("display.", "plotting.", "styler.")
_DECIMAL = {"prec": 28, "rounding": "ROUND_HALF_EVEN", "Emin": -999999, "Emax": 999999, "capitals": 1, "clamp": 0}
_TRAPS = ("DivisionByZero", "InvalidOperation", "Overflow")
_TORCH = {
    "get_default_dtype": "torch.float32", "get_default_device": "cpu", "is_grad_enabled": "True",
    "get_float32_matmul_precision": "highest",
}  # fmt: skip
_SKLEARN = {
    "assume_finite": False, "enable_cython_pairwise_dist": True, "array_api_dispatch": False,
    "transform_output": "default", "enable_metadata_routing": False, "skip_parameter_validation": False,
    "sparse_interface": "spmatrix",
}  # fmt: skip


def settings() -> dict[str, str]:
    """The parts of a fingerprint for settings of this thread.

    All count for each step: an argument alone may bring it to a library.
    """
    found: dict[str, str] = {}
    for name, read in _LIBRARIES.items():
        if name in sys.modules:
            with suppress(AttributeError):  # a release without such a setting
                found |= {f"setting {name}.{key}": str(value) for key, value in read(sys.modules[name])}
    return found


def _numpy(module: Any) -> Iterator[tuple[str, object]]:
    yield from ((f"seterr.{kind}", how) for kind, how in module.geterr().items() if how in ("call", "raise"))


def _pandas(module: Any) -> Iterator[tuple[str, object]]:
    for name, option in module._config.config._registered_options.items():
        if name in _PARSES or not name.startswith(_SHOWS):
            value: Any = module.options
            for each in name.split("."):
                value = object.__getattribute__(value, "d")[each] if not isinstance(value, dict) else value[each]
            if value != option.defval:
                yield name, value


def _sklearn(module: Any) -> Iterator[tuple[str, object]]:
    yield from ((name, value) for name, value in module.get_config().items() if _SKLEARN.get(name, value) != value)


def _torch(module: Any) -> Iterator[tuple[str, object]]:
    for name, default in _TORCH.items():
        value = str(getattr(module, name, lambda default=default: default)())
        if value != default:
            yield name.removeprefix("get_"), value
    if sys.float_info.min / 2 == 0:  # PyTorch doesn't say it
        yield "flush_denormal", True


def _decimal(module: Any) -> Iterator[tuple[str, object]]:
    context = module.getcontext()
    yield from ((name, found) for name, value in _DECIMAL.items() if (found := getattr(context, name)) != value)
    traps = sorted(signal.__name__ for signal, is_set in context.traps.items() if is_set)
    if traps != sorted(_TRAPS):
        yield "traps", traps


def _locale(module: Any) -> Iterator[tuple[str, object]]:
    for name in ("LC_COLLATE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"):
        found = module.setlocale(getattr(module, name))
        if found != "C":
            yield name, found


_LIBRARIES: dict[str, Callable[[Any], Iterator[tuple[str, object]]]] = {
    "decimal": _decimal, "locale": _locale, "numpy": _numpy, "pandas": _pandas, "sklearn": _sklearn, "torch": _torch,
}  # fmt: skip
