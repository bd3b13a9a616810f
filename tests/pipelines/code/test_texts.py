"""Names in texts that a library looks up where it is called: in a frame's query, in SQL, in a formula."""

from __future__ import annotations

import linecache
from pathlib import Path
from types import FunctionType
from typing import Any

import pandas as pd
import pytest

from mainspring.pipelines.code.excerpt import Excerpt, excerpt_of
from mainspring.pipelines.code.fingerprint import compare
from tests.pipelines.projects import Sources

ASKED: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "an imported constant in a query": (
        {"steps": "from lims import LIMIT\ndef go(f): return f.query('x > @LIMIT')", "lims": "LIMIT = 1"},
        {"lims": "LIMIT = 6"},
        "constant lims.LIMIT changed",
    ),
    "an attribute of a module": (
        {"steps": "import consts\ndef go(f): return f.query('x > @consts.LIM')", "consts": "LIM = 1\nOTHER = 1"},
        {"consts": "LIM = 6\nOTHER = 1"},
        "constant consts.LIM changed",
    ),
    "a function in eval": (
        {"steps": "def shift(x): return x + 1\ndef go(f): return f.eval('@shift(x)')"},
        {"steps": "def shift(x): return x + 2\ndef go(f): return f.eval('@shift(x)')"},
        "code steps.shift changed",
    ),
    "a part of an f-string, beside another": (
        {"steps": "LIMIT = 1\ndef go(f, c): return f.query(f'{c} > 1 and ' f'{c} < @LIMIT')"},
        {"steps": "LIMIT = 6\ndef go(f, c): return f.query(f'{c} > 1 and ' f'{c} < @LIMIT')"},
        "constant steps.LIMIT changed",
    ),
    "an import in the function": (
        {"steps": "def go(f):\n  from lims import LIMIT\n  return f.query('x > @LIMIT')", "lims": "LIMIT = 1"},
        {"lims": "LIMIT = 6"},
        "constant lims.LIMIT changed",
    ),
    "a constant text of another module, asked where it is used": (
        {
            "steps": "from texts import RULES\nLIMIT = 1\ndef go(f): return [f.query(r) for r in RULES]",
            "texts": "RULES = ['x > @LIMIT']",
        },
        {"steps": "from texts import RULES\nLIMIT = 6\ndef go(f): return [f.query(r) for r in RULES]"},
        "constant steps.LIMIT changed",
    ),
    "unmarked in pandas.eval, in a constant": (
        {"steps": "import pandas as pd\nRULE = 'LIMIT + 1'\nLIMIT = 1\ndef go(): return pd.eval(RULE)"},
        {"steps": "import pandas as pd\nRULE = 'LIMIT + 1'\nLIMIT = 6\ndef go(): return pd.eval(RULE)"},
        "constant steps.LIMIT changed",
    ),
    "a function that makes the table of an SQL text": (
        {"steps": "import duckdb\nT = {'v': [1]}\ndef go(): return duckdb.sql('select sum(v) from T').fetchall()"},
        {"steps": "import duckdb\nT = {'v': [2]}\ndef go(): return duckdb.sql('select sum(v) from T').fetchall()"},
        "constant steps.T changed",
    ),
    "tables by their names alone": (
        {"steps": "import polars as pl\nA = [1]\ndef go(): return [pl.sql(f'from {t}') for t in ('A',)]"},
        {"steps": "import polars as pl\nA = [2]\ndef go(): return [pl.sql(f'from {t}') for t in ('A',)]"},
        "constant steps.A changed",
    ),
    "SQL that another module runs": (
        {
            "steps": "from engine import run\nA = [1]\ndef go(): return run('SELECT v FROM A')",
            "engine": "import polars as pl\ndef run(text): return pl.sql(text)",
        },
        {"steps": "from engine import run\nA = [2]\ndef go(): return run('SELECT v FROM A')"},
        "constant steps.A changed",
    ),
    "a text that a local holds, put together": (
        {"steps": "LIMIT = 1\ndef go(f):\n  rule = 'x > 0'\n  rule += ' and x > @LIMIT'\n  return f.query(rule)"},
        {"steps": "LIMIT = 6\ndef go(f):\n  rule = 'x > 0'\n  rule += ' and x > @LIMIT'\n  return f.query(rule)"},
        "constant steps.LIMIT changed",
    ),
    "a text that a function of another module is given": (
        {
            "steps": "from rules import keep\ndef go(f): return keep(f, 'x > @LIMIT')",
            "rules": "LIMIT = 1\ndef keep(f, text): return f.query(text)",
        },
        {"rules": "LIMIT = 6\ndef keep(f, text): return f.query(text)"},
        "constant rules.LIMIT changed",
    ),
    "a table by a constant's name, of a connection": (
        {"steps": "T = 'A'\nA = [1]\ndef go(con): return con.execute(f'select v from b, {T}')"},
        {"steps": "T = 'A'\nA = [2]\ndef go(con): return con.execute(f'select v from b, {T}')"},
        "constant steps.A changed",
    ),
    "a default": (
        {"steps": "LIMIT = 1\ndef go(f, rule='x > @LIMIT'): return f.query(rule)"},
        {"steps": "LIMIT = 6\ndef go(f, rule='x > @LIMIT'): return f.query(rule)"},
        "constant steps.LIMIT changed",
    ),
    "an SQL function that is handed on": (
        {"steps": "import duckdb\nA = [1]\nQ = ['from A']\ndef go(): return list(map(duckdb.sql, Q))"},
        {"steps": "import duckdb\nA = [2]\nQ = ['from A']\ndef go(): return list(map(duckdb.sql, Q))"},
        "constant steps.A changed",
    ),
    "a text of a class": (
        {"steps": "LIMIT = 1\nclass Rules: cond = 'x > @LIMIT'\ndef go(f): return f.query(Rules.cond)"},
        {"steps": "LIMIT = 6\nclass Rules: cond = 'x > @LIMIT'\ndef go(f): return f.query(Rules.cond)"},
        "constant steps.LIMIT changed",
    ),
    "a text that a function returns": (
        {"steps": "LIMIT = 1\ndef rule(): return 'x > @LIMIT'\ndef go(f): return f.query(rule())"},
        {"steps": "LIMIT = 6\ndef rule(): return 'x > @LIMIT'\ndef go(f): return f.query(rule())"},
        "constant steps.LIMIT changed",
    ),
    "texts that are joined": (
        {"steps": "LIMIT = 1\ndef go(f):\n  r = ['x > @LIMIT']\n  r.append('x < 9')\n  return f.query(' & '.join(r))"},
        {"steps": "LIMIT = 6\ndef go(f):\n  r = ['x > @LIMIT']\n  r.append('x < 9')\n  return f.query(' & '.join(r))"},
        "constant steps.LIMIT changed",
    ),
    "a text that an object keeps": (
        {
            "steps": "LIMIT = 1\nclass R:\n  def __init__(s): s.t = 'x > @LIMIT'\n"
            "  def of(s, f): return f.query(s.t)\ndef go(f): return R().of(f)"
        },
        {
            "steps": "LIMIT = 6\nclass R:\n  def __init__(s): s.t = 'x > @LIMIT'\n"
            "  def of(s, f): return f.query(s.t)\ndef go(f): return R().of(f)"
        },
        "constant steps.LIMIT changed",
    ),
    "a constant of constants of other modules": (
        {
            "steps": "import rules\ndef go(f): return f.query(rules.BOTH)\nLIMIT = 1",
            "rules": "from late import LATE as RULE\nBOTH = f'x > 0 and {RULE}'",
            "late": "LATE = 'x > @LIMIT'",
        },
        {"steps": "import rules\ndef go(f): return f.query(rules.BOTH)\nLIMIT = 6"},
        "constant steps.LIMIT changed",
    ),
    "a method that another module runs": (
        {
            "steps": "from engine import run\nLIMIT = 1\ndef go(f): return run(f, 'x > @LIMIT')",
            "engine": "import pandas as pd\nrun = pd.DataFrame.query",
        },
        {"steps": "from engine import run\nLIMIT = 6\ndef go(f): return run(f, 'x > @LIMIT')"},
        "constant steps.LIMIT changed",
    ),
    "a formula": (
        {"steps": "def scale(x): return x\ndef go(ols, f): return ols('y ~ scale(x)', f)"},
        {"steps": "def scale(x): return -x\ndef go(ols, f): return ols('y ~ scale(x)', f)"},
        "code steps.scale changed",
    ),
}
NOT_ASKED = {
    "a docstring": 'def go(f):\n  """Select x > @OTHER from OTHER."""\n  return f.query("x > 1")',
    "a column": "def go(f): return f.query('OTHER > 1')['OTHER']",
    "a parameter of that name": "def go(OTHER): return duckdb.sql('select sum(v) from OTHER')",
    "a text that says something": "def go(f): return 'the OTHER of x'",
    "another text of a function that queries": "def go(f): print('@OTHER, from OTHER'); return f.query('x > 1')",
    "a column in SQL": "def go(con): return con.execute('select OTHER from t where OTHER > 3 order by OTHER')",
    "a column that SQL takes something from": "def go(con): return con.sql('select extract(day from OTHER) from t')",
    "a table that SQL makes itself": "def go(con): return con.sql('with OTHER as (select 1) select * from OTHER')",
    "a value in SQL": "def go(con): return con.sql(\"select * from t where a = 'from OTHER'\")",
    "an address": "def go(f): return f.query('x == \"me@OTHER.example\"')",
    "prose that begins as SQL": "def go(n): print(f'From {n} rows, from OTHER, on'); print('Select from OTHER')",
    "an exception's text": "def go(n): raise ValueError('Select one from OTHER')",
    "a method of another kind": "def go(net): return net.evaluate('from OTHER')",
    "a function of its own that is called so": "def execute(t): return t\ndef go(): return execute('from OTHER')",
    "no text at all": "TITLE = 'Delays of OTHER, scored by delays@OTHER'\ndef go(net): return net.eval(), TITLE",
    "what a told text is put together of": "LATE = 'x > 1'\nBOTH = f'{LATE} and y > 2'\n"
    "def go(f, a):\n  r = f'({BOTH})' if a else '%s or %s' % (LATE, ' and '.join(('x', LATE)))\n  return {'OTHER': f.query(r)}",
    "a function of that name in SQL that isn't told": "def go(con, t): return con.execute(f'select OTHER2 from {t}'), 'go'",
    "an assertion's text": "def go(f, r):\n  assert r, '@OTHER'\n  return f.query(r)",
    "a CTE with columns": "def go(con): return con.sql('with OTHER (a, b) as materialized (select 1) select a from OTHER, t')",
    "a recursive CTE": "def go(con): return con.sql('with recursive OTHER as (select 1 union from OTHER) from OTHER')",
    "half a character": "HALF = '\\ud800'\ndef go(f): return f.query('x > 1'), f.query(HALF)",
    "a comment in SQL": "def go(con): return con.sql('select 1 -- from OTHER\\n/* from OTHER */')",
    "a value of a query with parameters": "def go(con, d): return con.execute('select a from t where b = ?', [d]), 'OTHER'",
    "a condition of Polars": "import polars as pl\n"
    "def go(f, m): return f.filter(pl.col('OTHER') > 1).filter(pl.col('a').is_in(m)), 'OTHER'",
    "a table given by name": "import mainspring as ms\n@ms.sql('SELECT v FROM OTHER')\ndef go(t): ...",
}


