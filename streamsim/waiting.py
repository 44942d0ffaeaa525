"""Waiting for something, but not for ever."""

from __future__ import annotations

import asyncio


async def until(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after so long.

    Not `asyncio.wait_for`, which in Python 3.11 loses a cancellation that comes together with the event.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
