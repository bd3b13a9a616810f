"""What of the process a step may change and no later step is to notice: variables, working directory, libraries' settings.

Each kind of setting is read as a flat dict. What importing a module sets is set once in a process, so it is no change
to undo. Of a library that isn't loaded nothing is known; what it is right after its import counts then.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from mainspring.pipelines.observation.imports import around_imports

Values = dict[Any, Any]
_GONE = object()


class _Kind(NamedTuple):
    """Settings of one module: how all are read, and how those that changed are put back, given what all are to be."""

    read: Callable[[Any], Values]
    write: Callable[[Any, Values, Values], None]


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Put everything back at the end of the block that the block changed itself. Module globals are left as they are."""
    kept, folder, thread = _everything(), _folder(), threading.get_ident()

    def importing() -> Callable[[], None]:
        before = _everything()
        return lambda: _imported(kept, before, own_thread=threading.get_ident() == thread)

    try:
        with around_imports(importing):
            yield
    finally:
        _put_back(kept)
        if folder is not None and _folder() != folder:
            with suppress(OSError):
                os.chdir(folder)


def _everything() -> dict[str, Values]:
    """The settings of each module that is loaded."""
    found: dict[str, Values] = {}
    for name, kind in _KINDS.items():
        module = sys.modules.get(name)
        if module is not None:
            with suppress(AttributeError):  # another thread is about to load it, or its release has no such setting
                found[name] = kind.read(module)
    return found


def _imported(kept: dict[str, Values], before: dict[str, Values], *, own_thread: bool) -> None:
    """Take over what an import changed, into what is kept. Another thread has settings of its own."""
    for name, now in _everything().items():
        if name not in before:
            kept[name] = now
        elif own_thread:
            kept.setdefault(name, dict(before[name])).update(_different(now, before[name]))
            for key in before[name].keys() - now.keys():
                kept[name].pop(key, None)


def _put_back(kept: dict[str, Values]) -> None:
    now = _everything()
    for name, values in kept.items():
        present = now.get(name, values)
        if present != values:
            _KINDS[name].write(sys.modules[name], values, _different(values, present))


def _different(values: Mapping[Any, Any], others: Mapping[Any, Any]) -> Values:
    """The items of `values` that are not so in `others`."""
    return {
        key: value for key, value in values.items() if (other := others.get(key, _GONE)) is not value and other != value
    }


def _variables(module: Any) -> Values:
    # What `os.environ` stands on: a copy takes 1 µs, where one of the mapping itself decodes every name and value, 40 µs.
    data: Values | None = getattr(module.environ, "_data", None)
    return dict(data) if data is not None else {os.fsencode(k): os.fsencode(v) for k, v in module.environ.items()}


def _set_variables(module: Any, values: Values, changed: Values) -> None:
    names = {os.fsdecode(name) for name in _variables(module).keys() - values.keys()}
    for name in names:
        del os.environ[name]
    os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in changed.items()})
    names.update(map(os.fsdecode, changed))
    polars = sys.modules.get("polars.config")
    if polars is not None and any(name.startswith("POLARS_") for name in names):
        polars.plr.config_reload_env_vars()  # it keeps what it read
    if "TZ" in names:
        import time

        time.tzset()


def _limits(module: Any) -> Values:
    return {"recursionlimit": module.getrecursionlimit(), "int_max_str_digits": module.get_int_max_str_digits()}


def _set_limits(module: Any, _: Values, changed: Values) -> None:
    for name, value in changed.items():
        with suppress(RecursionError):  # this very stack is deeper
            getattr(module, f"set{'' if name == 'recursionlimit' else '_'}{name}")(value)


def _filters(module: Any) -> Values:
    return {"filters": tuple(module.filters)}


def _set_filters(module: Any, values: Values, _: Values) -> None:
    module.resetwarnings()  # which also has the warnings of each module judged again
    module.filters.extend(values["filters"])


def _locale(module: Any) -> Values:
    return {"all": module.setlocale(module.LC_ALL)}


def _set_locale(module: Any, values: Values, _: Values) -> None:
    module.setlocale(module.LC_ALL, values["all"])


def _decimal(module: Any) -> Values:
    context = module.getcontext()
    return {
        "context": context, "prec": context.prec, "rounding": context.rounding, "Emin": context.Emin,
        "Emax": context.Emax, "capitals": context.capitals, "clamp": context.clamp, "traps": dict(context.traps),
    }  # fmt: skip


def _set_decimal(module: Any, values: Values, _: Values) -> None:
    context = values["context"]
    for name, value in values.items():
        if name != "context":
            setattr(context, name, value)
    module.setcontext(context)


def _numpy(module: Any) -> Values:
    return {"print": module.get_printoptions(), "errors": module.geterr(), "call": module.geterrcall()}


def _set_numpy(module: Any, values: Values, _: Values) -> None:
    module.seterrcall(values["call"])
    module.seterr(**values["errors"])
    module.set_printoptions(**values["print"])


def _pandas(module: Any) -> Values:
    # The public way to an option takes 2 µs for each of eighty.
    tree: dict[str, Any] = object.__getattribute__(module.options, "d")
    return dict(_leaves(tree, ""))


def _leaves(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if type(value) is dict:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _set_pandas(module: Any, _: Values, changed: Values) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some options are deprecated
        for name, value in changed.items():
            module.set_option(name, value)


def _polars(module: Any) -> Values:
    # Most others are environment variables. The engine is chosen for each step, and used when its outputs are encoded.
    return {name: read() for name, read in module._POLARS_CFG_DIRECT_VARS.items()}


def _set_polars(module: Any, _: Values, changed: Values) -> None:
    for name, value in changed.items():
        getattr(module.Config, name)(value)


def _sklearn(module: Any) -> Values:
    found: Values = module.get_config()
    return found


def _set_sklearn(module: Any, _: Values, changed: Values) -> None:
    module.set_config(**changed)


def _torch(module: Any) -> Values:
    core = module._C
    return {
        "deterministic": core._get_deterministic_algorithms(), "warn_only": core._get_deterministic_algorithms_warn_only(),
        "threads": module.get_num_threads(), "dtype": module.get_default_dtype(),
        "benchmark": core._get_cudnn_benchmark(), "cudnn": core._get_cudnn_deterministic(),
    }  # fmt: skip


def _set_torch(module: Any, values: Values, changed: Values) -> None:
    core = module._C
    core._set_deterministic_algorithms(values["deterministic"], warn_only=values["warn_only"])
    core._set_cudnn_benchmark(values["benchmark"])
    core._set_cudnn_deterministic(values["cudnn"])
    if "threads" in changed:
        module.set_num_threads(values["threads"])
    if "dtype" in changed:
        module.set_default_dtype(values["dtype"])


_KINDS = {
    "os": _Kind(_variables, _set_variables),
    "sys": _Kind(_limits, _set_limits),
    "locale": _Kind(_locale, _set_locale),
    "decimal": _Kind(_decimal, _set_decimal),
    "numpy": _Kind(_numpy, _set_numpy),
    "pandas": _Kind(_pandas, _set_pandas),
    "polars.config": _Kind(_polars, _set_polars),
    "sklearn": _Kind(_sklearn, _set_sklearn),
    "torch": _Kind(_torch, _set_torch),
    "warnings": _Kind(_filters, _set_filters),  # last: putting others back may warn
}


def _folder() -> str | None:
    try:
        return os.getcwd()  # once or twice for every step: the `Path` would cost more than the call
    except OSError:  # it was removed
        return None
