"""Every protocol gives what the model gives: whole exchanges, JSON and binary, and what each refuses."""

from __future__ import annotations

import asyncio
import gzip
import html
import json
import shlex
from collections.abc import Iterator
from datetime import date
from typing import Any, cast

import httpx
import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from mainspring.models import Field, Output, Signature, register
from mainspring.serving import ServingApp, bind
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("the server reads both through the doors that have their own suites")
SEEN = Signature(
    (
        Field("n", "i32"), Field("x", "f64", nullable=True), Field("ok", "bool"), Field("name", "str"),
        Field("kind", 'enum["a","b"]'), Field("day", "date"), Field("raw", "bin"), Field("wide", "u64"),
    ),
    Output("label", ("seen", "unseen")),
)  # fmt: skip
ROW = {"n": 3, "x": None, "ok": True, "name": "é", "kind": "b", "day": "2013-01-31", "raw": "/wA=", "wide": 2**63}
MEANT = ROW | {"day": date(2013, 1, 31), "raw": b"\xff\x00"}
TENSORS = [
    {"name": "n", "shape": [1, 1], "datatype": "INT32", "data": [3]},
    {"name": "x", "shape": [1], "datatype": "FP32", "data": [None]},
    {"name": "ok", "shape": [1, 1], "datatype": "BOOL", "data": [[True]]},
    {"name": "name", "shape": [1], "datatype": "BYTES", "data": ["é"]},
    {"name": "kind", "shape": [1], "datatype": "BYTES", "data": ["b"]},
    {"name": "day", "shape": [1], "datatype": "BYTES", "data": ["2013-01-31"]},
    {"name": "raw", "shape": [1], "datatype": "BYTES", "data": ["/wA="]},
    {"name": "wide", "shape": [1], "datatype": "UINT64", "data": [2**63]},
]


