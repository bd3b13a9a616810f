"""Which module-level statements only define: the short lists of decorators and calls known to have no side effect.

Whatever is not on a list is taken to have one, and so counts in every module that loads it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable

Canonical = Callable[[ast.expr], str]

PURE_DECORATORS = frozenset(
    """property staticmethod classmethod dataclasses.dataclass functools.wraps functools.cache functools.lru_cache
    functools.cached_property functools.total_ordering functools.singledispatch functools.singledispatchmethod
    contextlib.contextmanager contextlib.asynccontextmanager typing.overload typing.final typing.override
    typing.runtime_checkable typing.no_type_check typing.dataclass_transform typing_extensions.overload
    typing_extensions.final typing_extensions.override abc.abstractmethod enum.unique enum.verify
    mainspring.sql mainspring.data.sql""".split()
)
PURE_CALLS = frozenset(
    """property staticmethod classmethod functools.cached_property frozenset set dict list tuple int float complex str
    bool bytes bytearray range len min max sum sorted abs round zip enumerate object slice reversed any all map filter
    isinstance issubclass divmod pow chr ord repr super type functools.partial logging.getLogger pathlib.Path
    pathlib.PurePath pathlib.PurePosixPath re.compile
    typing.TypeVar typing.NewType typing.ParamSpec typing.TypeVarTuple typing.NamedTuple typing.TypedDict typing.cast
    collections.namedtuple collections.OrderedDict collections.defaultdict collections.Counter collections.deque
    contextvars.ContextVar datetime.timedelta datetime.date datetime.datetime datetime.time datetime.timezone
    decimal.Decimal fractions.Fraction enum.auto types.MappingProxyType types.SimpleNamespace zoneinfo.ZoneInfo
    operator.itemgetter operator.attrgetter operator.methodcaller dataclasses.field uuid.UUID threading.Lock
    threading.RLock string.Template itertools.chain itertools.product mainspring.file mainspring.env msgspec.field
    numpy.array numpy.dtype numpy.arange polars.col polars.lit polars.Schema polars.Enum polars.Struct polars.List
    os.path.join os.path.dirname os.path.abspath os.path.basename attr.ib attrs.field pydantic.Field pydantic.ConfigDict
    mainspring.Metric""".split()
) | {f"mainspring.evaluation.{name}" for name in ("Bootstrap", "Gate", "Metric", "Slice")}
# What makes Mainspring's declarations: they say something and are noted nowhere. `features.agg` is all of this kind.
_DECLARING = frozenset(
    f"mainspring.features.{name}" for name in ("Entity", "Stream", "FeatureView", "OnDemandView", "FeatureService")
)
_AGGREGATES = "mainspring.features.agg."
# What makes Polars' expressions, the namespaces of these, and what calls a function that an expression is given at once
# or writes a file.
_EXPRESSIONS = frozenset(
    f"polars.{name}"
    for name in """all all_horizontal any any_horizontal coalesce col concat_list concat_str date datetime duration element
    exclude first format last len lit max_horizontal mean_horizontal min_horizontal struct sum_horizontal time when""".split()
)
_NAMESPACES = frozenset({"arr", "bin", "cat", "dt", "list", "name", "str", "struct"})
_ACTING = frozenset({"pipe", "meta"})
# What calls one of its arguments while it is called itself; `key` does so in each of them.
_CALLERS = {"map": 0, "filter": 0}
_CALLED_BY_KEY = frozenset({"sorted", "min", "max"})
# Libraries whose calls in a type hint only describe it.
_IN_HINTS = ("annotated_types.", "fastapi.", "msgspec.", "pydantic.", "typer.", "typing.", "typing_extensions.")
_PURE_METHODS = frozenset(
    """resolve absolute joinpath with_suffix with_name with_stem expanduser relative_to as_posix split rsplit splitlines
    join format strip lstrip rstrip lower upper title replace encode decode items keys values union intersection
    difference copy startswith endswith total_seconds alias cast is_null is_not_null""".split()
)
# What they do is seen by people, or when the process ends, not by a step. The rest of Mainspring is keyed by itself.
_TELLING = ("atexit.", "faulthandler.", "gc.", "logging.", "loguru.", "mainspring.", "rich.", "signal.", "structlog.",
            "sys.path.", "sys.stderr.", "sys.stdout.", "time.", "tqdm.")  # fmt: skip
_TELLING_CALLS = frozenset({"print", "display", "os.makedirs", "os.mkdir", "pathlib.Path", "warnings.warn"})
# Their decorators make something of what they decorate, and note it nowhere.
_WRAPPING = ("attr.", "attrs.", "backoff.", "beartype.", "cachetools.", "click.", "contextlib.", "dask.", "functools.",
             "hydra.", "jax.", "joblib.", "msgspec.", "numba.", "pydantic.", "ray.", "rich_click.", "tenacity.", "torch.",
             "typeguard.", "typing.", "typing_extensions.", "wrapt.")  # fmt: skip
_METACLASSES = frozenset({"abc.ABCMeta", "enum.EnumMeta", "enum.EnumType", "type", "typing.Protocol"})


def is_step_decorator(name: str) -> bool:
    """Whether a resolved name is Mainspring's own `step` or `pipeline`."""
    return name.startswith("mainspring.") and name.rpartition(".")[2] in {"step", "pipeline"}


