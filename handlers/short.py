"""The calls that are made most, from a parsed request to the service without a handler object.

`SHORT` says which these are. Their handlers stay the specification: whatever is not plain, or is wrong in the
request, is left to them, so that this knows one answer only: that the call is under way.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from handlers import scenarios
from handlers.base import bearer, logged_in
from handlers.core import REWARD_FIELDS, ActionHandler, RewardHandler, given, reward_call
from streamsim import values
from streamsim.accounts.accounts import Credential
from streamsim.config import Settings
from streamsim.decisions.calls import Answer, Decision, Pending
from streamsim.errors import StreamsimError, error_body
from streamsim.services import Services
from streamsim.values import JsonObject

# What Tornado replaces in arguments.
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1f]")
_ACTION_FIELDS: Final = frozenset({"key", "context", "action"})
_JSON: Final = frozenset({"context", "action", "reward", "metrics"})
_FEW: Final = frozenset({"action", "reward"})
"""Fields that have few values, which are sent again and again."""
_REMEMBERED, _REMEMBERED_BYTES = 256, 128
"""So many of these values are remembered, those that take so few bytes of a query."""


class Given(NamedTuple):
    """What the headers of such a call say that its handler need not look at.

    `length`: bytes of its body. `is_json`: whether that is JSON. `authorization`: the header of this name, or
    "". `request_id`: its caller's, if it is a plain one, or "". `keep`: whether the connection is kept.
    """

    length: int
    is_json: bool
    authorization: str
    request_id: str
    traceparent: bytes
    keep: bool


class Asked(NamedTuple):
    """A request for such a call.

    `place`: the experiment or the instance that its path names. `body`: of a POST; None of a GET.
    """

    place: str
    query: bytes
    body: bytes | None
    given: Given


class Answering(Answer, Protocol):
    """Where the answer goes, and who asked, once that is known; while `work` is done for it."""

    user: str | None
    work: asyncio.Task[None] | None


Begin: TypeAlias = Callable[[Services, Asked, Answering], bool]


class Short(NamedTuple):
    """What is known of such a call: its route, how to begin with it, and how an error is told.

    `begin` raises `NotPlain`, or as the service does, with nothing done, if its handler has to look at it.
    """

    route: str
    begin: Begin
    told: Callable[[Settings, StreamsimError], tuple[int, JsonObject]]


class NotPlain(Exception):
    """The handler has to look at this."""


def submit(services: Services, call: Short, asked: Asked, answering: Answering) -> bool:
    """Begin with a call; False, with nothing done, if its handler has to look at it."""
    try:
        return call.begin(services, asked, answering)
    except (NotPlain, StreamsimError, values.InvalidValue):
        return False


# ---- queries


def unquoted(value: bytes) -> bytes:
    """A value of a query, unquoted: `+` is a space, `%7B` a byte, and `%` before anything else is itself."""
    if b"+" in value:
        value = value.replace(b"+", b" ")
    if b"%" not in value:
        return value
    try:
        # Python's own escapes, for this is decoded in C and takes a tenth of the time.
        plain = value.replace(b"\\", b"\\\\") if b"\\" in value else value
        return codecs.escape_decode(plain.replace(b"%", b"\\x"))[0]
    except ValueError:
        return unquote_to_bytes(value)


class _QueryFields:
    """Reads the fields of queries as the handlers do. :param known: their names.

    Of some the values are shared between calls, and not to be changed.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = {name.encode(): (name, name in _JSON, name in _FEW) for name in known}
        self._values: dict[bytes, Any] = {}

    def of(self, query: bytes) -> dict[str, Any]:
        """:raises NotPlain: :raises InvalidValue:"""
        fields: dict[str, Any] = {}
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            known = self._known.get(name)
            if known is None:
                if b"%" in name or b"+" in name:
                    raise NotPlain
                continue
            field, is_json, few = known
            if field in fields:
                raise NotPlain
            if few and value in self._values:
                fields[field] = self._values[value]
            elif is_json:
                # What Tornado replaces in a text is no JSON.
                if value:
                    fields[field] = values.parse(unquoted(value), field)
                    if few:
                        self._remember(value, fields[field])
            else:
                fields[field] = _text(value)
        return fields

    def _remember(self, quoted: bytes, value: Any) -> None:
        if len(quoted) <= _REMEMBERED_BYTES:
            if len(self._values) >= _REMEMBERED:
                self._values.clear()
            self._values[quoted] = value


def _text(quoted: bytes) -> str | None:
    try:
        text = unquoted(quoted).decode()
    except UnicodeDecodeError:
        raise NotPlain from None
    if not text.isprintable() and _CONTROL.search(text):
        raise NotPlain
    return text.strip() or None


# ---- getaction and setreward


def _action(fields: dict[str, Any], size: int) -> Pending:
    if not fields.keys() <= _ACTION_FIELDS:
        raise NotPlain
    return Decision(given(fields.get("context")), present=fields.get("action"), size=size)


def _queue(known: frozenset[str], many: bytes, make: Callable[[dict[str, Any], int], Pending]) -> Begin:
    """:param known: the fields of a query. :param many: what a body of many calls has in it.
    :param make: the call, of its fields and the bytes it came in.
    """
    query_fields = _QueryFields(known)

    def begin(services: Services, asked: Asked, answering: Answering) -> bool:
        place, query, body, _ = asked
        if body is None:
            fields, size = query_fields.of(query), len(query)
        elif many in body:
            return False
        else:
            fields, size = values.parse(body, "body"), len(body)
            if type(fields) is not dict:
                return False
        key = fields.get("key")
        if type(key) is not str or not key:
            return False
        call = make(fields, size)
        call.answer = answering
        return services.decisions.submitted(place, key, call)

    return begin


def _told(_settings: Settings, error: StreamsimError) -> tuple[int, JsonObject]:
    return error.status, error_body(error)


# ---- run-step


def _step(services: Services, asked: Asked, answering: Answering) -> bool:
    credential = bearer(asked.given.authorization)
    if credential is None or asked.body is None or asked.query:
        return False
    body = None
    if asked.body and asked.given.is_json:
        body = values.parse(asked.body, "body", max_values=scenarios.MAX_VALUES)
        if type(body) is not dict:
            return False
    work = _stepped(services, credential, asked.place, body, answering)
    answering.work = asyncio.get_running_loop().create_task(work)
    return True


async def _stepped(
    services: Services, credential: Credential, instance: str, body: JsonObject | None, answering: Answering
) -> None:
    try:
        user = await logged_in(services, credential)
        answering.user = user.name
        answer = await services.instances.step(user.name, instance, body)
    except Exception as error:
        answering.set_exception(error)
    else:
        answering.set_result(answer)


SHORT: Final = {
    b"getaction": Short("/getaction/{exp_id}", _queue(_ACTION_FIELDS, ActionHandler.many, _action), _told),
    b"setreward": Short("/setreward/{exp_id}", _queue(REWARD_FIELDS, RewardHandler.many, reward_call), _told),
    b"run-step": Short("/{instance:part}/run-step", _step, scenarios.told),
}
"""By the part of the path that is not an id."""
PATH: Final = re.compile(rb"/(getaction|setreward)/([0-9A-Za-z_]+)|/([0-9a-f]{32})/(run-step)")
"""Their paths: a call and the experiment that it is about, or an instance and a call."""