class Asked:
    """A server in this process."""

    def __init__(self, app: ServingApp) -> None:
        self.app = app

    def __call__(self, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            transport = httpx.ASGITransport(cast(Any, self.app))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                method = "GET" if content is None else "POST"
                return await client.request(method, path, content=content, headers=named)

        return asyncio.run(ask())

    def json(self, path: str, body: object = None, status: int = 200, **headers: str) -> Any:
        answer = self(path, None if body is None else json.dumps(body).encode(), **headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("served")
    (root / "mainspring.toml").write_text('name = "served"\n')
    with Workspace.open(root) as opened, using(opened):
        yield opened


@pytest.fixture(scope="module")
def asked(workspace: Workspace) -> Asked:
    """A model of each kind of answer."""
    table = pl.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
    register(LinearRegression().fit(table, [1.0, 2.0, 4.0, 5.0]), "line", input_example=table)
    register(LogisticRegression().fit(table, ["x", "y", "z", "z"]), "kinds", input_example=table)
    register(LogisticRegression().fit(table, [0, 0, 1, 1]), "late", input_example=table)
    for model in ("line", "kinds", "late"):
        bind(model, f"{model}@production", version=f"{model}/1")
    return Asked(ServingApp(workspace, "line", "kinds", "late"))


@pytest.fixture(scope="module")
def seer(workspace: Workspace) -> Asked:
    """A model that knows whether each value of a row came as it was meant."""
    register(DummyClassifier().fit([[0], [1]], ["seen", "unseen"]), "seer", signature=SEEN, input_kind="records")
    bind("seer", "seer@production", version="seer/1")
    app = ServingApp(workspace, "seer")
    app.live["seer"].predictor.predictor.model = Seer()
    return Asked(app)


class Seer:
    """Looks at each value, and its type."""

    def predict(self, rows: list[dict[str, Any]]) -> list[str]:
        return ["seen" if repr(list(row.values())) == repr(list(MEANT.values())) else "unseen" for row in rows]


def test_a_request_to_try_is_taken_also_where_the_model_has_no_example(seer: Asked) -> None:
    told = seer.json("/")
    shown = json.loads(shlex.split(told["curl"])[4])
    assert shown == told["example"]
    assert len(seer.json("/predict", shown)["predictions"]) == 1
    assert html.escape(told["curl"]) in seer("/docs").text


ROWS: list[dict[str, Any]] = [{"a": 0.5, "b": 1.0}, {"a": 2.5, "b": 0.0}, {"a": 7, "b": -1}]


@pytest.mark.parametrize("name", ["line", "kinds", "late"])
def test_all_protocols_give_the_same(asked: Asked, name: str) -> None:
    plain = asked.json(f"/predict/{name}", {"records": ROWS})["predictions"]
    columns = {key: [row[key] for row in ROWS] for key in ("a", "b")}
    for form in (
        {"dataframe_records": ROWS},
        {"dataframe_split": {"columns": ["b", "a"], "data": [[row["b"], row["a"]] for row in ROWS]}},
        {"instances": ROWS}, {"instances": [[row["a"], row["b"]] for row in ROWS], "parameters": {}},
        {"inputs": columns}, {"inputs": {key: [[value] for value in values] for key, values in columns.items()}},
        {"inputs": [[row["a"], row["b"]] for row in ROWS], "params": {}},
    ):  # fmt: skip
        assert asked.json(f"/invocations/{name}", form)["predictions"] == plain
    written = pl.DataFrame(columns, strict=False).write_csv().encode()
    assert asked(f"/invocations/{name}", written, content_type="text/csv").json()["predictions"] == plain
    values = [list(each.values()) if isinstance(each, dict) else each for each in plain]
    by_column = [{"name": key, "shape": [3], "datatype": "FP64", "data": given} for key, given in columns.items()]
    matrix = {"name": "whatever", "shape": [3, 2], "datatype": "FP64", "data": [[row["a"], row["b"]] for row in ROWS]}
    for inputs in (by_column, [matrix], [matrix | {"name": "a"}], by_column[::-1]):
        answer = asked.json(f"/v2/models/{name}/versions/1/infer", {"id": "mine", "inputs": inputs})
        (output,) = answer["outputs"]
        assert np.array(output["data"]).reshape(output["shape"]).tolist() == values
        assert (answer["model_name"], answer["model_version"], answer["id"]) == (name, "1", "mine")


def test_what_is_optional_and_null_is_as_if_it_were_not_there(asked: Asked) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0.5, 1.0]}
    plain = asked.json("/v2/models/line/infer", {"inputs": [tensor]})
    outputs: Any
    for outputs in (
        None,
        [{"name": "predictions", "parameters": None}],
        [{"name": "predictions", "parameters": {"binary_data": None}}],
    ):
        for parameters in (None, {"binary_data_output": None}, {"binary_data_size": None}):
            body = {
                "id": None,
                "parameters": parameters,
                "inputs": [tensor | {"parameters": parameters}],
                "outputs": outputs,
            }
            answer = asked.json("/v2/models/line/infer", body)
            assert answer["outputs"] == plain["outputs"]
            assert answer["id"]
    binary = asked(
        "/v2/models/line/infer",
        json.dumps({"inputs": [tensor], "outputs": None, "parameters": {"binary_data_output": True}}).encode(),
    )
    assert "inference-header-content-length" in binary.headers
    split = {"dataframe_split": {"columns": None, "index": None, "data": [[0.5, 1.0]]}, "params": None}
    assert asked.json("/invocations/line", split)["predictions"] == plain["outputs"][0]["data"]


def test_binary_tensors_go_in_and_out(asked: Asked) -> None:
    matrix = np.array([[row["a"], row["b"]] for row in ROWS], dtype="<f4")
    parts = [np.ascontiguousarray(matrix[:, place]).tobytes() for place in (0, 1)]
    head = json.dumps({
        "inputs": [
            {"name": name, "shape": [3, 1], "datatype": "FP32", "parameters": {"binary_data_size": 12}} for name in "ab"
        ],
        "parameters": {"binary_data_output": True},
    }).encode()  # fmt: skip
    answer = asked("/v2/models/kinds/infer", head + b"".join(parts), inference_header_content_length=str(len(head)))
    assert answer.status_code == 200, answer.text
    size = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:size])["outputs"]
    assert (output["datatype"], output["shape"], output["parameters"]) == ("FP64", [3, 3], {"binary_data_size": 72})
    found = np.frombuffer(answer.content[size:], "<f8").reshape(3, 3)
    plain = asked.json("/predict/kinds", {"records": ROWS})["predictions"]
    assert found.tolist() == [list(each.values()) for each in plain]
    assert answer.headers["x-model-version"] == "kinds/1"


