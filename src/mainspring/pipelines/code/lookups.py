"""Calls of what looks names up in a text that it is given, and the texts that an expression can be told to give.

A text is followed to where it is bound: to a literal, a local, a loop over literals, or a name at the top of the module.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable, Iterable

from mainspring.pipelines.code.facts import MARKED, TABLES, WORDS
from mainspring.pipelines.code.scopes import chain_of

_GIVEN_TABLES = frozenset({"sql", "query", "scan_query"})
_ENGINES = frozenset({"duckdb", "_duckdb"})
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
_KEYWORDS = frozenset({"expr", "query", "sql", "ex"})
_TELLS = frozenset("print debug info warning error exception critical log write writelines echo warn getLogger".split())
_SAME_TEXT = frozenset("strip lstrip rstrip format format_map replace lower upper items values keys get copy".split())
_HANDS_ON = frozenset("dedent cleandoc text str list tuple set sorted reversed enumerate zip".split())
_HOLE = "?"
_MOST = 100  # texts that one expression may be


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
    if root in _ENGINES and last != root:
        return (TABLES,)
    return _OF_LIBRARIES.get((root, last)) or (_METHODS.get(last, ()) if isinstance(function, ast.Attribute) else ())


def tells(function: ast.expr) -> bool:
    """Whether a call only tells people the texts that it is given: it prints or logs them, or makes an exception."""
    last = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return last in _TELLS or last.endswith(("Error", "Exception", "Warning"))


def given_texts(node: ast.Call) -> list[ast.expr]:
    """The arguments of a call that may be the text in which it looks names up."""
    return [*node.args[:1], *(word.value for word in node.keywords if word.arg in _KEYWORDS)]


class Given:
    """The texts that expressions can be told to give; `outer` and `local` resolve a name as a collector does."""

    def __init__(
        self,
        outer: Callable[[list[str]], list[str]],
        local: Callable[[str], tuple[list[ast.expr], bool] | None],
    ) -> None:
        self.texts: set[str] = set()
        self.names: set[str] = set()
        self.parts: set[str] = set()
        self.is_open = False
        self._outer = outer
        self._local = local
        self._met: set[str] = set()

    def take(self, node: ast.expr) -> None:
        """Take in what an expression gives."""
        self.texts |= self._of(node, self.names)

    def _of(self, node: ast.expr, names: set[str]) -> set[str]:
        match node:
            case ast.Constant(value=value):
                return {value} if isinstance(value, str) else set()
            case ast.JoinedStr(values=values):
                return self._joined(values)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined([left, right])
            case ast.BinOp(left=inner, op=ast.Mod()) | ast.FormattedValue(value=inner):
                return self._of(inner, names)
            case ast.Name() | ast.Attribute():
                return self._named(chain_of(node), names)
            case ast.Call(func=ast.Attribute(value=inner, attr=attr)) if attr in _SAME_TEXT:
                return self._of(inner, names)
            case ast.Call(func=ast.Name(id=last) | ast.Attribute(attr=last), args=args) if last in _HANDS_ON:
                return self._any(args, names)
            case ast.IfExp(body=body, orelse=orelse):
                return self._any([body, orelse], names)
            case ast.List(elts=each) | ast.Tuple(elts=each) | ast.Set(elts=each) | ast.BoolOp(values=each):
                return self._any(each, names)
            case ast.Dict(keys=keys, values=values):
                return self._any([key for key in [*keys, *values] if key is not None], names)
            case ast.NamedExpr(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
                return self._of(inner, names)
            case ast.ListComp(elt=inner) | ast.GeneratorExp(elt=inner) | ast.SetComp(elt=inner):
                return self._of(inner, names)
        self.is_open = True
        return set()

    def _any(self, nodes: Iterable[ast.expr], names: set[str]) -> set[str]:
        return {text for node in nodes for text in self._of(node, names)}

    def _joined(self, nodes: list[ast.expr]) -> set[str]:
        """The texts that parts make; a part that is not known leaves a hole."""
        was_open = self.is_open
        choices = [self._of(node, self.parts) or {_HOLE} for node in nodes]
        self.is_open = was_open
        if math.prod(map(len, choices)) > _MOST:
            choices = [each if len(each) == 1 else {_HOLE} for each in choices]
        return {"".join(chosen) for chosen in itertools.product(*choices)}

    def _named(self, chain: list[str], names: set[str]) -> set[str]:
        known = self._local(chain[0]) if chain else ([], True)
        if known is None:
            names.update(self._outer(chain))
            return set()
        values, is_open = known
        self.is_open |= is_open or len(chain) > 1
        if chain[:1] == [] or chain[0] in self._met:
            return set()
        self._met.add(chain[0])
        found = self._any(values, names)
        self._met.discard(chain[0])
        return found
