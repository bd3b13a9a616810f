"""Calls of what looks names up in a text that it is given, and the texts that an expression is told to be.

A text is told only if it is wholly a literal, or put together of told texts; of anything else nothing is believed.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import math
import re
import textwrap
from collections.abc import Callable, Sequence

from mainspring.pipelines.code.facts import MARKED, TABLES, WORDS
from mainspring.pipelines.code.scopes import Scope, chain_of

_GIVEN_TABLES = frozenset({"sql", "query", "scan_query"})
ENGINES = frozenset({"duckdb", "_duckdb"})
"""The modules of DuckDB."""
_OF_LIBRARIES = {
    ("pandas", "eval"): (WORDS,),
    ("numexpr", "evaluate"): (WORDS,),
    ("polars", "sql"): (TABLES,),
    ("pandasql", "sqldf"): (TABLES,),
}
# Methods, whatever object they are taken from: a frame's, or a connection's of an SQL engine.
_METHODS = {
    "query": (MARKED, TABLES),
    "eval": (MARKED,),
    **dict.fromkeys(("sql", "execute", "executemany", "from_query", "query_df"), (TABLES,)),
}
# Of a relation of DuckDB; frames and arrays have methods of these names that take anything.
_OF_RELATIONS = frozenset(["filter", "project", "aggregate", "order", "table", "view"])
_OTHER_KEYWORDS = frozenset(
    "params parameters alias multiple_parameter_sets inplace engine parser level target eager truediv connection con".split()
)
_TAKE_ONE = frozenset(["execute", "executemany"])  # their other arguments are values
# To people, by methods of what is called so, or by functions of these modules: a class of one's own may have an `error` that
# keeps a rule.
_TELLS = frozenset("print debug info warning error exception critical log echo secho warn".split())
_TELLERS = frozenset("log logger logging loguru structlog warnings click typer rich console".split())
_CONDITIONS = frozenset(f"polars.{name}" for name in ("col", "lit", "when", "all_horizontal", "any_horizontal"))
_STRIPS: dict[str, Callable[[str], str]] = {"strip": str.strip, "lstrip": str.lstrip, "rstrip": str.rstrip}
_NEVER_TOLD = re.compile("[\0\ud800-\udfff]")  # nothing that asks for a name has these: a NUL, and half a character
_MOST = 100  # texts that one expression may be
_LONGEST = 100_000  # characters of a text that is put together


def is_given_tables(name: str) -> bool:
    """Whether what has this resolved name is Mainspring's own SQL, which knows no tables but those that it is given."""
    return name.startswith("mainspring.") and name.rpartition(".")[2] in _GIVEN_TABLES


def looked_up_by(function: ast.expr, name: str) -> tuple[str, ...]:
    """The kinds of names that a function with this resolved name looks up in a text; none if it does not.

    >>> looked_up_by(ast.parse("evaluate", mode="eval").body, "numexpr.evaluate")
    ('words',)
    >>> looked_up_by(ast.parse("net.evaluate", mode="eval").body, "")
    ()
    """
    root = name.partition(".")[0]
    last = function.attr if isinstance(function, ast.Attribute) else name.rpartition(".")[2]
    if root == "mainspring":
        return ()
    if is_engine(name) and last != root:
        return (TABLES,)
    is_method = isinstance(function, ast.Attribute) or name.count(".") > 1
    return _OF_LIBRARIES.get((root, last)) or (_METHODS.get(last, ()) if is_method else ())


def is_of_relation(function: ast.expr) -> bool:
    """Whether a function may be a method of a relation of DuckDB that takes SQL, and as well that of any frame.

    >>> is_of_relation(ast.parse("rel.filter", mode="eval").body)
    True
    """
    return isinstance(function, ast.Attribute) and function.attr in _OF_RELATIONS


def is_engine(name: str) -> bool:
    """Whether a dotted name is of an engine that looks its tables up in Python."""
    return name.partition(".")[0] in ENGINES


def tells(node: ast.Call, name: str) -> bool:
    """Whether a call only tells people the texts that it is given: it prints or logs them, or makes an exception.

    >>> [tells(ast.parse(call, mode="eval").body, "") for call in ("self._log.info('x')", "self.error('x')")]
    [True, False]
    """
    if any(word.arg in ("file", None) for word in node.keywords):
        return False
    root, _, rest = name.removeprefix("builtins.").partition(".")
    if not rest and isinstance(made := vars(builtins).get(root), type) and issubclass(made, BaseException):
        return True
    if isinstance(node.func, ast.Attribute):
        return node.func.attr in _TELLS and (root in _TELLERS or _is_teller(node.func.value))
    return root == "print" or (root in _TELLERS and rest.rpartition(".")[2] in {*_TELLS, "getLogger"})


