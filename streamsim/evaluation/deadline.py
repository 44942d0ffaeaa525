"""The longest time that a request may compute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from streamsim.errors import BadRequest

T = TypeVar("T")


def too_long(seconds: float) -> BadRequest:
    """What a request is told that took longer than `evaluation.request_s`."""
    return BadRequest(
        f"this takes longer than {seconds:g} s (evaluation.request_s): ask for fewer draws, or make a "
        "simulation job",
        field="N",
    )


async def in_time_of(deadline: float, work: Awaitable[T], seconds: float) -> T:
    """The outcome of a part of a request, which is cancelled at the deadline of the whole.

    :param deadline: in the event loop's time; `seconds` after the request began.
    :raises BadRequest: it takes longer.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError:
        raise too_long(seconds) from None


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Whatever a request computes. :raises BadRequest: it takes longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise too_long(seconds) from None
