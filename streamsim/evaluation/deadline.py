"""The longest time that a request may compute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from streamsim.errors import BadRequest

T = TypeVar("T")
SIMULATE: Final = "N", "ask for fewer draws (N), or make a simulation job"
COMPARE: Final = "N", "ask for fewer draws (N) or replications"
OWN_LOG: Final = (
    "rows",
    "ask for fewer of the newest decisions (rows), or fewer runs of the candidate (runs)",
)
UPLOAD: Final = "log", "send fewer rows of the log, or ask for fewer runs of the candidate (runs)"
"""The field of a request that makes it long, and what its sender can do."""


def too_long(seconds: float, what: tuple[str, str]) -> BadRequest:
    """What a request is told that took longer than `evaluation.request_s`."""
    field, advice = what
    return BadRequest(f"this takes longer than {seconds:g} s (evaluation.request_s): {advice}", field=field)


async def in_time_of(deadline: float, work: Awaitable[T], seconds: float, what: tuple[str, str]) -> T:
    """The outcome of a part of a request, which is cancelled at the deadline of the whole.

    :param deadline: in the event loop's time; `seconds` after the request began.
    :raises BadRequest: it takes longer.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError:
        raise too_long(seconds, what) from None


@asynccontextmanager
async def in_time(seconds: float, what: tuple[str, str]) -> AsyncIterator[None]:
    """Whatever a request computes. :raises BadRequest: it takes longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise too_long(seconds, what) from None
