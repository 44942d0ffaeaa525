"""The longest time that a request may compute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from streamsim.errors import BadRequest

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


@asynccontextmanager
async def in_time(seconds: float, what: tuple[str, str]) -> AsyncIterator[None]:
    """Whatever a request computes. :raises BadRequest: it takes longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise too_long(seconds, what) from None
