"""The HTTP face of a workspace, as a raw ASGI application: MLflow's client API, approvals, logs of services.

Records are read and written in threads, as databases wait. A file is streamed to the disk first and gets its name when it is
whole, so that an upload that is cut off leaves nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import mimetypes
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import Context
from pathlib import Path
from typing import Any, ClassVar

from mainspring.errors import InvalidError, MainspringError, NotAllowedError
from mainspring.ledger import Actor, acting
from mainspring.secrets import redact
from mainspring.server import approvals, outside
from mainspring.server.mlflow.adoption import Adoption
from mainspring.server.mlflow.artifacts import open_file, put_file
from mainspring.server.mlflow.records import Records
from mainspring.server.mlflow.routes import ROUTES
from mainspring.server.mlflow.table import Table
from mainspring.server.mlflow.wire import read, refusal
from mainspring.server.token import PREFIX, TokenStore
from mainspring.web.app import READS, Answer, Request, WebApp, borne, encode, unauthenticated
from mainspring.web.metrics import Counted, Metrics
from mainspring.web.request_error import RequestError
from mainspring.workspace import Workspace

_log = logging.getLogger("mainspring.server")
_API = "/api"
_PROXY = ("/api/2.0/mlflow-artifacts/artifacts/", "/ajax-api/2.0/mlflow-artifacts/artifacts/")
_INFO = ("/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info")
_THREADS = 16  # that may wait for a store
_TABLE = Table((*ROUTES, *approvals.ROUTES, *outside.ROUTES))
_VERSION = "3.17.2"
"""The MLflow version that is spoken, for clients that ask."""
_WORK = Counted(
    frozenset({_API}), "api_seconds", "Time from a request to its answer.", "api_records_total", "Records answered."
)


class ServerApp(WebApp):
    """An ASGI application that answers MLflow's clients from the records of a workspace.

    `adoption` is the run that a client's first becomes, and `context` that of the step whose client it serves, so that what it
    writes is the step's work.
    """

    methods: ClassVar[dict[str, bytes]] = WebApp.methods | {
        "/": READS, "/version": READS, _API: b"GET, HEAD, POST, PUT, PATCH, DELETE",
    }  # fmt: skip

    def __init__(
        self, workspace: Workspace, *, adoption: Adoption | None = None, context: Context | None = None, **limits: Any
    ) -> None:
        super().__init__(Metrics({}, _WORK), **limits)
        self._records = Records(workspace, adoption)
        self._tokens = TokenStore(workspace.database, workspace.ledger)
        self._context = Context() if context is None else context
        self._pool = ThreadPoolExecutor(_THREADS, "server")
        self._ended = ""

    def route(self, path: str) -> str:
        """All APIs are one route, which has a table of its own."""
        return _API if path.startswith(("/api/", "/ajax-api/", "/v1/")) else path

    async def admit(self, request: Request) -> None:
        """Know a person by their token; what bears none is admitted as everywhere, and one that nobody has nowhere.

        Nobody is once this was ended.
        """
        if self._ended:
            raise RequestError(410, self._ended)
        given = borne(request.headers).decode("latin-1")
        if not given.startswith(PREFIX):
            await super().admit(request)
            # A password may be meant for a proxy before this server, a token is not.
            if not self._token and request.headers.get(b"authorization", b"").lower().startswith(b"bearer "):
                raise unauthenticated("This token is not known here.")
            return
        with _refusing(request):
            try:
                request.actor = await self._threaded(None, self._tokens.owner, given)
            except NotAllowedError as error:
                raise unauthenticated(str(error)) from error

    async def respond(self, route: str, request: Request) -> Answer:
        """Answer an admitted request."""
        if route == "/version":
            return Answer(_VERSION.encode(), b"text/plain; charset=utf-8")
        if route == "/":
            return Answer(
                encode(
                    {
                        "mlflow": _VERSION,
                        "tracking_uri": "this address",
                        "approvals": "/api/1.0/approvals",
                        "predictions": "/api/1.0/predictions/ENDPOINT",
                        "feedback": "/api/1.0/feedback/ENDPOINT",
                        "docs": "docs/mlflow.md",
                    }
                )
            )
        if route != _API:
            return await super().respond(route, request)
        with _refusing(request):
            return await self._api(request)

    def refusal(self, refused: RequestError) -> dict[str, Any]:
        """As MLflow's clients read it, also what no route of theirs was asked for."""
        codes = {
            400: "INVALID_PARAMETER_VALUE",
            401: "UNAUTHENTICATED",
            403: "PERMISSION_DENIED",
            404: "ENDPOINT_NOT_FOUND",
            410: "INVALID_STATE",
            413: "INVALID_PARAMETER_VALUE",
            415: "INVALID_PARAMETER_VALUE",
            422: "INVALID_PARAMETER_VALUE",
        }
        return {"error_code": codes.get(refused.status, "INTERNAL_ERROR"), "message": str(refused)} | refused.body

    def end(self, said: str) -> None:
        """Refuse all that comes from now on, for good and with these words: MLflow's client tries a 410 only once."""
        self._ended = said
        self._pool.shutdown(wait=False)

    async def settle(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False)

    async def _api(self, request: Request) -> Answer:
        if request.path in _INFO:
            return Answer(encode({"store_type": "SqlStore", "workspaces_enabled": False}))
        method = "GET" if request.method == "HEAD" else request.method
        prefix = next((each for each in _PROXY if request.path.startswith(each)), None)
        if prefix is not None and method == "GET":
            return await self._download(request, request.path.removeprefix(prefix))
        if prefix is not None and method == "PUT":
            return await self._upload(request, request.path.removeprefix(prefix))
        route, fields = _TABLE.match(method, request.path)
        body = await self.body(request) if method != "GET" else b""
        asked = read(route.asks, fields, request.query, body)
        return Answer(encode(await self._threaded(request.actor, route.act, self._records, asked)))

    async def _download(self, request: Request, path: str) -> Answer:
        file = await self._threaded(request.actor, open_file, self._records, path)
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return Answer(b"", kind.encode(), file=file)

    async def _upload(self, request: Request, path: str) -> Answer:
        with tempfile.NamedTemporaryFile(prefix="mainspring-upload-") as spool:
            declared = request.headers.get(b"content-md5")
            md5 = None if declared is None else hashlib.md5(usedforsecurity=False)
            while True:
                message = await asyncio.wait_for(request.receive(), self.read_timeout_s)
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError("the client went away before its file was complete")
                spool.write(part := message.get("body", b""))
                if md5 is not None:
                    md5.update(part)
                if not message.get("more_body"):
                    break
            spool.flush()
            if md5 is not None and (came := base64.b64encode(md5.digest())) != (declared or b"").strip():
                raise InvalidError(
                    "Content-MD5", (declared or b"").decode("latin-1"), f"{came.decode()}, that of what came"
                )
            await self._threaded(request.actor, put_file, self._records, path, Path(spool.name))
        return Answer(b"{}")

    async def _threaded(self, actor: Actor | None, act: Callable[..., Any], *given: Any) -> Any:
        run = self._context.copy().run
        return await asyncio.get_running_loop().run_in_executor(self._pool, run, _as, actor, act, *given)


@contextmanager
def _refusing(request: Request) -> Iterator[None]:
    """Have what goes wrong in the block be said to who asked, in the codes of MLflow's clients."""
    try:
        yield
    except MainspringError as error:
        code, status = refusal(error)
        if status >= 500:
            _log.warning("request %s: %s", request.id.decode(), redact(str(error)))
        raise RequestError(status, redact(str(error)), error_code=code) from error
    except (RequestError, ConnectionError):
        raise
    except Exception as error:
        _log.exception("request %s failed", request.id.decode())
        text = f"This request failed ({type(error).__name__}). The log of the server has more."
        raise RequestError(500, text) from error


def _as(actor: Actor | None, act: Callable[..., Any], *given: Any) -> Any:
    """Act as who called; who is nobody known acts as the one whom the server runs as."""
    with acting(actor) if actor else nullcontext():
        return act(*given)