def test_a_value_of_every_type_comes_as_it_is_meant(seer: Asked) -> None:
    assert seer.json("/predict", {"records": [ROW]})["predictions"] == ["seen"]
    assert seer.json("/invocations", {"dataframe_records": [ROW]})["predictions"] == ["seen"]
    (output,) = seer.json("/v2/models/seer/infer", {"inputs": TENSORS})["outputs"]
    assert output == {"name": "predictions", "datatype": "BYTES", "shape": [1], "data": ["seen"]}
    metadata = seer.json("/v2/models/seer/")
    assert [each["datatype"] for each in metadata["inputs"]] == [
        "INT32", "FP64", "BOOL", "BYTES", "BYTES", "BYTES", "BYTES", "UINT64"
    ]  # fmt: skip
    assert metadata["outputs"] == [
        {"name": "predictions", "datatype": "BYTES", "shape": [-1], "parameters": {"classes": ["seen", "unseen"]}}
    ]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"name": "m"}, 422, "n: missing"),
        ({"datatype": "FP32"}, 422, "n: its datatype is FP32, expected INT32"),
        ({"datatype": "INT64", "data": [2**31]}, 422, "n[0]: 2147483648 does not fit i32"),
        ({"shape": [1, 1, 1]}, 422, "n: its shape is [1, 1, 1]"),
        ({"shape": [2], "data": [1, 2]}, 422, "inputs: tensors of 1, 2 rows"),
        ({"shape": [2]}, 400, "Tensor `n`: 1 elements came"),
        ({"datatype": "OBJECT"}, 400, "`OBJECT` is no datatype"),
        ({"data": None}, 400, "Tensor `n`: there is neither `data`"),
        ({"parameters": {"binary_data_size": 4}}, 400, "Tensor `n`: there is `data` beside"),
    ],
    ids=range(9),
)
def test_a_wrong_tensor_is_named(seer: Asked, change: dict[str, Any], status: int, message: str) -> None:
    answer = seer.json("/v2/models/seer/infer", {"inputs": [TENSORS[0] | change, *TENSORS[1:]]}, status)
    assert answer["error"].startswith(message) or message in answer["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v2/models/line/infer", {}, 400, "no inference request"),
        ("/v2/models/line/infer", {"inputs": 3}, 400, "no inference request"),
        ("/v2/models/line/infer", {"inputs": [], "outputs": [{"name": "x"}]}, 400, "no output `x`"),
        ("/v2/models/lines/infer", {"inputs": []}, 404, "nearest: line"),
        ("/v2/models/line/versions/2/infer", {"inputs": []}, 404, "answers with version 1"),
        ("/predict/lines", {"records": []}, 404, "nearest: line"),
        ("/invocations", {}, 400, "Expected one of dataframe_split"),
        ("/invocations", {"instances": [], "inputs": []}, 400, "Expected one of"),
        ("/invocations", {"instances": [], "more": 1}, 400, "`more`"),
        ("/invocations", {"instances": [], "params": {"a": 1}}, 400, "no parameters"),
        ("/invocations", {"instances": [[1]]}, 422, "no row of 2 values"),
        ("/invocations", {"instances": {"a": 1}}, 400, "expected a list"),
        ("/invocations", {"dataframe_split": [[1, 2]]}, 400, "`columns`"),
        ("/invocations", {"inputs": {"a": [1, 2], "b": [1]}}, 400, "rows"),
        ("/invocations", {"dataframe_records": [{"a": "x", "b": 1}]}, 422, "[0].a"),
    ],
    ids=range(15),
)
def test_what_is_not_the_protocol_is_refused(asked: Asked, path: str, body: Any, status: int, message: str) -> None:
    assert message in asked.json(path, body, status)["error"]


