"""Which statements at the top of a module only make an object, `CFG = Cfg()`, that nobody gets but by the name it is given.

Making it calls the constructor and no other method. Where that lets the object out, or can't be told, it is not of these.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mainspring.pipelines.code.names import ModuleNames, references_of
from mainspring.pipelines.code.purity import Canonical, called
from mainspring.pipelines.code.scopes import chain_of

# With these an object does more, while it is made or gone, than to keep what it is given.
_ACTING = frozenset({"__new__", "__post_init__", "__setattr__", "__delattr__", "__del__", "__getattribute__"})
_KEPT = (ast.Name, ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.expr_context)


def class_made(statement: ast.stmt, names: ModuleNames) -> str:
    """The dotted name of what a statement calls to make what it binds, and uses for nothing else; empty for any other."""
    match statement:
        case ast.Assign(targets=[*targets], value=ast.Call() as call):
            pass
        case ast.AnnAssign(target=target, value=ast.Call() as call):
            targets = [target]
        case _:
            return ""
    chain = chain_of(call.func)
    if not chain or not all(isinstance(target, ast.Name) and not _is_special(target.id) for target in targets):
        return ""
    given = [*call.args, *(word.value for word in call.keywords)]
    used = {name for each in given for name in references_of(names, each)}
    made = ".".join(chain)
    return "" if any(name == made or name.startswith(f"{chain[0]}.") or name == chain[0] for name in used) else made


def only_keeps(node: ast.ClassDef, canonical: Canonical) -> bool:
    """Whether an object of a class does nothing while it is made but to keep constants and what it is given."""
    if node.bases or node.keywords or not all(_is_dataclass(each, canonical) for each in node.decorator_list):
        return False
    functions = [member for member in node.body if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)]
    others = [member for member in node.body if member not in functions]
    constructors = [function for function in functions if function.name == "__init__"]
    names = {function.name for function in functions}  # a property's setter would run
    return (
        all(map(_is_plain_member, others))
        and not names & _ACTING
        and len(constructors) <= 1
        and all(_is_keeping(each, names) for each in constructors)
    )


def _is_plain_member(member: ast.stmt) -> bool:
    """Whether it binds nothing but constants: neither functions nor descriptors."""
    if isinstance(member, ast.Assign | ast.AnnAssign):
        return member.value is None or _is_plain(member.value, ())
    return isinstance(member, ast.Pass) or _is_text(member)


def _is_keeping(constructor: ast.stmt, bound: set[str]) -> bool:
    """Whether a constructor only sets attributes, which the class has not bound, to constants and what it is given."""
    if not isinstance(constructor, ast.FunctionDef) or constructor.decorator_list or not constructor.args.args:
        return False
    given = [*constructor.args.args, *constructor.args.kwonlyargs, constructor.args.vararg, constructor.args.kwarg]
    owner, *others = [argument.arg for argument in given if argument is not None]
    for statement in constructor.body:
        if isinstance(statement, ast.Pass) or _is_text(statement):
            continue
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if value is None or not _is_plain(value, others):
            return False
        for target in _targets(statement):
            match target:
                case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == owner and attribute not in bound:
                    continue
            return False
    return True


def _targets(statement: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(statement, ast.Assign):
        yield from statement.targets
    elif isinstance(statement, ast.AnnAssign):
        yield statement.target


def _is_plain(value: ast.expr, names: tuple[str, ...] | list[str]) -> bool:
    """Whether it is built of constants and of what some names stand for, which nothing is done with."""
    return all(
        isinstance(node, _KEPT) and (not isinstance(node, ast.Name) or node.id in names) for node in ast.walk(value)
    )


def _is_dataclass(decorator: ast.expr, canonical: Canonical) -> bool:
    return canonical(called(decorator)) == "dataclasses.dataclass"


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
