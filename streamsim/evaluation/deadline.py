"""The longest time that a request may compute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamsim.errors import BadRequest


def too_long(seconds: float) -> BadRequest:
    """What a request is told that took longer than `evaluation.request_s`."""
    return BadRequest(
        f"this takes longer than {seconds:g} s (evaluation.request_s): ask for fewer draws, or make a "
        "simulation job",
        field="N",
    )


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Whatever a request computes. :raises BadRequest: it takes longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise too_long(seconds) from None