def test_a_row_that_is_too_short_is_told_by_its_place(asked: Asked) -> None:
    split = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1]]}}
    said = asked.json("/invocations", split, 422)
    assert said["problems"] == [{"path": "[1]", "message": "[1] is no row of 2 values: a, b"}]
    assert said["error"] == "[1]: [1] is no row of 2 values: a, b"
    short = asked("/invocations", b"a,b\n\n1,2\n1\n", content_type="text/csv")
    assert (short.status_code, short.json()["problems"][0]["path"]) == (422, "[1]")
    twice = asked.json("/invocations", {"dataframe_split": {"columns": ["a", "b", "a"], "data": [[1, 2, 3]]}}, 422)
    assert twice["problems"] == [{"path": "a", "message": "stands twice"}]


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("/predict", "application/json", '{"records": [{...}]}, a list of records, or one record'),
        ("/invocations", "application/json", "one of dataframe_split, dataframe_records, instances, inputs"),
        ("/invocations", "text/csv", "a table in CSV with the columns a, b."),
        ("/v2/models/line/infer", "application/json", "an inference request in JSON"),
        ("/feedback", "application/json", '{"labels": [{"prediction": ..., "label": ...}]}'),
    ],
)
def test_an_empty_body_is_told_what_is_expected(asked: Asked, path: str, kind: str, expected: str) -> None:
    for body in (b"", b"\r\n"):
        refused = asked(path, body, content_type=kind)
        assert refused.status_code == 400
        assert refused.json()["error"].startswith(f"The body is empty, expected {expected}")


def test_a_record_whose_names_are_all_wrong_is_told_which(asked: Asked) -> None:
    said = asked.json("/predict", {"aa": 1, "bb": 2}, 422)
    assert [each["path"] for each in said["problems"]] == ["[0].aa", "[0].bb", "[0].a", "[0].b"]
    hint = 'Expected {"records": [{...}]}, a list of records, or one record. GET / shows one.'
    assert said["error"] == f"[0].aa: unknown column, nearest: a. {hint}"
    assert asked.json("/predict", {"a": 1, "bb": 2}, 422)["error"] == "[0].bb: unknown column, nearest: b"


def test_csv_cells_are_what_the_columns_are(seer: Asked) -> None:
    header = ",".join(ROW)
    line = "3,,TRUE,é,b,2013-01-31,/wA=,9223372036854775808"
    answer = seer("/invocations", f"{header}\r\n{line}\r\n".encode(), content_type="text/csv; charset=utf-8")
    assert answer.json() == {"predictions": ["seen"]}
    wrong = seer("/invocations", f"{header}\n{line.replace('3,', 'x,', 1)}\n".encode(), content_type="text/csv")
    assert (wrong.status_code, wrong.json()["error"]) == (422, '[0].n: "x" is a str, expected a whole number')
    for body in (b"", b"\xff\xfe", f"{header}\n1,2\n".encode()):
        assert seer("/invocations", body, content_type="text/csv").status_code in (400, 422)
    assert seer("/invocations", b"x", content_type="application/x-parquet").status_code == 415


@pytest.mark.parametrize(
    ("named", "encoding"),
    [
        ("", "utf-8"), (";charset=UTF-8", "utf-8-sig"), ("; charset=utf8", "utf-8"), ("; charset=latin-1", "latin-1"),
        ('; header=present; Charset="ISO-8859-1"', "latin-1"), ("; charset=windows-1252", "cp1252"),
        ("; charset=utf-16", "utf-16"), ("; charset=", "utf-8"), ("; charset=UTF-16", "utf-16-be"),
        ("; charset=utf-16be", "utf-16-be"), ("; charset=utf-16le", "utf-16-le"),
        ('; x=";charset=utf-16"; charset=utf-8', "utf-8"), (r'; x="\";charset=utf-16"; charset="utf\-8"', "utf-8"),
    ],
)  # fmt: skip
def test_csv_is_read_by_the_encoding_that_it_names(seer: Asked, named: str, encoding: str) -> None:
    text = f"{','.join(ROW)}\r\n3,,TRUE,é,b,2013-01-31,/wA=,9223372036854775808\r\n"
    answer = seer("/invocations", text.encode(encoding), content_type=f"text/csv{named}")
    assert answer.json() == {"predictions": ["seen"]}