def _is_teller(node: ast.expr) -> bool:
    """Whether what something is called says that it logs or prints: `log`, `_app_logger`, `getLogger(…)`."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return not _TELLERS.isdisjoint(name.lower().split("_"))
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name.lower().endswith("logger")
    return False


def given_texts(node: ast.Call) -> list[ast.expr]:
    """The arguments of a call that may be a text in which it looks names up."""
    last = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    given = node.args[:1] if last in _TAKE_ONE else node.args
    return [*given, *(word.value for word in node.keywords if word.arg not in _OTHER_KEYWORDS)]


def formula_in(text: str) -> set[str]:
    """The functions that a formula calls.

    >>> sorted(formula_in("y ~ scale(x) + z")), sorted(formula_in("takes ~ 5 s (with load)"))
    (['scale'], [])
    """
    left, tilde, right = text.partition("~")
    if not tilde or len(text) > _LONGEST:
        return set()
    try:
        trees = [ast.parse(side.strip(), mode="eval") for side in (left, right) if side.strip()]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.unparse(function) for function in calls if isinstance(function, (ast.Name, ast.Attribute))}


def is_text(node: ast.expr) -> bool:
    """Whether an expression is seen to be a text, told or not."""
    match node:
        case ast.JoinedStr() | ast.Constant(value=str()):
            return True
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod(), right=right):
            return is_text(left) or is_text(right)
        case ast.Call(func=ast.Attribute(value=inner)) | ast.NamedExpr(value=inner):
            return is_text(inner)
        case ast.IfExp(body=body, orelse=orelse):
            return is_text(body) or is_text(orelse)
    return False


class Told:
    """The texts that expressions within some scopes are told to be.

    A name at the top of a module stands in them between NULs: what it is, the module's other statements say.
    """

    def __init__(self, scopes: Sequence[Scope], canonical: Callable[[ast.expr], str]) -> None:
        self._scopes = tuple(scopes)
        self._canonical = canonical
        self._known: dict[tuple[str, int], frozenset[str] | None] = {}

    def of(self, node: ast.expr) -> frozenset[str] | None:
        """The texts that an expression may be, none if it is told to be no text; None if that isn't told."""
        return self._of(node, self._scopes)

    def _of(self, node: ast.expr, scopes: tuple[Scope, ...]) -> frozenset[str] | None:
        match node:
            case ast.Constant(value=str(text)):
                return None if _NEVER_TOLD.search(text) else frozenset([text])
            case ast.Constant() | ast.Compare() | ast.UnaryOp() | ast.Lambda():
                return frozenset()
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr() | ast.BitXor()):
                return frozenset()
            case ast.JoinedStr(values=parts):
                return self._joined(parts, scopes)
            case ast.FormattedValue(value=inner, conversion=-1, format_spec=None):
                return self._of(inner, scopes)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([left, right], scopes)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod(), right=right):
                return self._joined(_filled(text, right.elts if isinstance(right, ast.Tuple) else [right]), scopes)
            case ast.IfExp(body=body, orelse=orelse):
                found = self._of(body, scopes), self._of(orelse, scopes)
                return found[0] | found[1] if found[0] is not None and found[1] is not None else None
            case ast.Name() | ast.Attribute():
                return self._named(chain_of(node), scopes)
            case ast.Call():
                return self._called(node, scopes)
        return None

    def _joined(self, parts: list[ast.expr], scopes: tuple[Scope, ...]) -> frozenset[str] | None:
        found = [self._of(part, scopes) for part in parts]
        known = [each for each in found if each]
        longest = sum(len(text) for each in known for text in each)
        if len(known) < len(parts) or math.prod(map(len, known)) > _MOST or longest > _LONGEST:
            return None
        return frozenset("".join(chosen) for chosen in itertools.product(*known))

    def _named(self, chain: list[str], scopes: tuple[Scope, ...]) -> frozenset[str] | None:
        for depth in range(len(scopes) if chain else 0, 0, -1):
            scope, root = scopes[depth - 1], chain[0]
            imported = scope.imports.get(root, ())
            if imported and scope.times[root] == len(imported):
                return frozenset("\0" + ".".join([key, *chain[1:]]) + "\0" for key in imported)
            if root in scope.outer or (scope.times[root] and (len(chain) > 1 or scope.times[root] > 1)):
                return None
            if scope.times[root]:
                return self._local(root, scopes[:depth])
        return frozenset(["\0" + ".".join(chain) + "\0"]) if chain else None

    def _local(self, name: str, scopes: tuple[Scope, ...]) -> frozenset[str] | None:
        """What a name that the last scope binds once stands for."""
        key, value = (name, len(scopes)), scopes[-1].values.get(name)
        if value is None or name not in scopes[-1].names:
            return None
        if key not in self._known:
            self._known[key] = None  # while it is looked at: what stands for itself is not told
            self._known[key] = self._of(value, scopes)
        return self._known[key]

    def _called(self, node: ast.Call, scopes: tuple[Scope, ...]) -> frozenset[str] | None:
        """What a call gives that only trims or joins told texts, or makes a condition of Polars."""
        match node:
            case ast.Call(
                func=ast.Attribute(value=between, attr="join"), args=[ast.List(elts=each) | ast.Tuple(elts=each)]
            ):
                parts = [part for item in each for part in (between, item)]
                return self._joined(parts[1:], scopes) if parts else None
            case ast.Call(func=ast.Attribute(value=inner, attr=attr), args=[], keywords=[]) if attr in _STRIPS:
                trimmed, found = _STRIPS[attr], self._of(inner, scopes)
            case ast.Call(func=function, args=[inner], keywords=[]) if self._canonical(function) == "textwrap.dedent":
                trimmed, found = textwrap.dedent, self._of(inner, scopes)
            case _:
                return frozenset() if self._is_condition(node) else None
        is_whole = found is not None and not any("\0" in text for text in found)
        return frozenset(map(trimmed, found)) if found is not None and is_whole else None

    def _is_condition(self, node: ast.expr) -> bool:
        while isinstance(node, (ast.Call, ast.Attribute, ast.Subscript)):
            if self._canonical(node) in _CONDITIONS:
                return True
            node = node.func if isinstance(node, ast.Call) else node.value
        return False


def _filled(text: str, values: list[ast.expr]) -> list[ast.expr]:
    """What `text % values` puts together, if there is nothing but `%s` in it; else an expression that isn't told."""
    pieces = text.split("%s")
    if len(pieces) != len(values) + 1 or "%" in "".join(pieces):
        return [ast.List([], ast.Load())]
    parts: list[ast.expr] = [ast.Constant(pieces[0])]
    for value, piece in zip(values, pieces[1:], strict=True):
        parts += [value, ast.Constant(piece)]
    return parts
