"""Calls that no seed reaches are named, through any alias; seeded ones are not."""

import pytest

from mainspring.pipelines.code.entropy import entropy_calls


@pytest.mark.parametrize(
    ("lines", "expression"),
    [
        ("import numpy as np\nnp.random.default_rng()", "np.random.default_rng()"),
        ("import numpy as np\nnp.random.default_rng(None)", "np.random.default_rng(None)"),
        ("import numpy as np\nnp.random.default_rng(seed=None)", "np.random.default_rng(seed=None)"),
        ("import numpy.random\nnumpy.random.SeedSequence()", "numpy.random.SeedSequence()"),
        ("import numpy.random as r\nr.SeedSequence()", "r.SeedSequence()"),
        ("from numpy import random as r\nr.PCG64()", "r.PCG64()"),
        ("from numpy.random import default_rng as rng\nrng()", "rng()"),
        ("import secrets\nsecrets.randbits(8)", "secrets.randbits(8)"),
        ("from secrets import token_hex\ntoken_hex()", "token_hex()"),
        ("import os\nos.urandom(8)", "os.urandom(8)"),
        ("import uuid\nuuid.uuid4()", "uuid.uuid4()"),
        ("from uuid import uuid1\nuuid1()", "uuid1()"),
        ("import random\nrandom.SystemRandom()", "random.SystemRandom()"),
        ("import random\nrandom.Random()", "random.Random()"),
        ("import random\nrandom.seed()", "random.seed()"),
        ("import time\ntime.time_ns()", "time.time_ns()"),
        ("from time import perf_counter\nperf_counter()", "perf_counter()"),
        ("from datetime import datetime\ndatetime.now()", "datetime.now()"),
        ("import datetime as dt\ndt.datetime.utcnow()", "dt.datetime.utcnow()"),
        ("import datetime\ndatetime.date.today()", "datetime.date.today()"),
        ("import torch\ntorch.seed()", "torch.seed()"),
        ("import os\nos.getpid()", "os.getpid()"),
        ("id(3)", "id(3)"),
        ("hash('x')", "hash('x')"),
    ],
)
def test_a_call_that_no_seed_reaches_is_named(lines: str, expression: str) -> None:
    [call] = entropy_calls(lines)
    assert call.expression == expression
    assert call.line == len(lines.splitlines())
    assert call.why


@pytest.mark.parametrize(
    "lines",
    [
        "import numpy as np\nnp.random.default_rng(3)",
        "import numpy as np\nnp.random.default_rng(seed=seed)",
        "import numpy as np\nnp.random.default_rng(*args)",
        "import numpy as np\nnp.random.rand(3)",
        "import random\nrandom.random()\nrandom.Random(3)\nrandom.seed(3)",
        "import secrets\nsecrets.compare_digest(a, b)",
        "def id(x):\n    return x\nid(3)",
        "rng.default_rng()",
        "import time\ntime.gmtime(0)",
        "import uuid\nuuid.uuid5(uuid.NAMESPACE_DNS, 'x')",
        "# time.time()",
    ],
)
def test_a_seeded_call_is_not_named(lines: str) -> None:
    assert entropy_calls(lines) == []


def test_calls_come_in_the_order_of_their_lines_from_any_depth() -> None:
    source = "import time, os\ndef f():\n    return [lambda: os.urandom(time.time())]\nclass A:\n    at = time.time()\n"
    assert [(call.line, call.expression) for call in entropy_calls(source)] == [
        (3, "os.urandom(time.time())"),
        (3, "time.time()"),
        (5, "time.time()"),
    ]


def test_source_that_is_no_python_names_its_file() -> None:
    with pytest.raises(SyntaxError) as caught:
        entropy_calls("def", "steps.py")
    assert caught.value.filename == "steps.py"