def tells_only(name: str) -> bool:
    """Whether calling what a resolved name stands for changes nothing that a step could notice; a registration does."""
    told = name in _TELLING_CALLS or name.startswith(_TELLING)
    return told and not (name.startswith("mainspring.") and "register" in name)


def only_wraps(name: str) -> bool:
    """Whether a resolved decorator is of a library whose decorators register nothing."""
    return name.startswith(_WRAPPING)


def called(decorator: ast.expr) -> ast.expr:
    """The decorator itself, without the arguments it is given."""
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def is_pure_decorator(decorator: ast.expr, canonical: Canonical) -> bool:
    """Whether applying it does nothing that another module could notice."""
    plain = called(decorator)
    if isinstance(plain, ast.Attribute) and plain.attr in {"setter", "getter", "deleter"}:
        return True
    name = canonical(plain)
    if isinstance(decorator, ast.Call) and not _are_constant(
        [*decorator.args, *(word.value for word in decorator.keywords)], canonical
    ):
        return False
    return name in PURE_DECORATORS or is_step_decorator(name)


def is_constant(value: ast.expr, canonical: Canonical, declared: Collection[str] | None = None) -> bool:
    """Whether evaluating it calls nothing but what is known to be pure. The body of a lambda is not evaluated.

    With `declared`, names that are known to stand for declarations or expressions, making more of these is pure, too.
    """
    pending: list[ast.AST] = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)):
            return False
        if isinstance(node, ast.Call) and not _is_pure_call(node, canonical):
            is_declaration = declared is not None and declares(node, canonical, declared)
            if not is_declaration:
                return False
        pending += ast.iter_child_nodes(node.args if isinstance(node, ast.Lambda) else node)
    return True


def declares(node: ast.expr, canonical: Canonical, declared: Collection[str]) -> bool:
    """Whether it is one of Mainspring's declarations, an expression of Polars, or made from one by its own methods."""
    match node:
        case ast.Name(id=name):
            return name in declared
        case ast.Call(func=function):
            name = canonical(function)
            if name in _DECLARING or name in _EXPRESSIONS or name.startswith(_AGGREGATES):
                return True
            if not isinstance(function, ast.Attribute) or function.attr in _ACTING:
                return False
            owner = function.value
            if isinstance(owner, ast.Attribute) and owner.attr in _NAMESPACES:
                owner = owner.value
            return declares(owner, canonical, declared)
        case ast.Subscript(value=value) | ast.UnaryOp(operand=value):
            return declares(value, canonical, declared)
        case ast.BinOp(left=left, right=right) | ast.Compare(left=left, comparators=[right]):
            return declares(left, canonical, declared) or declares(right, canonical, declared)
    return False


def _are_constant(values: Iterable[ast.expr | None], canonical: Canonical) -> bool:
    return all(value is None or is_constant(value, canonical) for value in values)


def _is_pure_call(node: ast.Call, canonical: Canonical) -> bool:
    name = canonical(node.func)
    if name == "type" and len(node.args) > 1:
        return False  # it makes a subclass
    if name in PURE_CALLS:
        return all(_is_pure_callee(each, canonical) for each in _callees(node, name))
    if not (isinstance(node.func, ast.Attribute) and node.func.attr in _PURE_METHODS):
        return False
    owner: ast.expr = node.func.value
    while isinstance(owner, (ast.Attribute, ast.Subscript)):
        owner = owner.value
    return isinstance(owner, (ast.Constant, ast.JoinedStr, ast.Call, ast.Dict, ast.List, ast.Set, ast.BinOp))