@pytest.mark.parametrize("name", ASKED)
def test_a_change_of_what_a_text_asks_for_changes_the_fingerprint(name: str, tmp_path: Path) -> None:
    files, edit, line = ASKED[name]
    project = Sources(tmp_path, **files)
    old = project.of()
    project.write(**edit)
    assert compare(old, project.of()) == [line]


@pytest.mark.parametrize("name", NOT_ASKED)
def test_what_no_text_asks_for_does_not_count(name: str, tmp_path: Path) -> None:
    text = f"import duckdb\n{NOT_ASKED[name]}\n"
    project = Sources(tmp_path, steps=text + "OTHER = 1")
    old = project.of()
    project.write(steps=text + "OTHER = 2")
    assert compare(old, project.of()) == []


BEFORE = """
import duckdb
import pandas as pd
import polars as pl

LIMIT = 3
RULE = "x > @LIMIT"
D = pl.DataFrame({"v": [1, 2]})
"""
CELLS = {
    "a query": "def go(f):\n    return len(f.query('x > @LIMIT'))",
    "a query's text in a constant": "def go(f):\n    return len(f.query(RULE))",
    "a query in what it calls": "def keep(f, t):\n    return f.query(t)\ndef go(f):\n    return len(keep(f, RULE))",
}
FRAMES = {
    "DuckDB": "def go(f):\n    return duckdb.sql('select sum(v) from D').fetchall()",
    "Polars": "def go(f):\n    return pl.sql('select sum(v) from D').collect().item()",
}


