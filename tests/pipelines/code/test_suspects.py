"""Which statements look like reading, where nobody watched the import."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.pipelines.code.closure import import_suspects
from tests.pipelines.projects import Sources

LOOKS_LIKE_READING = [
    "T = open('x')",
    "with open('x.json') as f:\n    T = __import__('json').load(f)",
    "from pathlib import Path\nT = Path('x').read_text()",
    "import polars as pl\nT = pl.scan_parquet('x')",
    "from polars import read_csv as get\nT = get('x.csv')",
    "import yaml\nT = yaml.safe_load(open('x'))",
    "exec(text)",
    "import subprocess\nT = subprocess.run(['git'])",
    "import requests\nT = requests.get('https://example.org')",
    "from settings import Settings\nT = Settings('conf.yaml')",
    "import lib\nT = lib.thing(__file__)",
    "import os\nT = dict(os.environ)",
    "import os\nT = {**os.environ}",
    "import os\nT = os.environ[name]",
    "class Conf:\n    text = open('x').read()",
    "def f(x=open('x')): pass",
    "T = [open(name) for name in 'ab']",
    "if True:\n    T = open('x')",
    "def load():\n    return open('x').read()\nT = load()",
    "def outer():\n    return inner()\ndef inner():\n    return open('x')\nT = [outer()]",
    "class Conf:\n    def __init__(self):\n        self.text = open('x').read()\nT = Conf()",
    "def now(f):\n    return f()\n@now\ndef T():\n    return open('x').read()",
    "from a import load\nT = load()",
    "import a\nT = a.load()",
    "import mainspring as ms\nT = ms.file('x').read_text() + open('y').read()",
    "import mainspring as ms\n@ms.step\ndef get():\n    return open('x').read()\nT = get()",
    "import mainspring as ms\n@ms.pipeline\ndef p():\n    return open('x').read()\np.run()",
    "import duckdb\nT = duckdb.connect('x').query('from y')",
    "T = con.query('SELECT a FROM b')",
    "from missing import load\nT = load()",
]
LOOKS_HARMLESS = [
    "T = 3",
    "import re, logging\nT = re.compile('x.json')\nL = logging.getLogger('a.csv')",
    "from pathlib import Path\nT = Path(__file__).parent / 'x.json'",
    "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path(__file__).parent))",
    "import json\nT = json.loads('[1]')",
    "from pathlib import Path\nPath('out.d').mkdir(exist_ok=True)",
    "def load():\n    return open('x').read()",
    "T = lambda: open('x')",
    "class Conf:\n    def text(self):\n        return open('x')",
    "import os\nos.environ['X'] = '1'",
    "import click\n@click.command()\ndef main(path):\n    print(open(path).read())",
    "import mainspring as ms\n@ms.step\ndef f():\n    return open('x').read()",
    "if __name__ == '__main__':\n    print(open('x').read())",
    "import mainspring as ms, json\nT = json.loads(ms.file('x.json').read_text())",
    "import mainspring as ms, yaml\nP = ms.file('x.yaml')\nwith open(P) as f:\n    T = yaml.safe_load(f)",
    "import mainspring as ms\nimport polars as pl\nT = pl.read_csv(ms.file('x.csv'))",
    "import mainspring as ms\nT = ms.env('X')",
    "from a import load\ndef f():\n    return load()",
    "def load_rows(n):\n    return [n]\nT = load_rows(3)",
    "from a import load_none\nT = load_none('x.csv')",
    "import pandas as pd\nF = pd.DataFrame({'x': [1]})\nT = F.query('x > 1')",
    "import mainspring as ms\n@ms.step\ndef load(p):\n return open(p)\n@ms.pipeline\ndef p():\n    return load('x')\np.run()",
    "import numpy as np\nT = np.array([1.5, 2])\nR = np.random.default_rng(3)",
]
A = "def load():\n    return open('x').read()\ndef load_none(path):\n    return len(path)\n"


def suspects(tmp_path: Path, text: str) -> tuple[str, ...]:
    sources = Sources(tmp_path, steps=text, a=A)
    return import_suspects(sources.fingerprinter().project, "steps")


@pytest.mark.parametrize("text", LOOKS_LIKE_READING)
def test_what_looks_like_reading_is_named_with_its_place(tmp_path: Path, text: str) -> None:
    found = suspects(tmp_path, text)
    assert found
    assert all(each.startswith(("steps.py:", "a.py:")) for each in found)


@pytest.mark.parametrize("text", LOOKS_HARMLESS)
def test_what_only_defines_names_or_writes_is_no_suspect(tmp_path: Path, text: str) -> None:
    assert suspects(tmp_path, text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "import os\nT = os.environ['X']",
        "import os\nT = os.environ.get('X', '1')",
        "from os import environ as e\nT = int(e.get('X') or 3)",
        "from os import getenv\nT = getenv('X')",
        "import os\nos.environ.setdefault('X', '1')",
        "import os\nif 'X' in os.environ:\n    T = 1",
        "import os\ndef f():\n    return os.environ.get('X')\nT = f()",
    ],
)
def test_a_variable_read_by_its_name_is_named(tmp_path: Path, text: str) -> None:
    assert suspects(tmp_path, text) == ("env:X",)


def test_a_home_folder_is_a_variable(tmp_path: Path) -> None:
    assert suspects(tmp_path, "from pathlib import Path\nT = Path.home() / 'x'") == ("env:HOME",)
    assert suspects(tmp_path, "import os\nT = os.path.expanduser('~/x')") == ("env:HOME",)
