"""The calls that are made most, from a parsed request to the service without a handler object.

`SHORT` says which these are. Their handlers in `core` stay the specification: whatever is not plain, or is
wrong, is left to them, so that this knows one answer only: that the call waits in its lane.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from handlers.core import FIELDS, given, parsed, reward_call
from streamsim import values
from streamsim.decisions.calls import Answer, Decision, Pending
from streamsim.decisions.decisions import Decisions
from streamsim.errors import StreamsimError

# What Tornado replaces in arguments.
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1f]")
_ACTION_FIELDS: Final = frozenset({"key", "context", "action"})
_REWARD_FIELDS: Final = FIELDS | {"key"}
_NAMES: Final = {name.encode(): name for name in _ACTION_FIELDS | _REWARD_FIELDS}
_JSON: Final = frozenset({"context", "action", "reward", "metrics"})


class _NotPlain(Exception):
    """The handler has to look at this."""


def _action(fields: dict[str, Any], size: int) -> Pending:
    if not fields.keys() <= _ACTION_FIELDS:
        raise _NotPlain
    return Decision(given(fields.get("context")), present=fields.get("action"), size=size)


SHORT: Final[dict[bytes, tuple[str, frozenset[str], Callable[[dict[str, Any], int], Pending]]]] = {
    b"getaction": ("/getaction/{exp_id}", _ACTION_FIELDS, _action),
    b"setreward": ("/setreward/{exp_id}", _REWARD_FIELDS, reward_call),
}
"""By the first part of the path: the route, the fields of a query, and what makes the call."""


def submit(
    decisions: Decisions, name: bytes, exp_id: str, query: bytes, body: bytes | None, answer: Answer
) -> bool:
    """Queue a call; False, with nothing done, if its handler has to look at it.

    :param name: a key of `SHORT`.
    :param body: of a POST; None of a GET.
    """
    _, known, make = SHORT[name]
    try:
        fields = _queried(query, known) if body is None else values.parse(body, "body")
        if type(fields) is not dict:
            return False
        key = fields.get("key")
        if type(key) is not str or not key:
            return False
        call = make(fields, len(query) if body is None else len(body))
        call.answer = answer
        return decisions.submitted(exp_id, key, call)
    except (_NotPlain, StreamsimError, values.InvalidValue):
        return False


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
                raise _NotPlain
            continue
        if field in fields:
            raise _NotPlain
        try:
            text = unquoted(value).decode()
        except UnicodeDecodeError:
            raise _NotPlain from None
        if not text.isprintable() and _CONTROL.search(text):
            raise _NotPlain
        if field in _JSON:
            if text:
                fields[field] = parsed(text, field)
        else:
            fields[field] = text.strip() or None
    return fields
