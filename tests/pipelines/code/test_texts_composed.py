"""However a text is put together: what it asks for where it is run counts, in a module and in a notebook."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.pipelines.code.excerpt import excerpt_of
from mainspring.pipelines.code.fingerprint import compare
from mainspring.pipelines.code.texts import marked_in
from tests.pipelines.code.test_texts import cell, given_back
from tests.pipelines.projects import Sources

FRAME = pd.DataFrame({"x": range(10)})
LATE = "LATE = 'x > @LIMIT'\n"
# Each asks for the constant `LIMIT` in a query of `f`.
QUERIES = {
    "an f-string with a constant": LATE + "def go(f): return f.query(f'x >= 0 and {LATE}')",
    "a sum with a constant": LATE + "def go(f): return f.query('x >= 0 and ' + LATE)",
    "a format of a constant": LATE + "def go(f): return f.query('({}) and x < 99'.format(LATE))",
    "a format on a constant": LATE + "def go(f): return f.query((LATE + ' and x < {}').format(99))",
    "a percent of a constant": LATE + "def go(f): return f.query('(%s)' % LATE)",
    "a percent of a number": "def go(f): return f.query('x > @LIMIT and x < %d' % 99)",
    "a percent of a dict": LATE + "def go(f): return f.query('%(late)s' % {'late': LATE})",
    "a template": "from string import Template\ndef go(f): return f.query(Template('x > @$n').substitute(n='LIMIT'))",
    "a constant of constants": LATE + "BOTH = f'x >= 0 and {LATE}'\ndef go(f): return f.query(BOTH)",
    "a list that is joined": "def go(f): return f.query(' and '.join(['x >= 0', 'x > @LIMIT']))",
    "a list that is joined, with a call": "def n(): return 'x > @LIMIT'\n"
    "def go(f): return f.query(' and '.join([n()]))",
    "a local list in an f-string": "def go(f):\n  c = ['x >= 0', 'x > @LIMIT']\n"
    "  return f.query(f\"x < 99 and {' and '.join(c)}\")",
    "a generator that is joined": "def go(f): return f.query(' and '.join(f'x > @{n}' for n in ('LIMIT',)))",
    "a map": "def go(f): return f.query(' and '.join(map(str, ('x > @LIMIT',))))",
    "a call in an f-string": "def rule(c): return f'{c} > @LIMIT'\n"
    "def go(f): return f.query(f\"x >= 0 and {rule('x')}\")",
    "a class in an f-string": "class Cuts: late = 'x > @LIMIT'\ndef go(f): return f.query(f'x >= 0 and {Cuts.late}')",
    "a nested class": "class A:\n  class B: late = 'x > @LIMIT'\ndef go(f): return f.query(A.B.late)",
    "a class that is changed": "class Cuts: late = 'x > 0'\nCuts.late = 'x > @LIMIT'\n"
    "def go(f): return f.query(Cuts.late)",
    "a dict in an f-string": "def go(f):\n  c = {'late': 'x > @LIMIT'}\n  return f.query(f\"x >= 0 and {c['late']}\")",
    "an argument": "def keep(f, extra): return f.query(f'x >= 0 and {extra}')\ndef go(f): return keep(f, 'x > @LIMIT')",
    "an argument by name": "def keep(f, *, rule): return f.query(rule)\ndef go(f): return keep(f, rule='x > @LIMIT')",
    "an argument through two": "def a(f, t): return f.query(t)\ndef b(f, t): return a(f, t)\n"
    "def go(f): return b(f, 'x > @LIMIT')",
    "an argument of a call that is printed": "def keep(f, t): return f.query(t)\n"
    "def go(f):\n  r = []\n  print(r.append(keep(f, 'x > @LIMIT')))\n  return r[0]",
    "arguments in a list": "def keep(f, *t): return f.query(' and '.join(t))\n"
    "def go(f): return keep(f, 'x >= 0', 'x > @LIMIT')",
    "parts of a name's mark": "def keep(f, c, b): return f.query(f'{c} > @{b}')\n"
    "def go(f): return keep(f, 'x', 'LIMIT')",
    "a mark that is added": "def go(f):\n  b = str('LIMIT')\n  return f.query('x > @' + b)",
    "a mark that replaces": "def go(f): return f.query('x > #LIMIT'.replace('#', '@'))",
    "a mark alone": "AT = str('@')\ndef go(f): return f.query('x > ' + AT + 'LIMIT')",
    "parts of a name": "LIMIT_LATE = LIMIT\ndef go(f, kind='LATE'): return f.query(f'x > @LIMIT_{kind}')",
    "a constant that a call makes": "def rule(c): return f'{c} > @LIMIT'\nRULE = rule('x')\n"
    "def go(f): return f.query(RULE)",
    "a dict that is filled": "RULES = {}\nRULES['late'] = 'x > @LIMIT'\ndef go(f): return f.query(RULES['late'])",
    "a dict that is updated": "RULES = {}\nRULES.update(late='x > @LIMIT')\ndef go(f): return f.query(RULES['late'])",
    "a dict that a function fills": "RULES = {}\ndef fill(t): RULES['late'] = t\nfill('x > @LIMIT')\n"
    "def go(f): return f.query(RULES['late'])",
    "a list that is appended to": "CONDS = []\nCONDS.append('x > @LIMIT')\n"
    "def go(f): return f.query(' and '.join(CONDS))",
    "a loop over a list that is appended to": "CONDS = []\nCONDS.append('x > @LIMIT')\n"
    "def go(f):\n  for c in CONDS: f = f.query(c)\n  return f",
    "a constant that is added to": "RULE = 'x >= 0'\nRULE += ' and x > @LIMIT'\ndef go(f): return f.query(RULE)",
    "a constant that is bound again": "RULE = 'x >= 0'\nif LIMIT: RULE = 'x > @LIMIT'\ndef go(f): return f.query(RULE)",
    "a constant that a function binds": "RULE = 'x >= 0'\ndef late():\n  global RULE\n  RULE = 'x > @LIMIT'\n"
    "def go(f):\n  late()\n  return f.query(RULE)",
    "deeply nested": "R = {'a': [({'b': [[['x > @LIMIT']]]},)]}\ndef go(f): return f.query(R['a'][0][0]['b'][0][0][0])",
    "a local that is bound twice": "def go(f, late=1):\n  r = 'x >= 0'\n  if late: r = 'x > @LIMIT'\n  return f.query(r)",
    "a local that an inner function binds": "def go(f):\n  r = 'x >= 0'\n  def late():\n    nonlocal r\n    r = 'x > @LIMIT'\n"
    "  late()\n  return f.query(r)",
    "a local of a function around": "def go(f):\n  r = 'x > @LIMIT'\n  return (lambda g: g.query(r))(f)",
    "a local of that name further out": "def go(f):\n  LIMIT_ = LIMIT = 0\n  return (lambda g: g.query('x > @LIMIT'))(f)",
    "a local of that name where the text is": "def keep(f, t): return f.query(t)\n"
    "def go(f):\n  LIMIT = 'x > @LIMIT'\n  return keep(f, LIMIT)",
    "a local that is a tuple's part": "def go(f):\n  a, b = 'x >= 0', 'x > @LIMIT'\n  return f.query(b)",
    "a conditional": LATE + "def go(f, late=True): return f.query(LATE if late else 'x > 0')",
    "a walrus": "def go(f): return f.query(r := 'x > @LIMIT')",
    "a closure": "def by(t):\n  def run(f): return f.query(t)\n  return run\nrun = by('x > @LIMIT')\n"
    "def go(f): return run(f)",
    "a partial": "from functools import partial\ndef run(t, f): return f.query(t)\nlate = partial(run, 'x > @LIMIT')\n"
    "def go(f): return late(f)",
    "an object": "class R:\n  def __init__(s, t): s.t = t\n  def of(s, f): return f.query(s.t)\n"
    "def go(f): return R('x > @LIMIT').of(f)",
    "a decorator": "def by(t):\n  def wrap(g):\n    def run(f): return f.query(t)\n    return run\n  return wrap\n"
    "@by('x > @LIMIT')\ndef go(f): ...",
    "a default of another": "def rule(t='x > @LIMIT'): return t\ndef go(f): return f.query(rule())",
    "a method that is handed on": "def go(f): return list(map(f.query, ['x > @LIMIT']))[0]",
    "a method by its name": "def go(f): return getattr(f, 'query')('x > @LIMIT')",
    "a caller of a method": "from operator import methodcaller\ndef go(f): return methodcaller('query', 'x > @LIMIT')(f)",
    "a method of a class": "import pandas as pd\nrun = pd.DataFrame.query\ndef go(f): return run(f, 'x > @LIMIT')",
    "a buffer": "import io\ndef go(f):\n  b = io.StringIO()\n  b.write('x > @LIMIT')\n  return f.query(b.getvalue())",
    "a strip that joins": "def go(f): return f.query('x > @LIM '.strip() + 'IT')",
    "a match": "def go(f, k=1):\n  match k:\n    case 1: r = 'x > @LIMIT'\n    case _: r = 'x'\n  return f.query(r)",
    "eval": "def go(f): return f[f.eval('x > {}'.format('@LIMIT'))]",
    "a method of one's own called error": "class Checks:\n  def __init__(s): s.rules = []\n"
    "  def error(s, t):\n    s.rules.append(t)\n    return s\n"
    "def go(f): return f.query(Checks().error('x > @LIMIT').rules[0])",
    "a warning of one's own": "class RangeWarning:\n  def __init__(s, t): s.t = t\n"
    "def go(f): return f.query(RangeWarning('x > @LIMIT').t)",
    "a name's parts on both sides": "LIMIT_LATE = LIMIT\ndef go(f):\n"
    "  return f.query(' and '.join(f'x > @{b}_{c}' for b, c in [('LIMIT', 'LATE')]))",
    "a name's part in the middle": "MAX_LATE_2 = LIMIT\ndef go(f, b='MAX', n=2): return f.query(f'x > @{b}_LATE_{n}')",
    "the name of an argument": "def above(f, **n): return f.query(' and '.join(f'{c} > @{b}' for b, c in n.items()))\n"
    "def go(f): return above(f, LIMIT='x')",
    "a partial of a method of a class": "from functools import partial\nimport pandas as pd\n"
    "late = partial(pd.DataFrame.query, expr='x > @LIMIT')\ndef go(f): return late(f)",
    "methods in a dict": "import pandas as pd\nHOW = {'query': pd.DataFrame.query}\n"
    "def go(f): return HOW['query'](f, 'x > @LIMIT')",
    "dedent": "from textwrap import dedent\ndef go(f): return f.query(dedent('''\n  x > @LIMIT'''))",
}
FLIGHTS = "import duckdb, polars as pl\nimport pandas as pd\nflights = pd.DataFrame({'n': [LIMIT, 2]})\n"
BASE = "BASE = 'select * from flights'\n"
# Each asks for the frame `flights` in SQL.
SQL = {
    "an f-string with a constant": BASE + "def go(): return duckdb.sql(f'select sum(n) from ({BASE})').fetchall()",
    "an f-string with a dict": "Q = {'base': 'select * from flights'}\n"
    "def go(): return duckdb.sql(f\"select sum(n) from ({Q['base']})\").fetchall()",
    "an f-string with a call": "def base(): return 'select * from flights'\n"
    "def go(): return duckdb.sql(f'select sum(n) from ({base()})').fetchall()",
    "a table's name": "def load(name): return duckdb.sql(f'select sum(n) from {name}').fetchall()\n"
    "def go(): return load('flights')",
    "a sum in Polars": BASE
    + "def go(): return pl.sql('with b as (' + BASE + ') select sum(n) as s from b', eager=True)['s'][0]",
    "a format": "def go(): return [duckdb.sql('select sum(n) from {}'.format(t)).fetchall() for t in ['flights']]",
    "a percent": "def go(): return [duckdb.sql('select sum(n) from %s' % t).fetchall() for t in ['flights']]",
    "a union": "def go():"
    " return duckdb.sql(' union all '.join(f'select sum(n) from {t}' for t in ('flights',))).fetchall()",
    "a table that is made of it": "def go():\n  con = duckdb.connect()\n"
    "  con.execute('CREATE TABLE flights AS SELECT * FROM flights; SELECT sum(n) FROM flights')\n  return con.fetchall()",
    "a table alone": "def go(): return duckdb.table('flights').sum('n').fetchall()",
    "a view alone": "def go(): return duckdb.view('flights').sum('n').fetchall()",
    "a second argument": "def go():"
    " return duckdb.sql('select 1 as n').query('t', 'select sum(f.n) from t, flights f').fetchall()",
    "a predicate": "def go(): return duckdb.sql('select 7 as n').filter('n in (select n from flights)').fetchall()",
    "a predicate that is a parameter": "def keep(r, t): return r.filter(t).fetchall()\n"
    "def go(): return keep(duckdb.sql('select 7 as n'), 'n in (select n from flights)')",
    "a projection": "def go(): return duckdb.sql('select 1').project('(select sum(n) from flights)').fetchall()",
    "a comment's sign in a text": "def go():"
    " return duckdb.sql(\"select sum(n) from (select '--' as k, n from flights)\").fetchall()",
    "a comment's beginning in a text": "def go():"
    " return duckdb.sql(\"select '/*', sum(n) from flights -- '*/\").fetchall()",
    "a CTE that is made later": "def go():\n  return duckdb.sql('with a as (select * from flights), flights as (select 1)"
    " select sum(n) from a').fetchall()",
    "a CTE in another statement": "def go():"
    " return duckdb.sql('with flights as (select 1) from flights; select sum(n) from flights').fetchall()",
    "a CTE in a subquery": "def go():"
    " return duckdb.sql('select sum(n) from (with flights as (select 1) from flights), flights').fetchall()",
    "a function's name in a text": "def go():"
    " return duckdb.sql(\"select 'trim(' as a, sum(n) from flights\").fetchall()",
    "a part of a name": "flights_late = flights\n"
    "def go(t='late'): return duckdb.sql(f'select sum(n) from flights_{t}').fetchall()",
    "with a parameter": "def go(): return duckdb.execute('select sum(n) from flights where n < ?', [99]).fetchall()",
    "a frame that Polars finds in a caller": "def run(): return pl.sql('select sum(n) as s from flights', eager=True)['s'][0]\n"
    "def go(): return run()",
}


def at(limit: int, text: str) -> str:
    return f"LIMIT = {limit}\n{text}\n"


def fingerprints(folder: Path, *texts: str) -> list[Any]:
    project, found = Sources(folder), []
    for text in texts:
        project.write(steps=text)
        found.append(project.of())
    return found


@pytest.mark.parametrize("name", QUERIES)
def test_what_a_composed_query_asks_for_counts_in_a_module(name: str, tmp_path: Path) -> None:
    old, new = fingerprints(tmp_path, at(1, QUERIES[name]), at(6, QUERIES[name]))
    assert compare(old, new)


@pytest.mark.parametrize("name", QUERIES)
def test_what_a_composed_query_asks_for_counts_in_a_notebook_and_is_in_its_excerpt(name: str, tmp_path: Path) -> None:
    fingerprinter = Sources(tmp_path).fingerprinter()
    spaces = [cell(at(limit, QUERIES[name]), f"<cell {name} {limit}>") for limit in (1, 6)]
    old, new = (fingerprinter.of_function(space["go"]) for space in spaces)
    assert not old.reusable or compare(old, new)
    excerpt = excerpt_of(spaces[0]["go"], fingerprinter.live_walk(spaces[0]["go"]).asked)
    results = [list(space["go"](FRAME)["x"]) for space in spaces]
    assert results[0] != results[1]
    assert excerpt.problem or list(given_back(excerpt)(FRAME)["x"]) == results[0]


@pytest.mark.parametrize("name", SQL)
def test_what_composed_sql_asks_for_counts_in_a_module(name: str, tmp_path: Path) -> None:
    text = FLIGHTS + SQL[name]
    old, new = fingerprints(tmp_path, at(1, text), at(6, text))
    assert compare(old, new)


@pytest.mark.parametrize("name", SQL)
def test_a_notebook_whose_composed_sql_asks_for_a_frame_is_not_reused(name: str, tmp_path: Path) -> None:
    space = cell(at(7, FLIGHTS + SQL[name]), f"<cell {name}>")
    fingerprinter = Sources(tmp_path).fingerprinter()
    assert [note for note in fingerprinter.of_function(space["go"]).unresolved if "`__main__.flights" in note]
    excerpt = excerpt_of(space["go"], fingerprinter.live_walk(space["go"]).asked)
    assert excerpt.problem.startswith("It uses `flights")
    exec("found = str(go())", space)  # Polars looks into the frames that called
    assert "9" in space["found"] or "7" in space["found"]


NAMES = ("LIM_A", "LIM_B", "other")
PIECES = ("x > @LIM_A", "@LIM_B", "y", "@", "LIM_A", "@LIM_", "A", "B", "@other", " ", "other")


@st.composite
def compositions(draw: st.DrawFn) -> tuple[str, str]:
    """Statements and an expression that is a text, put together in random ways."""
    lines: list[str] = []

    def text(depth: int) -> str:
        ways = "literal constant local sum fstring format percent join call argument dict filled either strip".split()
        way = draw(st.sampled_from(ways[:1] if depth > 1 else ways))
        inner = "" if way == "literal" else text(depth + 1)
        other = text(depth + 1) if way in ("sum", "argument") else ""
        name = f"v{len(lines)}"
        if way == "literal":
            return repr(draw(st.sampled_from(PIECES)))
        if way in ("constant", "filled", "call", "argument", "dict"):
            lines.append(
                {
                    "constant": f"{name} = {inner}",
                    "filled": f"{name} = []\n{name}.append({inner})",
                    "call": f"def {name}(): return {inner}",
                    "argument": f"def {name}(t): return t + {other}",
                    "dict": f"{name} = {{'k': [{inner}]}}",
                }[way]
            )
        return {
            "constant": name,
            "filled": f"{name}[0]",
            "call": f"{name}()",
            "argument": f"{name}({inner})",
            "dict": f"{name}['k'][0]",
            "local": f"(lambda {name}: {name})({inner})",
            "sum": f"({inner} + {other})",
            "fstring": f"('' f'{{{inner}}}')" if "'" not in inner else f"str({inner})",
            "format": f"'{{}} {{}}'.format({inner}, 'A')",
            "percent": f"('%s' % {inner})",
            "join": f"''.join([{inner}, 'B'])",
            "either": f"({inner} if len('a') else 'A')",
            "strip": f"{inner}.strip()",
        }[way]

    expression = text(0)
    return "\n".join(lines), expression


class Asked:
    """A frame that keeps the text that it is asked for."""

    def query(self, text: str) -> str:
        return text


@settings(max_examples=40)
@given(compositions(), st.booleans())
def test_the_names_that_a_text_has_when_it_runs_are_reached(composition: tuple[str, str], is_local: bool) -> None:
    lines, expression = composition
    body = f"rule = {expression}\n    return f.query(rule)" if is_local else f"return f.query({expression})"
    text = f"{lines}\ndef go(f):\n    {body}\n"
    space: dict[str, Any] = {}
    exec(text, space)
    wanted = marked_in(space["go"](Asked())) & set(NAMES)
    with tempfile.TemporaryDirectory() as folder:
        values = "".join(f"{name} = 1\n" for name in NAMES)
        (found,) = fingerprints(Path(folder), values + text)
    assert wanted <= {name for name in NAMES if f"constant steps.{name}" in found.parts}