def _callees(node: ast.Call, name: str) -> list[ast.expr]:
    """What a known function calls in turn."""
    found = [word.value for word in node.keywords if word.arg == "key"] if name in _CALLED_BY_KEY else []
    if name in _CALLERS:
        found += node.args[_CALLERS[name] : _CALLERS[name] + 1]
    return found


def _is_pure_callee(node: ast.expr, canonical: Canonical) -> bool:
    if isinstance(node, ast.Lambda):
        return is_constant(node.body, canonical)
    if isinstance(node, ast.Call) and canonical(node.func) == "functools.partial" and node.args:
        return _is_pure_callee(node.args[0], canonical)
    name = canonical(node.func if isinstance(node, ast.Call) else node)
    if name.startswith(("str.", "bytes.", "operator.", "math.")):
        return True
    return isinstance(node, ast.Constant) or (name in PURE_CALLS and not isinstance(node, ast.Call))


def is_plain_function(node: ast.FunctionDef | ast.AsyncFunctionDef, canonical: Canonical) -> bool:
    """Whether defining it does nothing else: neither its decorators nor its defaults and hints."""
    if not is_purely_decorated(node, canonical):
        return False
    return _are_constant(_defaults(node), canonical) and _are_plain_hints(_hints(node), canonical)


def is_purely_decorated(node: ast.FunctionDef | ast.AsyncFunctionDef, canonical: Canonical) -> bool:
    """Whether nothing gets the function while it is defined, so that its body can't run then."""
    return all(is_pure_decorator(decorator, canonical) for decorator in node.decorator_list)


def evaluated_by(node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.Tuple:
    """What defining a function evaluates beside its decorators: its defaults and hints."""
    return ast.Tuple([each for each in [*_defaults(node), *_hints(node)] if each is not None], ast.Load())


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr | None]:
    return [*node.args.defaults, *node.args.kw_defaults]


def _hints(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr | None]:
    given = node.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [node.returns, *(argument.annotation for argument in arguments if argument is not None)]


def _are_plain_hints(hints: Iterable[ast.expr | None], canonical: Canonical) -> bool:
    calls = (node for hint in hints if hint is not None for node in ast.walk(hint) if isinstance(node, ast.Call))
    return all(_is_pure_call(node, canonical) or canonical(node.func).startswith(_IN_HINTS) for node in calls)


def is_plain_class(node: ast.ClassDef, canonical: Canonical) -> bool:
    """Whether defining it does nothing else: pure decorators and bases, no metaclass of one's own, a body that only binds."""
    if not all(is_pure_decorator(decorator, canonical) for decorator in node.decorator_list):
        return False
    if not _are_constant([*node.bases, *(word.value for word in node.keywords)], canonical):
        return False
    if any(word.arg == "metaclass" and canonical(word.value) not in _METACLASSES for word in node.keywords):
        return False
    return all(_is_plain_member(member, canonical) for member in node.body)


def _is_plain_member(member: ast.stmt, canonical: Canonical) -> bool:
    if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return is_plain_function(member, canonical)
    if isinstance(member, ast.ClassDef):
        return is_plain_class(member, canonical)
    if isinstance(member, ast.Expr):
        return isinstance(member.value, ast.Constant)
    if isinstance(member, ast.If):
        return is_constant(member.test, canonical) and all(
            _is_plain_member(inner, canonical) for inner in member.body + member.orelse
        )
    if isinstance(member, ast.Assign):
        plain = all(isinstance(target, (ast.Name, ast.Tuple)) for target in member.targets)
        return plain and is_constant(member.value, canonical)
    if isinstance(member, ast.AnnAssign):
        return _are_constant([member.value], canonical) and _are_plain_hints([member.annotation], canonical)
    return isinstance(member, (ast.Pass, ast.Import, ast.ImportFrom))


def runs_on_subclassing(node: ast.ClassDef, canonical: Canonical) -> bool:
    """Whether making a subclass of it runs code: an `__init_subclass__`, or a metaclass of one's own."""
    if any(word.arg == "metaclass" and canonical(word.value) not in _METACLASSES for word in node.keywords):
        return True
    return any(isinstance(member, ast.FunctionDef) and member.name == "__init_subclass__" for member in node.body)
