"""Which statements only make an object, and which classes only keep what their objects are given."""

from __future__ import annotations

import pytest

from mainspring.pipelines.code.source import analyse


@pytest.mark.parametrize(
    ("statement", "made"),
    [
        ("C = Cfg()", "Cfg"), ("C: Cfg = conf.Cfg(1, n=[A])", "conf.Cfg"), ("A = B = Cfg()", "Cfg"), ("C.c = Cfg()", ""),
        ("C = Cfg(Cfg)", ""), ("C = Cfg().v", ""), ("C = Cfg(lambda: Cfg.v)", ""), ("Cfg()", ""), ("A, B = Cfg()", ""),
        ("C = conf.Cfg(conf)", ""), ("C = conf.Cfg(conf.x)", ""), ("__getattr__ = Cfg()", ""), ("C = [Cfg()]", ""),
        ("C = Cfg()()", ""),
    ],
)  # fmt: skip
def test_a_statement_only_makes_an_object(statement: str, made: str) -> None:
    assert [unit.makes for unit in analyse(statement, "m").units] == [made]


@pytest.mark.parametrize(
    ("body", "keeps"),
    [
        ("pass", True), ("'''Text.'''\n n: int = 1\n K = (1, 2)\n def f(self): return open('x')", True),
        ("def __init__(self, n, *a, k=1, **w):\n  'Text.'\n  self.n: int = n\n  self.a = self.b = [a, {'k': k}, w]", True),
        ("def __init__(self, n):\n  self.n = n + 1", False), ("def __init__(self):\n  self.f()", False),
        ("def __init__(self):\n  self.me = self", False), ("def __init__(self):\n  self.n = N", False),
        ("def __init__(self):\n  self.n[0] = 1", False), ("def __init__(self, other):\n  other.n = 1", False),
        ("n = 1\n def __init__(self):\n  self.n = 1", True), ("def n(self): ...\n def __init__(self):\n  self.n = 1", False),
        ("def __init__(self):\n  yield self", False), ("def __init__(self):\n  for self.n in []: pass", False),
        ("def __init__(self):\n  del self.n", False), ("def __init__(*all):\n  pass", False),
        ("def __new__(cls): ...", False), ("def __post_init__(self): ...", False), ("__init__ = f", False),
        ("n = N", False), ("n = field()", False), ("def __setattr__(self, name, value): ...", False),
        ("if N:\n  def __init__(self): ALL.append(self)", False), ("from m import __init__", False),
        ("def __init__(self): ...\n def __init__(self): ALL.append(self)", False),
        ("async def __init__(self): ...", False), ("class __init__: ...", False),
    ],
)  # fmt: skip
def test_a_class_only_keeps_what_its_objects_are_given(body: str, keeps: bool) -> None:
    assert [unit.keeps for unit in analyse(f"class C:\n {body}", "m").units] == [keeps]
    head = "from dataclasses import dataclass\nfrom functools import total_ordering\n"
    for line, may in {"@dataclass\nclass C": True, "class C(B)": False, "class C(metaclass=M)": False,
                      "@total_ordering\nclass C": False}.items():  # fmt: skip
        assert [unit.keeps for unit in analyse(f"{head}{line}:\n {body}", "m").units] == [keeps and may]
