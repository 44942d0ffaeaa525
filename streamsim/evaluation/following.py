"""Reading a log as it grows."""

from __future__ import annotations

from typing import Final

from streamsim.storage.contract.logs import LogKind, LogRow, LogStore

_AT_ONCE: Final = 500
_PAGE_BYTES: Final = 1 << 20


class Follower:
    """Reads what came to a log since the last time."""

    def __init__(self, logs: LogStore, experiment_id: str, kind: LogKind, most: int) -> None:
        self._logs, self._experiment_id, self._kind, self._most = logs, experiment_id, kind, most
        self._last = ""

    async def fresh(self) -> list[LogRow]:
        """Oldest first; of a log that was not read before, the newest rows."""
        found: list[LogRow] = []
        before = ""
        while len(found) < self._most:
            page = await self._logs.read_log(
                self._experiment_id, self._kind, limit=_AT_ONCE, before=before, max_bytes=_PAGE_BYTES
            )
            for row in page:
                if row.position == self._last:
                    break
                found.append(row)
            else:
                if page:
                    before = page[-1].position
                    continue
            break
        if found:
            self._last = found[0].position
        return found[::-1]
