"""What a model takes of a request, with the features that are read for it: of one, or of several in one read of the store."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mainspring.errors import StorageError, WrongTypeError
from mainspring.models.signature import Columns
from mainspring.secrets import redact
from mainspring.serving.failures import refusal_of
from mainspring.serving.online import OnlinePredictor
from mainspring.serving.predictions.record import Entry
from mainspring.web.request_error import RequestError

_RETRY = ((b"retry-after", b"1"),)
_log = logging.getLogger("mainspring.serving")


class Filling:
    """Reads the features of requests to one model, which is told of as `name`; for any number of threads.

    An entry that is filled already is left as it is.
    """

    def __init__(self, name: str, predictor: OnlinePredictor) -> None:
        self._name, self._predictor = name, predictor

    def one(self, entry: Entry, at_us: int | None = None) -> Columns:
        """The model's columns of an entry, which is filled then, as of an instant: now, if none is said.

        Raises:
            RequestError: 422, the request has a value of a wrong type, or a feature is missing that the model can't do
                without; 503, the features can't be read now; 500, a function of the project failed.
        """
        filled = entry.filled
        if filled is None:
            try:
                filled = self._predictor.fill(entry.columns, entry.rows, entry.request_id, at_us)
            except StorageError as error:
                raise unread(error, entry.request_id) from error
            except WrongTypeError as error:  # a value of the request that its declared type can't hold
                raise RequestError(422, str(error)) from error
            except BaseException as error:  # the event loop would end by some of what a function may raise
                raise refusal_of(error, entry.request_id, f"reading the features of {self._name}") from error
            entry.filled = filled
        if filled.problems:
            raise RequestError(422, str(filled.problems[0]), problems=filled.problems)
        return filled.columns

    def together(self, entries: Sequence[Entry]) -> list[Columns | RequestError]:
        """For each entry its columns, or what is answered to it instead: as `one` gives and raises, in one read for all."""
        asked = [entry for entry in entries if entry.filled is None]
        if len(asked) > 1:
            try:
                found = self._predictor.fill_together([(each.columns, each.rows, each.request_id) for each in asked])
            except BaseException:  # noqa: BLE001  # which of the entries it was is found out below
                found = []
            for entry, filled in zip(asked, found, strict=False):
                entry.filled = filled
        return [self._tried(entry) for entry in entries]

    def _tried(self, entry: Entry) -> Columns | RequestError:
        try:
            return self.one(entry)
        except RequestError as error:
            return error


def unread(error: Exception, request_id: str) -> RequestError:
    """What is answered where features can't be read."""
    _log.warning("request %s: %s", request_id, redact(str(error)) or "the features were not read in time")
    return RequestError(503, "The features can't be read now. Send the request again.", _RETRY)
