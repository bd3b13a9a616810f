"""Which module-level statements look like reading, for modules whose import nobody watched.

A guess from the source, on the safe side: what is called by a name that readers have, or is given a path. What functions
of the project do counts where importing calls them. Reads of one named variable can be made parts of a fingerprint;
everything else makes a result not reusable.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from mainspring.pipelines.code.facts import Suspect
from mainspring.pipelines.code.purity import PURE_CALLS, called, is_pure_decorator, is_step_decorator
from mainspring.pipelines.code.scopes import chain_of
from mainspring.pipelines.code.texts import is_sql

Canonical = Callable[[ast.expr], str]

ENVIRON = "os.environ"
# Sets and prefixes instead of patterns, whose compilation would cost more than the rest of a small analysis.
_READERS = frozenset(
    """open exec eval read readline readlines load loadtxt load_all fromfile genfromtxt memmap imread from_file from_path
    from_csv from_json_file from_yaml from_toml from_disk from_url from_uri from_pretrained listdir scandir glob iglob rglob
    iterdir urlopen urlretrieve Popen popen system check_output check_call getoutput connect execute sql query dotenv_values
    fileConfig parse_file initialize""".split()
)
_READING_STARTS, _READING_ENDS = ("read_", "scan_", "load_", "fetch", "download", "from_env"), ("_load", "_load_all")
_READING_HOMES = ("subprocess.", "requests.", "httpx.", "urllib.request.", "socket.", "sqlite3.", "boto3.", "os.exec",
                  "os.spawn", "runpy.")  # fmt: skip
_HOME = frozenset({"expanduser", "home"})
_DATA_FILES = frozenset(
    """yaml yml json jsonl ndjson toml ini cfg conf env csv tsv txt parquet feather arrow ipc orc avro xls xlsx xml pkl pickle
    joblib npy npz h5 hdf5 pt pth onnx safetensors skops db sqlite sqlite3 duckdb sql gz zip zst""".split()
)
# Given a path, these only name, make or write something.
_NOT_READING = frozenset(
    """str repr fspath print mkdir makedirs touch basicConfig append insert add remove setdefault update format join exists
    is_file is_dir dump save getLogger filterwarnings compile match endswith startswith split splitext replace relative_to
    suffix loads dumps debug info warning error rename unlink file env use""".split()
)
_NOT_READING_STARTS, _NOT_READING_ENDS = ("write_", "to_", "sink_", "with_"), "Handler"
_SHOWN_LENGTH = 60


class Suspects(ast.NodeVisitor):
    """What one module-level statement reads by itself (`reads`), by its functions (`bodies`), and which names it calls.

    `handles` are names that stand for an open file or a declared one; what is done with them is judged at their source.
    """

    def __init__(self, canonical: Canonical, handles: Iterable[str], filename: str) -> None:
        self.reads: set[Suspect] = set()
        self.bodies: set[Suspect] = set()
        self.calls: set[str] = set()
        self._canonical = canonical
        self._handles = frozenset(handles)
        self._filename = filename
        self._depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        defaults = [*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]
        for outside in [*node.decorator_list, *defaults]:
            self.visit(outside)
        for decorator in node.decorator_list:
            self._note_call(called(decorator))
        # A decorator of this module may call what it decorates; those of libraries register or wrap it.
        is_called = any(
            not self._canonical(called(each)) and not is_pure_decorator(each, self._canonical)
            for each in node.decorator_list
        )
        self._inside(node.body, 0 if is_called else 1)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._inside([node.body], 1)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for outside in [*node.decorator_list, *node.bases, *(word.value for word in node.keywords)]:
            self.visit(outside)
        for decorator in node.decorator_list:
            self._note_call(called(decorator))
        self._inside(node.body, 0)

    def visit_Call(self, node: ast.Call) -> None:
        variable = self._variable(node)
        if variable is not None:
            self._suspect(node, variable)
            for each in [*node.args, *(word.value for word in node.keywords)]:
                self.visit(each)
            return
        if self._reads(node):
            self._suspect(node)
        self._note_call(node.func)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._canonical(node.value) != ENVIRON:
            self.generic_visit(node)
            return
        if isinstance(node.ctx, ast.Load):
            self._suspect(node, _text(node.slice))
        self.visit(node.slice)

    def visit_Compare(self, node: ast.Compare) -> None:
        asks = len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn)
        if asks and self._canonical(node.comparators[0]) == ENVIRON:
            self._suspect(node, _text(node.left))
            self.visit(node.left)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._whole_environment(node)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._whole_environment(node)

    def _whole_environment(self, node: ast.expr) -> None:
        if self._canonical(node) == ENVIRON:
            self._suspect(node)

    def _inside(self, nodes: Iterable[ast.AST], deeper: int) -> None:
        self._depth += deeper
        for node in nodes:
            self.visit(node)
        self._depth -= deeper

    def _suspect(self, node: ast.expr, variable: str = "") -> None:
        shown = ast.unparse(node)
        if len(shown) > _SHOWN_LENGTH:
            shown = shown[: _SHOWN_LENGTH - 1] + "…"
        text = f"env:{variable}" if variable else f"{self._filename}:{node.lineno}: {' '.join(shown.split())}"
        chain = chain_of(node.func) if isinstance(node, ast.Call) and not variable else []
        (self.bodies if self._depth else self.reads).add(Suspect(text, ".".join(chain)))

    def _note_call(self, function: ast.expr) -> None:
        chain = chain_of(function)
        name = self._canonical(function)
        if chain and not self._depth and not (name in PURE_CALLS or is_step_decorator(name)):
            self.calls.add(".".join(chain))

    def _variable(self, node: ast.Call) -> str | None:
        """The variable that a call reads, `""` if it can't be told; None if it is no such call."""
        name = self._canonical(node.func)
        if name == "os.getenv" or name in {f"{ENVIRON}.{way}" for way in ("get", "pop", "setdefault")}:
            return _text(node.args[0]) if node.args else ""
        if name in {f"{ENVIRON}.update", f"{ENVIRON}.clear"}:
            return None
        is_home = _last(node.func) in _HOME and (name.startswith(("os.path.", "pathlib.")) or not name)
        return "HOME" if is_home else None

    def _reads(self, node: ast.Call) -> bool:
        name, last = self._canonical(node.func), _last(node.func)
        if name in PURE_CALLS or self._is_judged(node):
            return False
        if last == "query" and _is_text_but_no_sql(node.args):
            return False  # of a frame
        if name.startswith(_READING_HOMES) or _is_reader(last):
            return name != "mainspring.file"
        given = [*node.args, *(word.value for word in node.keywords)]
        return not _only_names(last) and not name.startswith("sys.path.") and any(map(_is_path, given))

    def _is_judged(self, node: ast.Call) -> bool:
        """Whether what is read is declared, or an open file, whose opening is judged."""
        parts: list[ast.expr] = [*node.args, *(word.value for word in node.keywords)]
        if isinstance(node.func, ast.Attribute):
            parts.append(node.func.value)
        return any(
            (isinstance(inner, ast.Name) and inner.id in self._handles)
            or (isinstance(inner, ast.Call) and self._canonical(inner.func) == "mainspring.file")
            for part in parts
            for inner in ast.walk(part)
        )


