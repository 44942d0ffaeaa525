"""The storage contract of logs, as they are read; they are written by commits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence
from typing import Final, Literal, Protocol

import msgspec

LogKind = Literal["action", "reward", "manual", "theta", "simulation", "error"]


PAGE_BYTES: Final = 16 << 20
"""A page of a log ends with the row that reaches so many bytes."""


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
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        before: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        """Newest first, at most `limit`, only rows whose position is lower than `before` if it is given.

        The row with which the data has `max_bytes` or more is the last one; see `is_last`.

        Sees every row whose commit was acknowledged before the call. :raises ValueError: for a `before`
        that no row of this log could have."""

    async def follow_log(
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        after: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        """Oldest first, only rows whose position is higher than `after` if it is given; as `read_log`."""

    async def rewards_of(self, experiment_id: str, advices: Collection[str]) -> list[LogRow] | None:
        """The rows of the reward log that have one of these advice ids, in order; sees what `read_log` does.

        None if the log has rows from before there was an index of them: they are found by reading it."""


def within(rows: Iterable[LogRow], max_bytes: int) -> Iterator[LogRow]:
    """The first of the rows that have about so many bytes: the last one may go beyond."""
    left = max_bytes
    for row in rows:
        yield row
        left -= len(row.data)
        if left <= 0:
            break


def is_last(page: Sequence[LogRow], limit: int, max_bytes: int = PAGE_BYTES) -> bool:
    """Whether no more rows come after a page that was read with these."""
    return len(page) < limit and sum(len(row.data) for row in page) < max_bytes


async def pages(
    logs: LogStore, experiment_id: str, kind: LogKind, limit: int, at_once: int, max_bytes: int = PAGE_BYTES
) -> AsyncGenerator[list[LogRow], None]:
    """The newest `limit` rows of a log, newest first, at most `at_once` and about so many bytes at a time."""
    before, left = "", limit
    while left > 0:
        size = min(at_once, left)
        page = await logs.read_log(experiment_id, kind, limit=size, before=before, max_bytes=max_bytes)
        yield page
        if is_last(page, size, max_bytes):
            break
        before, left = page[-1].position, left - len(page)
