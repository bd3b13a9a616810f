"""A package's export list, its stub and its modules say the same."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

from tests.house.source import SRC, packages, tree


def init_of(package: str) -> Path:
    return SRC.parent.joinpath(*package.split("."), "__init__.py")


def lazy_homes(package: str) -> dict[str, str] | None:
    """The mapping that a package hands to `mainspring.lazy.exports`, with absolute modules; None if it isn't lazy."""
    for node in ast.walk(tree(init_of(package))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "exports" and len(node.args) == 2:
            homes: dict[str, str] = eval(  # a mapping of string literals from our own source
                compile(ast.Expression(node.args[1]), package, "eval"), {}, module_constants(package)
            )
            return {name: f"{package}{home}" if home.startswith(".") else home for name, home in homes.items()}
    return None


def module_constants(package: str) -> dict[str, object]:
    return dict(vars(import_module(package)))


def stub_homes(package: str) -> dict[str, str]:
    """What a stub re-exports, and from which module."""
    homes: dict[str, str] = {}
    stub = init_of(package).with_suffix(".pyi")
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module or ''}".rstrip(".") if node.level else node.module or ""
            homes |= {alias.asname or alias.name: module for alias in node.names}
    return homes


def test_every_package_lists_its_exports() -> None:
    assert [name for name in packages() if not hasattr(import_module(name), "__all__")] == []


def test_every_export_exists() -> None:
    missing = [
        f"{package}.{name}"
        for package in packages()
        for name in getattr(import_module(package), "__all__", ())
        if not hasattr(import_module(package), name)
    ]
    assert missing == []


def test_lazy_exports_and_stub_agree() -> None:
    differing = {}
    for package in packages():
        homes = lazy_homes(package)
        if homes is None:
            continue
        stub = stub_homes(package)
        listed = {name: home for name, home in stub.items() if not name.startswith("_") and home != "__future__"}
        public = {name: home for name, home in homes.items() if not name.startswith("_")}
        if listed != public:
            differing[package] = sorted(set(listed.items()) ^ set(public.items()))
    assert differing == {}


def test_a_lazy_package_has_a_stub_and_a_stub_a_lazy_package() -> None:
    assert [
        name for name in packages() if (lazy_homes(name) is None) == init_of(name).with_suffix(".pyi").exists()
    ] == []
