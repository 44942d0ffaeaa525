"""What goes wrong, as exceptions: no answer, one that cannot be read, or an error that the server tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from streamsim_client.values import Json, Object


class ClientError(Exception):
    """The root of all errors that this client raises by itself."""


class Disconnected(ClientError):
    """The connection failed before the whole answer was there.

    `sent`: whether the request may have reached the server. If so, what it asks for may have been done.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class TimedOut(Disconnected):
    """The server did not answer in the client's `timeout_s`. What was asked for may still be done."""


class Unreadable(ClientError):
    """An answer that is not what this service gives, e.g. a proxy's page."""


class ServerError(ClientError):
    """An error that the server answered; subclasses say which statuses they stand for.

    :param status: the HTTP status.
    :param code: one of docs/api-bandit.md; of a run endpoint the `type` of its error record.
    :param message: the server's words.
    :param field: the input at fault, if it names one.
    :param detail: more facts: of policy code its piece and line, of the run endpoints the rest of the record.
    :param request_id: the answer's `X-Request-Id`, under which the server logs.
    :param retry_after_s: seconds after which the server asks to try again.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        detail: Json = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.detail = detail
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        at = f" (field {self.field})" if self.field else ""
        of = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.status} {self.code}: {self.message}{at}{of}"


class BadRequest(ServerError):
    """400: missing or malformed input; of a run endpoint also an error of the model's code."""


class Unauthorized(ServerError):
    """401: not logged in, a wrong password or key, or an experiment that is not yours."""


class Forbidden(ServerError):
    """403"""


class NotFound(ServerError):
    """404: there is no such thing, or it is not yours."""


class Conflict(ServerError):
    """409: it contradicts the present state, e.g. an advice id that was redeemed, or a taken name."""


class TooLarge(ServerError):
    """413: over a documented bound."""


class Unprocessable(ServerError):
    """422: an idempotency key that came with another reward, or code of a policy or a model that failed."""


class TooManyRequests(ServerError):
    """429: too many wait; `retry_after_s` says when to try again."""


class InternalError(ServerError):
    """500: a bug of the server, which logged it under `request_id`."""


class Unavailable(ServerError):
    """502 or 503: the server, or its store, is away or stopping."""


class CodeTimeout(ServerError):
    """504: the policy's or model's code took too long."""


_CLASSES: dict[int, tuple[type[ServerError], str]] = {
    400: (BadRequest, "bad_request"),
    401: (Unauthorized, "unauthorized"),
    403: (Forbidden, "forbidden"),
    404: (NotFound, "not_found"),
    405: (ServerError, "method_not_allowed"),
    409: (Conflict, "conflict"),
    413: (TooLarge, "too_large"),
    422: (Unprocessable, "unprocessable"),
    429: (TooManyRequests, "too_many_requests"),
    500: (InternalError, "internal"),
    502: (Unavailable, "unavailable"),
    503: (Unavailable, "unavailable"),
    504: (CodeTimeout, "timeout"),
}
_STATUSES = {
    **{code: status for status, (_, code) in _CLASSES.items()},
    "policy_error": 422,
    "policy_rejected": 422,
    "policy_memory": 422,
    "policy_crashed": 422,
    "policy_timeout": 504,
}


def told(response: httpx.Response) -> ServerError:
    """The error that an answer tells, in any of the service's three forms, or in a proxy's."""
    status = response.status_code
    about: Object = {
        "request_id": response.headers.get("X-Request-Id"),
        "retry_after_s": _seconds(response.headers.get("Retry-After")),
    }
    kind, code = _CLASSES.get(status, (ServerError, f"http_{status}"))
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    found = body.get("error") if isinstance(body, dict) else None
    if isinstance(found, dict):
        return _of_record(status, found, about)
    if isinstance(found, str):
        return kind(status, code, found, **about)
    if found is True:
        rest = {name: value for name, value in body.items() if name not in ("type", "message", "error")}
        return kind(
            status, str(body.get("type", code)), str(body.get("message")), detail=rest or None, **about
        )
    return kind(status, code, response.reason_phrase or "an error without an explanation", **about)


def of_element(record: Mapping[str, Json]) -> ServerError:
    """The error of one element of a batch, whose status its code tells."""
    return _of_record(_STATUSES.get(str(record.get("code")), 400), record, {})


def _of_record(status: int, record: Mapping[str, Json], about: Object) -> ServerError:
    kind, code = _CLASSES.get(status, (ServerError, f"http_{status}"))
    return kind(
        status,
        str(record.get("code", code)),
        str(record.get("message", "")),
        field=record.get("field"),
        detail=record.get("detail"),
        **about,
    )


def _seconds(text: str | None) -> float | None:
    """`Retry-After`: a number of seconds, or a date. None if it is neither."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (then - datetime.now(UTC)).total_seconds())
