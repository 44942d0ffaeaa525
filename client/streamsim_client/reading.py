"""Answers, whole and piece by piece: JSON, server-sent events, the elements of a JSON array."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import httpx
import msgspec

from streamsim_client.errors import Unreadable
from streamsim_client.values import Json, Object

T = TypeVar("T")

_decoder = json.JSONDecoder()


def content(response: httpx.Response, kind: type[T]) -> T:
    """The JSON value of an answer, as it came: fields that the kind does not have stay.

    :raises Unreadable: it is no JSON, or of another form than the kind.
    """
    try:
        value: Json = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        media = response.headers.get("Content-Type", "unknown type")
        raise Unreadable(
            f"{response.url} answered no JSON but {media}; is this a streamsim server?"
        ) from None
    return checked(value, kind, f"{response.url} answered")


def checked(value: Json, kind: type[T], subject: str = "an element of the answer is") -> T:
    """The value itself, held against a kind. :raises Unreadable: it has another form."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{subject} not what this client expects: {error}") from error
    held: T = value
    return held


async def events(texts: AsyncGenerator[str, None]) -> AsyncGenerator[tuple[str, Object], None]:
    """(event, data) of a stream of server-sent events whose data is JSON; see the HTML standard, 9.2."""
    held = ""
    async with aclosing(texts):
        async for text in texts:
            held += text
            *blocks, held = held.split("\n\n")
            for block in blocks:
                fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
                if "data" in fields:
                    yield fields.get("event", "message"), json.loads(fields["data"])


async def elements(texts: AsyncGenerator[str, None]) -> AsyncGenerator[Object, None]:
    """The elements of a JSON array of objects, each as soon as it is there.

    :raises Unreadable: it is no array, or it broke off.
    """
    held, opened, closed = "", False, False
    async with aclosing(texts):
        async for text in texts:
            held = (held + text).lstrip()
            while held:
                if not opened or held[0] == ",":
                    if not opened and held[0] != "[":
                        raise Unreadable("expecting a JSON array")
                    held, opened = held[1:].lstrip(), True
                    continue
                if held[0] == "]":
                    held, closed = "", True
                    break
                try:
                    element, end = _decoder.raw_decode(held)
                except ValueError:
                    break  # its end is still to come
                held = held[end:].lstrip()
                yield element
    if not closed:
        raise Unreadable("the answer broke off in the middle of a JSON array")
