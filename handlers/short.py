"""The calls that are made most, from a parsed request to the service without a handler object.

`SHORT` says which these are. Their handlers stay the specification: whatever is not plain, or is wrong in the
request, is left to them, so that this knows one answer only: that the call is under way.
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from handlers import scenarios
from handlers.base import bearer, logged_in
from handlers.core import FIELDS, given, parsed, reward_call
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
_REWARD_FIELDS: Final = FIELDS | {"key"}
_NAMES: Final = {name.encode(): name for name in _ACTION_FIELDS | _REWARD_FIELDS}
_JSON: Final = frozenset({"context", "action", "reward", "metrics"})


class Asked(NamedTuple):
    """A request for such a call.

    `place`: the experiment or the instance that its path names. `body`: of a POST; None of a GET. `is_json`:
    whether its headers say that the body is JSON. `authorization`: its header of this name, or "".
    """

    place: str
    query: bytes
    body: bytes | None
    is_json: bool
    authorization: str


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


# ---- getaction and setreward


def _action(fields: dict[str, Any], size: int) -> Pending:
    if not fields.keys() <= _ACTION_FIELDS:
        raise NotPlain
    return Decision(given(fields.get("context")), present=fields.get("action"), size=size)


def _queue(known: frozenset[str], make: Callable[[dict[str, Any], int], Pending]) -> Begin:
    """:param known: the fields of a query. :param make: the call, of its fields and the bytes it came in."""

    def begin(services: Services, asked: Asked, answering: Answering) -> bool:
        body = asked.body
        fields = _queried(asked.query, known) if body is None else values.parse(body, "body")
        if type(fields) is not dict:
            return False
        key = fields.get("key")
        if type(key) is not str or not key:
            return False
        call = make(fields, len(asked.query) if body is None else len(body))
        call.answer = answering
        return services.decisions.submitted(asked.place, key, call)

    return begin


def _told(_settings: Settings, error: StreamsimError) -> tuple[int, JsonObject]:
    return error.status, error_body(error)


# ---- run-step


def _step(services: Services, asked: Asked, answering: Answering) -> bool:
    credential = bearer(asked.authorization)
    if credential is None or asked.body is None or asked.query:
        return False
    body = None
    if asked.body and asked.is_json:
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
    b"getaction": Short("/getaction/{exp_id}", _queue(_ACTION_FIELDS, _action), _told),
    b"setreward": Short("/setreward/{exp_id}", _queue(_REWARD_FIELDS, reward_call), _told),
    b"run-step": Short("/{instance:part}/run-step", _step, scenarios.told),
}
"""By the part of the path that is not an id."""
PATH: Final = re.compile(rb"/(getaction|setreward)/([0-9A-Za-z_]+)|/([0-9a-f]{32})/(run-step)")
"""Their paths: a call and the experiment that it is about, or an instance and a call."""


def unquoted(value: bytes) -> bytes:
    """A value of a query, unquoted: `+` is a space, `%7B` a byte, and `%` before anything else is itself."""
    if b"+" in value:
        value = value.replace(b"+", b" ")
    if b"%" not in value:
        return value
    try:
        # Python's own escapes, for this is decoded in C and takes a tenth of the time.
        return codecs.escape_decode(value.replace(b"\\", b"\\\\").replace(b"%", b"\\x"))[0]
    except ValueError:
        return unquote_to_bytes(value)


def _queried(query: bytes, known: frozenset[str]) -> dict[str, Any]:
    """The fields of a query, as the handlers have them."""
    fields: dict[str, Any] = {}
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        field = _NAMES.get(name, "")
        if field not in known:
            if b"%" in name or b"+" in name:
                raise NotPlain
            continue
        if field in fields:
            raise NotPlain
        try:
            text = unquoted(value).decode()
        except UnicodeDecodeError:
            raise NotPlain from None
        if not text.isprintable() and _CONTROL.search(text):
            raise NotPlain
        if field in _JSON:
            if text:
                fields[field] = parsed(text, field)
        else:
            fields[field] = text.strip() or None
    return fields
