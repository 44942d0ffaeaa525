"""The storage contract of statistics: what was summed up of logs, so that an answer reads what came since.

They can be made anew from the logs at any time, and are no part of a migration.
"""

from __future__ import annotations

from typing import Final, Protocol

KEPT: Final = 8
"""Of so many names an experiment's statistics are kept; those that were written longest ago go."""
MAX_BYTES: Final = 8 << 20


class StatisticsStore(Protocol):
    """Statistics, in any backend."""

    async def get_statistics(self, experiment_id: str, name: str) -> bytes | None:
        """What was put under a name last; None if nothing was, or it is gone."""

    async def put_statistics(self, experiment_id: str, name: str, data: bytes, now_ms: int) -> None:
        """Keep them, in place of what there was.

        :raises ValueError: more than `MAX_BYTES`."""


def check_size(data: bytes) -> None:
    """:raises ValueError: they are too large to be kept."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"statistics have at most {MAX_BYTES} bytes")
