"""How long tests wait for what must happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE_S = 120.0
"""Only ends what hangs: no test is about time, and a busy machine may stand still for many seconds."""


async def eventually(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> None:
    """Until the condition, which may be a coroutine function, holds."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.02)
