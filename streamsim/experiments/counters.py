"""Counters of an experiment, as its owner gets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamsim.storage.contract.decisions import Summary


def shown(summary: Summary, iso: Callable[[int], str]) -> dict[str, Any]:
    """Numbers of calls and the dates of the last ones; null where there was none.

    :param iso: writes a date.
    """

    def last(date_ms: int | None) -> str | None:
        return None if date_ms is None else iso(date_ms)

    return {
        "get_action_calls": summary.action_calls,
        "last_added_get_action": last(summary.last_action_ms),
        "set_reward_calls": summary.reward_calls,
        "last_added_set_reward": last(summary.last_reward_ms),
    }
