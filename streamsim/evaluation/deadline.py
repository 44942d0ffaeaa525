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
    "ask for fewer of the newest decisions (rows) or fewer runs of the candidate (runs), or make it a job "
    "(background)",
)
UPLOAD: Final = (
    "log",
    "send fewer rows of the log, ask for fewer runs of the candidate (runs), or make it a job (background)",
)
RATIO: Final = "log", "send fewer rows, or counts"
HEALTH: Final = "rows", "ask for fewer rows"
INFERENCE: Final = (
    "until",
    "ask again, and it goes on where it stopped; with by, until or a shadow, ask for earlier decisions",
)
"""The field of a request that makes it long, and what its sender can do."""


@asynccontextmanager
async def in_time(
    seconds: float, what: tuple[str, str], deadline: float | None = None
) -> AsyncIterator[None]:
    """Whatever a request computes, or a part of it.

    :param seconds: `evaluation.request_s`.
    :param deadline: the whole request's, in the event loop's time; by default `seconds` from now.
    :raises BadRequest: it takes longer; what it waited for was cancelled.
    """
    if deadline is None:
        deadline = asyncio.get_running_loop().time() + seconds
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        field, advice = what
        raise BadRequest(
            f"this takes longer than {seconds:g} s (evaluation.request_s): {advice}", field=field
        ) from None
