"""Answers that come piece by piece: server-sent events, and the elements of a JSON array."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from streamsim_client.errors import Unreadable

_decoder = json.JSONDecoder()


async def events(texts: AsyncGenerator[str, None]) -> AsyncGenerator[tuple[str, Any], None]:
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


async def elements(texts: AsyncGenerator[str, None]) -> AsyncGenerator[Any, None]:
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
