"""Whatever is sent, in whatever protocol, is answered, and nothing of it is a 500."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from mainspring.models import register
from mainspring.serving import ServingApp, bind
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("what is fuzzed is the reading of requests")
REFUSED = {400, 401, 403, 404, 405, 408, 409, 413, 415, 422}
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([10**40, "2013-01-01", "NaN", "", -1, 1 << 63, 2**53]),
)  # fmt: skip
KEYS = st.one_of(
    st.text(max_size=4),
    st.sampled_from(
        ["a", "b", "records", "dataframe_split", "dataframe_records", "instances", "inputs", "columns", "data", "index",
         "params", "name", "shape", "datatype", "parameters", "binary_data_size", "outputs", "id", "binary_data"]
    ),
)  # fmt: skip
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=16
)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, -1, 1 << 40, 1.5, "2"]), max_size=3)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c", "input", 3]),
        "shape": SHAPES,
        "datatype": st.sampled_from(["FP64", "FP16", "FP32", "INT8", "UINT64", "BOOL", "BYTES", "FP8", None]),
    },
    optional={
        "data": DOCUMENTS,
        "parameters": st.one_of(DOCUMENTS, st.fixed_dictionaries({"binary_data_size": st.integers(-9, 99)})),
    },
)
INFERENCES = st.fixed_dictionaries({"inputs": st.lists(TENSORS, max_size=3)}, optional={"outputs": DOCUMENTS})
RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), SCALARS, max_size=3), max_size=4)
SPLITS = st.fixed_dictionaries(
    {"dataframe_split": st.fixed_dictionaries({"columns": DOCUMENTS, "data": st.lists(st.lists(SCALARS))})}
)
BYTES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"a,b\n1,2\n", b"a,b\n1\n", b'a,b\n"1,2', b"\xff\xfe", b"[" * 5000, b'{"a":' * 5000]),
    st.one_of(DOCUMENTS, INFERENCES, RECORDS, SPLITS).map(lambda document: msgspec.json.encode(safe(document))),
)
PATHS = st.one_of(
    st.sampled_from(
        ["/predict", "/predict/lines", "/invocations", "/v2/models/lines/infer", "/v2/models/lines/versions/1/infer/",
         "/v2/models/lines", "/v2/models/lines/ready", "/v2", "/", "/docs", "/openapi.json", "/metrics", "/ready"]
    ),
    st.text(max_size=20).map(lambda text: f"/{text}"),
    st.text(max_size=10).map(lambda text: f"/v2/models/{text}/infer"),
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        [b"content-type", b"content-encoding", b"content-length", b"inference-header-content-length", b"x-request-id",
         b"x-model-version", b"feature-time", b"accept", b"host", b"origin", b"authorization", b"x-route-key"]
    ),
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from([b"application/json", b"text/csv", b"application/octet-stream", b"gzip", b"deflate", b"3", b"-1",
                         b"9" * 5000, b"localhost", b"line/1", b"[::1", b"Basic !!"]),
    ),
    max_size=3,
)  # fmt: skip


def safe(document: Any) -> Any:
    """A document whose numbers JSON can hold."""
    if isinstance(document, dict):
        return {str(key): safe(value) for key, value in document.items()}
    if isinstance(document, list):
        return [safe(each) for each in document]
    if isinstance(document, int) and not isinstance(document, bool) and not -(1 << 63) <= document < 1 << 64:
        return float(document) if abs(document) < 10**300 else None
    return document


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingApp]:
    with Workspace.open(tmp_path_factory.mktemp("fuzzed")) as workspace, using(workspace):
        rows = pl.DataFrame({"a": [1.0, 2.0], "b": [1, 2]})
        model: Any = LinearRegression().fit(np.eye(2), np.array([0.0, 1.0]))
        register(model, "line", input_example=rows)
        bind("lines", "line@production", version="line/1")
        yield ServingApp(workspace, "lines", max_body_bytes=1 << 16, read_timeout_s=0.2)


async def answered(app: ServingApp, method: str, path: str, headers: dict[bytes, bytes], *chunks: bytes) -> int:
    """The status of a request's answer."""
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [*headers.items()], "query_string": b""}
    await asyncio.wait_for(app(scope, receive, send), 10)
    return int(sent[0]["status"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(method=st.sampled_from(["POST", "POST", "GET", "HEAD", "PUT"]), path=PATHS, headers=HEADERS, body=BYTES)
def test_what_is_sent_is_answered_or_refused(
    app: ServingApp, method: str, path: str, headers: dict[bytes, bytes], body: bytes
) -> None:
    assert asyncio.run(answered(app, method, path, headers, body[:7], body[7:])) in REFUSED | {200}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=INFERENCES, tail=st.binary(max_size=40), off=st.sampled_from([0, 0, 0, -1, 1, 10**6]))
def test_binary_tensors_are_answered_or_refused(app: ServingApp, document: Any, tail: bytes, off: int) -> None:
    head = msgspec.json.encode(safe(document))
    headers = {b"inference-header-content-length": b"%d" % max(0, len(head) + off)}
    tail += struct.pack("<d", 1.0)
    assert asyncio.run(answered(app, "POST", "/v2/models/lines/infer", headers, head + tail)) in REFUSED | {200}


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v2/models/lines/infer"])
@pytest.mark.parametrize(
    "body", [b'{"fli\xf5ht": 1}', '[{"Verspätung": 3}]'.encode("latin-1"), b'{"records": [{"\xe4": 3}]}']
)
def test_a_name_that_is_no_utf8_is_refused(app: ServingApp, path: str, body: bytes) -> None:
    headers = {b"content-type": b"application/json"}
    assert asyncio.run(answered(app, "POST", path, headers, body)) == 400


def test_a_byte_order_mark_before_a_body_is_passed_over(app: ServingApp) -> None:
    headers = {b"content-type": b"application/json"}
    rows = b'\xef\xbb\xbf[{"a": 1.0, "b": 1}]'
    tensors = b'\xef\xbb\xbf{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1.0, 1.0]}]}'
    assert asyncio.run(answered(app, "POST", "/predict", headers, rows)) == 200
    assert (
        asyncio.run(answered(app, "POST", "/invocations", headers, rows.replace(b"[", b'{"instances": [', 1) + b"}"))
        == 200
    )
    assert asyncio.run(answered(app, "POST", "/v2/models/lines/infer", headers, tensors)) in {200, 422}
