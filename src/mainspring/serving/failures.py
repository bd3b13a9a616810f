"""What is answered to a request at which code of the project failed, or its model's process is away."""

from __future__ import annotations

import logging
import math
from traceback import format_exception

from mainspring.errors import ModelAwayError, ModelError
from mainspring.secrets import redact
from mainspring.web.request_error import RequestError

_log = logging.getLogger("mainspring.serving")


class RaisedError(RuntimeError):
    """Tells of what a model `raised` where that itself would end, stop or cancel who waits for the answer."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised
        super().__init__(": ".join(filter(None, [f"The model raised {type(raised).__name__}", said_by(raised)])))


def raised_by(error: BaseException) -> BaseException:
    """What a model raised, of which an error may only tell."""
    return error.raised if isinstance(error, RaisedError) else error


def refusal_of(error: BaseException, request_id: str, what: str) -> RequestError:
    """The answer to a request at which `what` raised this. What is the server's to look into is in its log."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, ModelAwayError):
        return RequestError(503, str(error), ((b"retry-after", b"%d" % math.ceil(error.retry_s)),))
    trace = error.trace if isinstance(error, ModelError) else "".join(format_exception(raised_by(error)))
    _log.error("request %s: %s failed\n%s", request_id, what, redact(sendable(trace)).rstrip())
    kind = error.kind if isinstance(error, ModelError) else type(raised_by(error)).__name__
    return RequestError(500, f"{what} failed on this request ({kind}). The log of the server has more.")


def said_by(error: BaseException) -> str:
    """What an error says, as a text that can be sent: a class of a project may fail to make one."""
    try:
        return sendable(str(error))
    except BaseException:  # noqa: BLE001  # a class of a project may raise anything
        return "its text failed, too"


def sendable(text: str) -> str:
    """A text with what UTF-8 has no form for, half of a surrogate pair, as an escape."""
    return text.encode(errors="backslashreplace").decode()
