"""Which module-level statements only define: the short lists of decorators and calls known to have no side effect.

Whatever is not on a list is taken to have one, and so counts in every module that loads it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

Canonical = Callable[[ast.expr], str]

PURE_DECORATORS = frozenset(
    """property staticmethod classmethod dataclasses.dataclass functools.wraps functools.cache functools.lru_cache
    functools.cached_property functools.total_ordering functools.singledispatch functools.singledispatchmethod
    contextlib.contextmanager contextlib.asynccontextmanager typing.overload typing.final typing.override
    typing.runtime_checkable typing.no_type_check typing.dataclass_transform typing_extensions.overload
    typing_extensions.final typing_extensions.override abc.abstractmethod enum.unique enum.verify""".split()
)
PURE_CALLS = frozenset(
    """frozenset set dict list tuple int float complex str bool bytes bytearray range len min max sum sorted abs round
    zip enumerate object slice reversed any all map filter isinstance issubclass divmod pow chr ord repr super type
    functools.partial logging.getLogger pathlib.Path pathlib.PurePath pathlib.PurePosixPath re.compile
    typing.TypeVar typing.NewType typing.ParamSpec typing.TypeVarTuple typing.NamedTuple typing.TypedDict typing.cast
    collections.namedtuple collections.OrderedDict collections.defaultdict collections.Counter collections.deque
    contextvars.ContextVar datetime.timedelta datetime.date datetime.datetime datetime.time datetime.timezone
    decimal.Decimal fractions.Fraction enum.auto types.MappingProxyType types.SimpleNamespace zoneinfo.ZoneInfo
    operator.itemgetter operator.attrgetter operator.methodcaller dataclasses.field uuid.UUID threading.Lock
    threading.RLock string.Template itertools.chain itertools.product mainspring.file mainspring.env msgspec.field
    numpy.array numpy.dtype numpy.arange polars.col polars.lit polars.Schema polars.Enum polars.Struct polars.List
    os.path.join os.path.dirname os.path.abspath os.path.basename""".split()
)
_PURE_METHODS = frozenset(
    """resolve absolute joinpath with_suffix with_name with_stem expanduser relative_to as_posix split rsplit splitlines
    join format strip lstrip rstrip lower upper title replace encode decode items keys values union intersection
    difference copy startswith endswith total_seconds alias cast is_null is_not_null""".split()
)
_METACLASSES = frozenset({"abc.ABCMeta", "enum.EnumMeta", "enum.EnumType", "type", "typing.Protocol"})


def is_step_decorator(name: str) -> bool:
    """Whether a resolved name is Mainspring's own `step` or `pipeline`."""
    return name.startswith("mainspring.") and name.rpartition(".")[2] in {"step", "pipeline"}


def called(decorator: ast.expr) -> ast.expr:
    """The decorator itself, without the arguments it is given."""
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def is_pure_decorator(decorator: ast.expr, canonical: Canonical) -> bool:
    """Whether applying it does nothing that another module could notice."""
    plain = called(decorator)
    if isinstance(plain, ast.Attribute) and plain.attr in {"setter", "getter", "deleter"}:
        return True
    name = canonical(plain)
    return name in PURE_DECORATORS or is_step_decorator(name)


def is_constant(value: ast.expr, canonical: Canonical) -> bool:
    """Whether evaluating it calls nothing but what is known to be pure."""
    for node in ast.walk(value):
        if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)):
            return False
        if isinstance(node, ast.Call) and not _is_pure_call(node, canonical):
            return False
    return True


def _is_pure_call(node: ast.Call, canonical: Canonical) -> bool:
    if canonical(node.func) in PURE_CALLS:
        return True
    if not (isinstance(node.func, ast.Attribute) and node.func.attr in _PURE_METHODS):
        return False
    owner: ast.expr = node.func.value
    while isinstance(owner, (ast.Attribute, ast.Subscript)):
        owner = owner.value
    return isinstance(owner, (ast.Constant, ast.JoinedStr, ast.Call, ast.Dict, ast.List, ast.Set, ast.BinOp))


def is_plain_function(node: ast.FunctionDef | ast.AsyncFunctionDef, canonical: Canonical) -> bool:
    """Whether defining it does nothing else."""
    return all(is_pure_decorator(decorator, canonical) for decorator in node.decorator_list)


def is_plain_class(node: ast.ClassDef, canonical: Canonical) -> bool:
    """Whether defining it does nothing else: pure decorators, no metaclass of one's own, no bare calls in its body."""
    if not all(is_pure_decorator(decorator, canonical) for decorator in node.decorator_list):
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
        return all(isinstance(target, (ast.Name, ast.Tuple)) for target in member.targets)
    return isinstance(member, (ast.AnnAssign, ast.Pass, ast.Import, ast.ImportFrom))


def runs_on_subclassing(node: ast.ClassDef, canonical: Canonical) -> bool:
    """Whether making a subclass of it runs code: an `__init_subclass__`, or a metaclass of one's own."""
    if any(word.arg == "metaclass" and canonical(word.value) not in _METACLASSES for word in node.keywords):
        return True
    return any(isinstance(member, ast.FunctionDef) and member.name == "__init_subclass__" for member in node.body)