@pytest.mark.parametrize("charset", ["utf-7", "rot13", "klingon", "idna", "a\0", "a" * 500])
def test_csv_in_an_encoding_that_is_not_read_is_a_415(seer: Asked, charset: str) -> None:
    refused = seer("/invocations", b"a\n1\n", content_type=f"text/csv; charset={charset}")
    assert refused.status_code == 415
    assert "is not read; UTF-8, US-ASCII, ISO-8859-1, Windows-1252 and UTF-16 are." in refused.json()["error"]
    damaged = seer("/invocations", b"\xff\n1\n", content_type="text/csv; charset=us-ascii")
    assert (damaged.status_code, damaged.json()["error"][:16]) == (400, "This is no CSV: ")


def test_csv_without_a_header_has_the_columns_of_the_model(asked: Asked) -> None:
    headed = asked("/invocations", b"a,b\n0.5,1\n2.5,0\n", content_type="text/csv").json()
    assert asked("/invocations", b"0.5,1\n2.5,0\n", content_type="text/csv").json() == headed
    assert len(asked("/invocations", b"0.5,1\n", content_type="text/csv").json()["predictions"]) == 1
    assert asked("/invocations", b"a,b\n", content_type="text/csv").json() == {"predictions": []}
    for body, said in (
        (b"a,b,a\n1,2,3\n", "`a` stands twice"),
        (b"a,c\n", "`c`, which is no column"),
        (b"1,2,3\n", "`1`"),
    ):
        refused = asked("/invocations", body, content_type="text/csv")
        assert refused.status_code in (400, 422)
        assert said in refused.json()["error"]


def test_answers_of_another_type_are_an_error(workspace: Workspace) -> None:
    table = pl.DataFrame({"a": [0.0, 1.0]})
    register(LinearRegression().fit(table, [1.0, 2.0]), "typed", input_example=table)
    bind("typed", "typed@production", version="typed/1")
    app = ServingApp(workspace, "typed")
    for answer, status in (([1.5], 200), (["x"], 500), ([None], 500)):
        app.live["typed"].predictor.predictor.model = Told(answer)
        assert Asked(app)("/predict", json.dumps({"records": [{"a": 1.0}]}).encode()).status_code == status


class Told:
    """Answers what it was told to."""

    def __init__(self, answer: list[Any]) -> None:
        self.answer = answer

    def predict(self, _: Any) -> list[Any]:
        return self.answer


def test_headers_say_and_demand_the_version(asked: Asked) -> None:
    assert asked("/predict", json.dumps(ROWS).encode(), x_model_version="1").headers["x-model-version"] == "line/1"
    refused = asked.json("/predict", ROWS, 409, x_model_version="line/2")
    assert refused["error"] == "`line` answers with line/1 now, not with line/2."


def test_packed_bodies_are_read_and_bombs_are_not(asked: Asked) -> None:
    body = json.dumps({"records": ROWS}).encode()
    assert asked("/predict", gzip.compress(body), content_encoding="gzip").status_code == 200
    assert asked("/predict", gzip.compress(b" " * (17 << 20)), content_encoding="gzip").status_code == 413
    assert asked("/predict", gzip.compress(body)[:-9], content_encoding="gzip").status_code == 400
    members = gzip.compress(body[:5]) + gzip.compress(b"") + gzip.compress(body[5:])
    assert asked("/predict", members, content_encoding="gzip").json()["predictions"]
    assert asked("/predict", gzip.compress(body) + b"behind", content_encoding="gzip").status_code == 400
    assert asked("/predict", body, content_encoding="deflate").status_code == 400
    assert asked("/predict", body, content_encoding="br").status_code == 415


def test_whoever_looks_at_the_load_is_no_part_of_it(asked: Asked) -> None:
    assert "\nmainspring_requests_in_flight 0\n" in asked("/metrics").text


