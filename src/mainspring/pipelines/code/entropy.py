"""A static search for calls that no seed reaches, so that `replay` can name the likely cause of a difference.

It reads source text and runs nothing. It names suspects: a clock that is only logged is found too, and a call hidden
behind `getattr` is not.
"""

from __future__ import annotations

import ast

import msgspec

from mainspring.errors import shorten

_SYSTEM = "asks the operating system for random bytes"
_CLOCK = "reads the clock"
_FRESH = "is seeded by the operating system unless it is given a seed"
_PROCESS = "differs from process to process"
_ORDER = "gives names in an order that the file system decides"

_ALWAYS = {
    "os.urandom": _SYSTEM,
    "os.getrandom": _SYSTEM,
    "uuid.uuid1": _CLOCK,
    "uuid.uuid4": _SYSTEM,
    "uuid.uuid6": _CLOCK,
    "uuid.uuid7": _CLOCK,
    "random.SystemRandom": _SYSTEM,
    "torch.seed": _SYSTEM,
    "torch.random.seed": _SYSTEM,
    "time.time": _CLOCK,
    "time.time_ns": _CLOCK,
    "time.monotonic": _CLOCK,
    "time.monotonic_ns": _CLOCK,
    "time.perf_counter": _CLOCK,
    "time.perf_counter_ns": _CLOCK,
    "time.process_time": _CLOCK,
    "time.process_time_ns": _CLOCK,
    "datetime.datetime.now": _CLOCK,
    "datetime.datetime.utcnow": _CLOCK,
    "datetime.datetime.today": _CLOCK,
    "datetime.date.today": _CLOCK,
    "pandas.Timestamp.now": _CLOCK,
    "pandas.Timestamp.today": _CLOCK,
    "pandas.Timestamp.utcnow": _CLOCK,
    "os.getpid": _PROCESS,
    "threading.get_ident": _PROCESS,
    "id": "is a memory address, which " + _PROCESS,
    "os.listdir": _ORDER,
    "os.scandir": _ORDER,
    "os.walk": _ORDER,
    "glob.glob": _ORDER,
    "glob.iglob": _ORDER,
}

# Called without a seed, or with None, they draw their own; the value is the name of the argument.
_WITHOUT_SEED = {
    "numpy.random.default_rng": "seed",
    "numpy.random.SeedSequence": "entropy",
    "numpy.random.RandomState": "seed",
    "numpy.random.seed": "seed",
    "numpy.random.PCG64": "seed",
    "numpy.random.PCG64DXSM": "seed",
    "numpy.random.MT19937": "seed",
    "numpy.random.Philox": "seed",
    "numpy.random.SFC64": "seed",
    "random.Random": "x",
    "random.seed": "a",
}

_TIME_NOW = {"time.gmtime": "secs", "time.localtime": "secs", "time.ctime": "secs"}


class EntropyCall(msgspec.Struct, frozen=True):
    """A call whose result no seed decides: its line (from 1), its text, and why."""

    line: int
    expression: str
    why: str


def entropy_calls(source: str, filename: str = "<source>") -> list[EntropyCall]:
    r"""The calls in a module that no seed reaches, in the order of their lines.

    Names are followed through imports and their aliases, wherever in the module they stand.

    Raises:
        SyntaxError: the source is no Python; `filename` is named.

    >>> entropy_calls("import numpy as np\nrng = np.random.default_rng()\n")[0].expression
    'np.random.default_rng()'
    >>> entropy_calls("import numpy as np\nrng = np.random.default_rng(7)\n")
    []
    """
    tree = ast.parse(source, filename)
    names = _imported_names(tree)
    local = _defined_names(tree)
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        dotted = _dotted(node.func, names, local)
        why = _why(dotted, node) if dotted else None
        if why is not None:
            found.append(EntropyCall(node.lineno, shorten(ast.unparse(node)), why))
    return sorted(found, key=lambda call: call.line)


def _imported_names(tree: ast.AST) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _defined_names(tree: ast.AST) -> set[str]:
    """Names the module gives a meaning of its own, so that `id` or `hash` need not be the builtin."""
    defined = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    defined |= {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    return defined | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def _dotted(node: ast.expr, names: dict[str, str], local: set[str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    if node.id in names:
        return ".".join([names[node.id], *reversed(parts)])
    return node.id if node.id in ("id", "hash") and not parts and node.id not in local else ""


def _why(dotted: str, call: ast.Call) -> str | None:
    if dotted.startswith("secrets."):
        return None if dotted == "secrets.compare_digest" else _SYSTEM
    if dotted in _ALWAYS:
        return _ALWAYS[dotted]
    if dotted in _WITHOUT_SEED:
        return _FRESH if _is_missing(call, _WITHOUT_SEED[dotted]) else None
    if dotted in _TIME_NOW:
        return _CLOCK if _is_missing(call, _TIME_NOW[dotted]) else None
    if dotted == "hash":
        return "depends on the hash seed, if it is of a string or bytes"
    return None


def _is_missing(call: ast.Call, keyword: str) -> bool:
    """Whether an optional argument is not given, or given as None."""
    if any(isinstance(argument, ast.Starred) for argument in call.args) or any(not word.arg for word in call.keywords):
        return False
    given = [*call.args[:1], *(word.value for word in call.keywords if word.arg == keyword)]
    return not given or (isinstance(given[0], ast.Constant) and given[0].value is None)