def cell(text: str, name: str) -> dict[str, Any]:
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), space)
    return space


def given_back(excerpt: Excerpt) -> Any:
    """The function that nothing but an excerpt's text gives."""
    assert excerpt.problem == ""
    space: dict[str, Any] = {"__name__": excerpt.module}
    exec(compile(excerpt.text, excerpt.module, "exec"), space)
    return space[excerpt.name]


@pytest.mark.parametrize("name", CELLS)
def test_what_a_text_in_a_notebook_asks_for_counts_and_is_in_the_excerpt(name: str, tmp_path: Path) -> None:
    fingerprinter = Sources(tmp_path).fingerprinter()
    functions = [cell(BEFORE.replace("3", limit) + CELLS[name], f"<cell {name} {limit}>")["go"] for limit in ("3", "1")]
    old, new = map(fingerprinter.of_function, functions)
    assert old.reusable
    assert compare(old, new) == ["value __main__.LIMIT changed"]
    excerpt = excerpt_of(functions[0], fingerprinter.live_walk(functions[0]).asked)
    assert given_back(excerpt)(pd.DataFrame({"x": [2, 4, 6]})) == 2


@pytest.mark.parametrize("name", FRAMES)
def test_a_notebooks_frame_that_sql_asks_for_is_neither_reused_nor_in_an_excerpt(name: str, tmp_path: Path) -> None:
    function = cell(BEFORE + FRAMES[name], f"<cell {name}>")["go"]
    assert isinstance(function, FunctionType)
    fingerprinter = Sources(tmp_path).fingerprinter()
    assert [note for note in fingerprinter.of_function(function).unresolved if "`__main__.D`" in note]
    assert (
        excerpt_of(function, fingerprinter.live_walk(function).asked).problem
        == "It uses `D`, a DataFrame, which its source doesn't hold."
    )


