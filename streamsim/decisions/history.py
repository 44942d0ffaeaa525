"""What the code of an experiment may read of its past: rows of its logs, and the counters of its calls."""

from __future__ import annotations

from typing import Any, Final, Protocol

from streamsim.dates import iso
from streamsim.storage.contract.decisions import Summary, ThetaAddress, ThetaRows
from streamsim.storage.contract.logs import LogKind, LogStore, pages

MAX_ROWS: Final = 10_000
_AT_ONCE: Final = 200
KINDS: Final[dict[str, LogKind]] = {
    kind: kind for kind in ("action", "reward", "manual", "theta", "simulation")
}
WireLog = list[tuple[str, bytes]]
"""Rows on the wire, newest first: (date, JSON object text)."""


class Readable(Protocol):
    """What code that runs reads of a `DecisionStore`."""

    async def read_theta(self, scope: ThetaAddress) -> ThetaRows: ...

    async def summary(self, experiment_id: str) -> Summary: ...


async def rows(logs: LogStore, experiment_id: str, kind: LogKind, limit: int, room: int) -> WireLog:
    """The newest rows of a log.

    :param limit: at most so many; 0, and more than `MAX_ROWS`, is `MAX_ROWS`.
    :param room: no more rows than take so many bytes.
    """
    found: WireLog = []
    size = 0
    async for page in pages(logs, experiment_id, kind, min(limit or MAX_ROWS, MAX_ROWS), _AT_ONCE):
        for row in page:
            size += len(row.data) + 64
            if size > room:
                return found
            found.append((iso(row.date_ms), row.data))
    return found


async def summary(store: Readable, experiment_id: str) -> dict[str, Any]:
    """The counters as StreamingBandit gives them to code, with a sentence for a date that there is not."""
    found = await store.summary(experiment_id)
    action_ms, reward_ms = found.last_action_ms, found.last_reward_ms
    return {
        "get_action_calls": found.action_calls,
        "last_added_get_action": "No get_action calls yet." if action_ms is None else iso(action_ms),
        "set_reward_calls": found.reward_calls,
        "last_added_set_reward": "No set_reward calls yet." if reward_ms is None else iso(reward_ms),
    }
