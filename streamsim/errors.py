"""The errors that the engine raises on purpose; the HTTP API turns each into one answer.

Anything else that reaches the HTTP API is a bug and answers 500.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any


class StreamsimError(Exception):
    """An expected failure with an HTTP status, a stable machine-readable code and a message for people.

    :param message: what is wrong and, for bad input, the accepted form.
    :param field: the input field at fault, if one is.
    :param detail: more facts as JSON-ready data, e.g. the piece of policy code and its line.
    """

    status = 400
    code = "bad_request"

    def __init__(self, message: str, *, field: str | None = None, detail: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.detail = detail


class BadRequest(StreamsimError):
    """Missing or malformed input."""


class Unauthorized(StreamsimError):
    """Not logged in, a wrong key, or something that is not the caller's."""

    status, code = 401, "unauthorized"


class NotFound(StreamsimError):
    """The addressed thing does not exist."""

    status, code = 404, "not_found"


class ClientLeft(StreamsimError):
    """The client closed its connection while it waited; what it waited for was given up."""

    status, code = 499, "client_left"


class Conflict(StreamsimError):
    """The request contradicts the present state, e.g. an advice id that was redeemed before."""

    status, code = 409, "conflict"


class TooLarge(StreamsimError):
    """Input over a documented bound."""

    status, code = 413, "too_large"


class Unprocessable(StreamsimError):
    """Well-formed input that cannot be honoured, e.g. an idempotency key with another body."""

    status, code = 422, "unprocessable"


class TooManyRequests(StreamsimError):
    """A queue or a rate limit is full; `retry_after_s` seconds later it may not be."""

    status, code = 429, "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: int = 1, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after_s = retry_after_s


class Unavailable(StreamsimError):
    """A part that this request needs is down or full."""

    status, code = 503, "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PolicyError(StreamsimError):
    """The experiment's own code failed: `detail` names piece, line, exception type and message (I7)."""

    status, code = 422, "policy_error"


class PolicyRejected(PolicyError):
    """The code ran, but what it answered is not allowed: type, size, depth, key or a non-finite number."""

    code = "policy_rejected"


class PolicyMemory(PolicyError):
    """The code used more memory than its limit."""

    code = "policy_memory"


class PolicyCrashed(PolicyError):
    """The process that ran the code ended, or broke the protocol, before it answered."""

    code = "policy_crashed"


class PolicyTimeout(PolicyError):
    """The code used more time than its limit."""

    status, code = 504, "policy_timeout"


class ModelError(StreamsimError):
    """The model's own code failed: `detail` names its file and line, exception type and message (I7)."""

    status, code = 422, "model_error"


class ModelTimeout(ModelError):
    """The model used more time than its limit."""

    status, code = 504, "model_timeout"


def error_body(error: StreamsimError) -> dict[str, Any]:
    """The JSON form of an expected failure: `{"error": {"code", "message", "field"?, "detail"?}}`."""
    record: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.field is not None:
        record["field"] = error.field
    if error.detail is not None:
        record["detail"] = error.detail
    return {"error": record}


def refuse_unknown(names: Iterable[str], known: Container[str], what: str = "field") -> None:
    """A typing error in a request is told, not ignored.

    :param names: what the request has; :param known: what it may have; :param what: their word.
    :raises BadRequest: for the first name that is not known, naming it.
    """
    for name in names:
        if name not in known:
            raise BadRequest(f"there is no {what} {name[:100]}", field=name[:100])
