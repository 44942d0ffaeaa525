"""The storage contract of logs, as they are read; they are written by commits."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import msgspec

LogKind = Literal["action", "reward", "manual", "theta", "simulation", "error"]


class LogRow(msgspec.Struct, frozen=True, gc=False):
    """One row of an experiment's log. `id` is unique among all rows; the first one stays.

    `position`, of rows as read back, rises in commit order per experiment and kind; `before` pages by it.
    """

    experiment_id: str
    kind: LogKind
    id: str
    date_ms: int
    data: bytes
    position: str = ""


class LogStore(Protocol):
    """Logs, in any backend."""

    async def read_log(
        self, experiment_id: str, kind: LogKind, *, limit: int, before: str = ""
    ) -> list[LogRow]:
        """Newest first, at most `limit`, only rows whose position is lower than `before` if it is given.

        Sees every row whose commit was acknowledged before the call. :raises ValueError: for a `before`
        that no row of this log could have."""


async def pages(
    logs: LogStore, experiment_id: str, kind: LogKind, limit: int, at_once: int
) -> AsyncGenerator[list[LogRow], None]:
    """The newest `limit` rows of a log, newest first, at most `at_once` at a time."""
    before, left = "", limit
    while left > 0:
        size = min(at_once, left)
        page = await logs.read_log(experiment_id, kind, limit=size, before=before)
        yield page
        if len(page) < size:
            break
        before, left = page[-1].position, left - size