def test_probes_and_descriptions(asked: Asked) -> None:
    for path in ("/ping", "/v2/health/live", "/v2/health/ready", "/v2/models/late/ready", "/version", "/v2/"):
        assert asked(path).status_code == 200
    assert asked.json("/v2")["extensions"] == ["binary_tensor_data"]
    told = asked.json("/openapi.json")
    takes = told["paths"]["/predict/line"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert takes["properties"]["records"]["items"]["required"] == ["a", "b"]
    page = asked("/docs").text
    assert all(f"<h1>{name} · {name}/1</h1>" in page for name in ("line", "kinds", "late"))
    assert "http://" not in page.replace("http://127.0.0.1", "")


def test_what_there_is_is_listed_by_the_front_page(asked: Asked) -> None:
    plain = {path for path in asked.app.methods if "{" not in path and not path.startswith("/v2/")} - {"/"}
    assert set(asked.json("/")["paths"]) == plain


@pytest.mark.parametrize("token", ["", "t0p"])
def test_the_description_names_each_refusal_where_it_can_happen(workspace: Workspace, asked: Asked, token: str) -> None:
    app = ServingApp(workspace, "line", token=token)
    told = Asked(app)("/openapi.json", authorization=f"Bearer {token}").json()
    paths = {path: next(iter(each.values())) for path, each in told["paths"].items()}
    refusals = {path: {*each["responses"]} - {"200"} for path, each in paths.items()}
    guarded = {"401"} if token else set()
    taken = {"400", "408", "409", "413", "415", "422", "503"} | guarded
    for path in ("/predict", "/invocations/line", "/v2/models/line/infer"):
        assert refusals[path] == taken | {"500", "504"} | ({"406"} if path == "/predict" else set())
    assert refusals["/feedback"] == taken
    assert refusals["/v2/models/line"] == guarded | {"409"}
    assert (refusals["/metrics"], refusals["/live"], refusals["/ready"]) == (guarded, set(), {"503"})
    assert [path for path, each in paths.items() if "security" in each] == ["/live", "/ready", "/ping"]
    for path, each in paths.items():
        assert [*each["responses"]] == sorted(each["responses"]), path


EMBEDDED = Signature(
    (
        Field("emb", "array[f32, 4]"), Field("any", "list[f64]"), Field("half", "f16"),
        Field("grid", "array[array[i16, 2], 3]"), Field("halves", "list[f16]"), Field("flags", "list[bool]"),
    ),
)  # fmt: skip


class Held:
    """A model that keeps what it was given."""

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        self.given = rows
        return [1.0] * len(rows)


@pytest.fixture
def embedded(workspace: Workspace) -> Asked:
    register(LinearRegression().fit([[0.0]], [1.0]), "embedded", signature=EMBEDDED, input_kind="records")
    bind("embedded", "embedded@production", version="embedded/1")
    asked = Asked(ServingApp(workspace, "embedded"))
    cast(Any, asked.app.live["embedded"].predictor.predictor).model = Held()
    return asked


def arrays_of(rows: int) -> dict[str, tuple[str, np.ndarray[Any, Any]]]:
    draw = np.random.default_rng(5)
    return {
        "emb": ("FP32", draw.normal(size=(rows, 4)).astype("f4")), "any": ("FP64", draw.normal(size=(rows, 7))),
        "half": ("FP16", draw.normal(size=(rows, 1)).astype("f2")),
        "grid": ("INT16", draw.integers(-9, 9, size=(rows, 3, 2)).astype("i2")),
        "halves": ("FP16", draw.normal(size=(rows, 2)).astype("f2")), "flags": ("BOOL", draw.normal(size=(rows, 2)) > 0),
    }  # fmt: skip


@pytest.mark.parametrize("form", ["flat", "nested", "bytes"])
def test_embeddings_are_tensors_with_a_dimension_of_their_own(embedded: Asked, form: str) -> None:
    tensors, parts = [], []
    for name, (datatype, array) in arrays_of(2).items():
        about: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype}
        if form == "bytes":
            parts.append(array.tobytes())
            tensors.append(about | {"parameters": {"binary_data_size": len(parts[-1])}})
        else:
            tensors.append(about | {"data": (array.ravel() if form == "flat" else array).tolist()})
    head = json.dumps({"inputs": tensors}).encode()
    answer = embedded(
        "/v2/models/embedded/infer", head + b"".join(parts), inference_header_content_length=str(len(head))
    )
    assert answer.json()["outputs"][0]["data"] == [1.0, 1.0]
    given = cast(Any, embedded.app.live["embedded"].predictor.predictor).model.given
    for name, (_, array) in arrays_of(2).items():
        wanted = array.ravel() if name == "half" else array
        assert [row[name] for row in given] == wanted.tolist(), name
    told = {each["name"]: (each["datatype"], each["shape"]) for each in embedded.json("/v2/models/embedded")["inputs"]}
    assert told == {
        "emb": ("FP32", [-1, 4]), "any": ("FP64", [-1, -1]), "half": ("FP16", [-1, 1]), "grid": ("INT16", [-1, 3, 2]),
        "halves": ("FP16", [-1, -1]), "flags": ("BOOL", [-1, -1]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [2, 3], "data": [0.0] * 6}, "its shape is [2, 3], expected [rows, 4]"),
        ({"shape": [8], "data": [0.0] * 8}, "its shape is [8], expected [rows, 4]"),
        ({"datatype": "BOOL", "data": [True] * 8}, "its datatype is BOOL, expected FP32: a number"),
        ({"datatype": "FP64", "data": [0.0] * 5 + [1e300, 0.0, 0.0]}, "emb[1]: item 1: 1e+300 does not fit f32"),
    ],
)
def test_an_embedding_that_does_not_fit_is_told(embedded: Asked, change: dict[str, Any], said: str) -> None:
    tensors = [
        {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist()}
        for name, (datatype, array) in arrays_of(2).items()
    ]
    answer = embedded.json("/v2/models/embedded/infer", {"inputs": [tensors[0] | change, *tensors[1:]]}, 422)
    assert said in str(answer)