PROSE = {
    "what is printed": "import features, load, train\ndef go(n): print(f'From {n} rows of load, on to train and report'); "
    "print('Create features', n); print('Merge train, load'); print('With features:', load.ROWS, features.F, train.T)",
    "an exception": "import features, load\ndef go(): raise ValueError('Describe load, from features', load.ROWS, features.F)",
    "an evaluation": "import features, load\ndef go(net): return net.evaluate('load'), 'from load', load.ROWS, features.F",
    "a mode and an address": "import features, load\nTITLE = 'Delays, load of features, me@load.example, delays@features'\n"
    "def go(net): net.eval(); return TITLE, net.query(), load.ROWS, features.F",
    "a module's name alone": "import load\ndef go(f): return f.query('x > @load'), f.sql('select x from load'), load.ROWS",
}


@pytest.mark.parametrize("name", PROSE)
def test_prose_that_names_modules_uses_nothing_of_them(name: str, tmp_path: Path) -> None:
    modules = {"features": "F = 1\nOTHER = 1", "load": "ROWS = 1\nOTHER = 1", "train": "T = 1\nOTHER = 1"}
    project = Sources(tmp_path, steps=PROSE[name], **modules)
    old = project.of()
    project.write(**{module: text.replace("OTHER = 1", "OTHER = 2") for module, text in modules.items()})
    assert old.reusable
    assert compare(old, project.of()) == []


NOTEBOOK = """
import pandas as pd

df = model = train = test = x = pd.DataFrame({"v": [1, 2]})
def evaluate(text):
    return len(text)
"""
WORDS = {
    "what is printed": "def go(acc=1):\n    print('With model and test:', acc)\n    print(f'Select from {acc} of train')",
    "columns in SQL": "def go(con=None):\n    return con and con.execute('select count(x) from t where x > 3')",
    "its own function": "def go():\n    return evaluate('from df, with model')",
    "a method": "def go(net=None):\n    return net and (net.evaluate('from df'), net.eval('x > model'), net.fit('train'))",
    "an alias": "def go():\n    return 'scored by delays@model', 'me@df.example'",
}


@pytest.mark.parametrize("name", WORDS)
def test_words_in_a_notebook_that_are_called_as_its_frames_use_nothing(name: str, tmp_path: Path) -> None:
    function = cell(NOTEBOOK + WORDS[name], f"<cell words {name}>")["go"]
    fingerprinter = Sources(tmp_path).fingerprinter()
    assert not fingerprinter.of_function(function).unresolved
    assert excerpt_of(function, fingerprinter.live_walk(function).asked).problem == ""
