"""Dates: integers of milliseconds since 1970 UTC inside, ISO 8601 text outside."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


def now_ms() -> int:
    """Now, in ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def parse_iso(text: str) -> int:
    """A date in ISO 8601 in ms since 1970 UTC; one without a zone is in UTC. :raises ValueError:"""
    date = datetime.fromisoformat(text)
    return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * 1000)


def iso(date_ms: int) -> str:
    """A date as ISO 8601 text in UTC with milliseconds: `2026-01-31T09:30:00.125Z`."""
    date = datetime.fromtimestamp(date_ms // 1000, UTC).replace(microsecond=date_ms % 1000 * 1000)
    return date.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
