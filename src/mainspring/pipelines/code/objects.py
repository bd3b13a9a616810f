"""Digests of compiled code, without file names and line numbers: what a live function and its source share."""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType

from blake3 import blake3


def digest_of(texts: Iterable[str]) -> str:
    """One digest of several texts; where one ends and the next begins counts."""
    hasher = blake3()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest(16)


def codes_of(module: CodeType) -> dict[str, tuple[str, ...]]:
    """The digests of a compiled module's functions and classes by qualified name."""
    found: dict[str, list[str]] = {}
    pending = [module]
    while pending:
        for constant in pending.pop().co_consts:
            if isinstance(constant, CodeType) and "<" not in constant.co_qualname:
                found.setdefault(constant.co_qualname, []).append(code_digest(constant))
                pending.append(constant)
    return {name: tuple(sorted(digests)) for name, digests in found.items()}


def code_digest(code: CodeType) -> str:
    """A digest of what a code object does, without file name and line numbers, the same in every process."""
    return digest_of([_code_text(code)])


def _code_text(code: CodeType) -> str:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    constants = ",".join(_constant_text(constant) for constant in code.co_consts)
    return f"{code.co_name}{counts}{names}{code.co_code.hex()}{code.co_exceptiontable.hex()}[{constants}]"


def _constant_text(constant: object) -> str:
    if isinstance(constant, CodeType):
        return _code_text(constant)
    if isinstance(constant, frozenset):
        return f"frozenset({sorted(map(_constant_text, constant))})"
    if isinstance(constant, tuple):
        return f"({','.join(map(_constant_text, constant))})"
    return f"{type(constant).__name__}:{constant!r}"
