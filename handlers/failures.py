"""Failures as what clients are told, and what the log keeps of them."""

from __future__ import annotations

import logging
from http.client import responses

from streamsim.errors import StreamsimError, Unavailable
from streamsim.storage.contract.errors import StoreUnavailable

log = logging.getLogger("streamsim.http")

_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}


def expected(error: BaseException | None, status: int) -> StreamsimError:
    """Any failure as an expected one. :param status: that of a failure which does not carry one."""
    if isinstance(error, StreamsimError):
        return error
    if isinstance(error, StoreUnavailable):
        return Unavailable("the store cannot be reached now")
    if status >= 500:
        failure = StreamsimError("an error of the server, which logged it under this answer's X-Request-Id")
    else:
        message = getattr(error, "log_message", None) or responses.get(status, "error")
        failure = StreamsimError(message, field=getattr(error, "arg_name", None))
    failure.status, failure.code = status, _CODES.get(status, "internal" if status >= 500 else "error")
    return failure


def log_failure(method: str, path: str, request_id: str, error: BaseException) -> None:
    """Log what is a bug or an outage."""
    if isinstance(error, StreamsimError):
        return
    where = f"{method} {path} (request {request_id})"
    if isinstance(error, StoreUnavailable):
        log.warning("%s: %s", where, error)
    else:
        log.error("bug in %s", where, exc_info=error)