def test_lists_of_several_sizes_come_as_texts_and_missing_items_as_nan(embedded: Asked) -> None:
    tensors = [
        {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist()}
        for name, (datatype, array) in arrays_of(2).items()
    ]
    tensors[0]["data"] = [None, *tensors[0]["data"][1:]]
    tensors[1] = {"name": "any", "shape": [2, 1], "datatype": "BYTES", "data": ["[1.5]", "[2, null, 3.5]"]}
    embedded.json("/v2/models/embedded/infer", {"inputs": tensors})
    given = cast(Any, embedded.app.live["embedded"].predictor.predictor).model.given
    assert [row["any"] for row in given] == [[1.5], [2.0, None, 3.5]]
    assert given[0]["emb"][0] is None


def test_numbers_of_sixteen_bits_are_numbers_in_every_form(workspace: Workspace) -> None:
    table = pl.DataFrame({"a": [0.5, 1.5]}, schema={"a": pl.Float16})
    register(LinearRegression().fit(table.cast(pl.Float64), [1.0, 2.0]), "halves", input_example=table)
    bind("halves", "halves@production", version="halves/1")
    asked = Asked(ServingApp(workspace, "halves"))
    assert asked.json("/predict", {"records": [{"a": 0.5}, {"a": 1}]})["predictions"] == pytest.approx([1.0, 1.5])
    (output,) = asked.json(
        "/v2/models/halves/infer", {"inputs": [{"name": "a", "shape": [1, 1], "datatype": "FP16", "data": [0.5]}]}
    )["outputs"]
    assert output["data"] == pytest.approx([1.0])
    (problem,) = asked.json("/predict", {"records": [{"a": 70_000.0}]}, 422)["problems"]
    assert problem["message"] == "70000.0 does not fit f16"
    (problem,) = asked.json("/predict", {"records": [{"a": "0.5"}]}, 422)["problems"]
    assert problem["message"] == '"0.5" is a str, expected a number'
    assert asked.json("/invocations", {"dataframe_split": {"columns": ["a"], "data": [[0.5]]}})[
        "predictions"
    ] == pytest.approx([1.0])