def handles_in(statements: Iterable[ast.stmt], canonical: Canonical) -> set[str]:
    """The names at the top of a module that stand for open files, or for declared ones."""
    names: set[str] = set()
    for node in [inner for statement in statements for inner in ast.walk(statement)]:
        if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            names.add(node.optional_vars.id)
        elif isinstance(node, ast.Assign) and _declares(node.value, canonical):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def _declares(value: ast.expr, canonical: Canonical) -> bool:
    inner = value
    while isinstance(inner, ast.BinOp):
        inner = inner.left
    return isinstance(inner, ast.Call) and canonical(inner.func) == "mainspring.file"


def _is_reader(name: str) -> bool:
    return name in _READERS or name.startswith(_READING_STARTS) or name.endswith(_READING_ENDS)


def _only_names(name: str) -> bool:
    return name in _NOT_READING or name.startswith(_NOT_READING_STARTS) or name.endswith(_NOT_READING_ENDS)


def _is_path(node: ast.expr) -> bool:
    """Whether an argument speaks of a file: the module's own place, or a name with a data file's suffix."""
    return any(
        (isinstance(inner, ast.Name) and inner.id == "__file__")
        or (isinstance(inner, ast.Constant) and isinstance(inner.value, str) and _is_data_file(inner.value))
        for inner in ast.walk(node)
    )


def _is_data_file(text: str) -> bool:
    return "." in text and "\n" not in text and text.rpartition(".")[2] in _DATA_FILES


def _is_text_but_no_sql(given: list[ast.expr]) -> bool:
    texts = [each.value for each in ast.walk(given[0]) if isinstance(each, ast.Constant)] if given else []
    return bool(texts) and all(isinstance(each, str) and not is_sql(each) for each in texts[:1])


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
