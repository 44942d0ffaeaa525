"""Reading a log as it grows."""

from __future__ import annotations

from typing import Final

from streamsim.storage.contract.logs import LogKind, LogRow, LogStore, is_last, pages

_AT_ONCE: Final = 5_000
_PAGE_BYTES: Final = 4 << 20
_SKEW_MS: Final = 2_000
"""So far the clocks of processes may be apart."""


class Follower:
    """Reads what came to a log since the last time.

    :param whole: whether a log that was not read before is read from its first row on, which waits for
        nothing; else its newest `most` rows are.
    """

    def __init__(
        self, logs: LogStore, experiment_id: str, kind: LogKind, most: int, *, whole: bool = False
    ) -> None:
        self._logs, self._experiment_id, self._kind, self._most = logs, experiment_id, kind, most
        self._last = ""
        self._begun = whole

    async def fresh(self, now_ms: int) -> list[LogRow]:
        """Oldest first; all that there are now, and perhaps some that come while it reads."""
        found = await self._on(now_ms + _SKEW_MS) if self._begun else await self._newest()
        self._begun = self._begun or bool(found)
        if found:
            self._last = found[-1].position
        return found

    async def _on(self, until_ms: int) -> list[LogRow]:
        found: list[LogRow] = []
        after, more = self._last, True
        while more:
            page = await self._logs.follow_log(
                self._experiment_id, self._kind, limit=_AT_ONCE, after=after, max_bytes=_PAGE_BYTES
            )
            found += page
            # Who would read to the end of a log that grows as fast would never be done.
            more = not is_last(page, _AT_ONCE, _PAGE_BYTES) and page[-1].date_ms <= until_ms
            after = page[-1].position if page else after
        return found

    async def _newest(self) -> list[LogRow]:
        read = pages(self._logs, self._experiment_id, self._kind, self._most, _AT_ONCE, _PAGE_BYTES)
        return [row async for page in read for row in page][::-1]
