"""Several reward rows of one decision: one reward of it counts."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.evaluation.own_log import Window, from_logs


def decision(n: int, date_ms: int = 0) -> dict[str, Any]:
    call = {"context": {"n": n}, "action": {"arm": "a"}}
    return {"advice_id": f"d{n}", **call, "propensity": 0.5, "date_ms": date_ms}


def reward(n: int, value: Any, **more: Any) -> dict[str, Any]:
    return {"advice_id": f"d{n}", "context": {"n": n}, "action": {"arm": "a"}, "reward": value} | more


def test_of_rewards_learnt_one_by_one_the_sum_counts() -> None:
    rows = [reward(1, {"v": 1}), reward(2, {"v": 5}), reward(1, {"v": 2}), reward(1, {"v": 4})]
    log = from_logs([decision(1), decision(2)], rows)
    assert dict(zip((one["n"] for one in log.contexts), log.rewards, strict=True)) == {1: 7, 2: 5}


def test_parts_and_late_rewards_count_only_in_the_row_that_was_learnt() -> None:
    rows = [reward(1, 1, part=True), reward(1, 2, part=True), reward(1, 3, parts=2), reward(1, 9, late=True)]
    log = from_logs([decision(1)], rows)
    assert log.rewards.tolist() == [3]


def test_what_cannot_be_added_is_counted_as_unusable() -> None:
    log = from_logs([decision(1), decision(2)], [reward(1, 1), reward(1, {"v": 2}), reward(2, 3)])
    assert (log.unusable, log.unrewarded) == (1, 1)
    assert [value for value in log.rewards if value == value] == [3]


@pytest.mark.parametrize(("several", "waiting"), [(True, 50), (False, 0)])
def test_while_another_reward_may_come_a_decision_waits(*, several: bool, waiting: int) -> None:
    decisions = [decision(n, date_ms=n * HOUR_MS) for n in range(200)]
    rows = [reward(n, 1, date_ms=n * HOUR_MS) for n in range(200)]
    if several:
        rows.append(reward(3, 1, date_ms=4 * HOUR_MS))
    log = from_logs(decisions, rows, window=Window(50, None, 199 * HOUR_MS))
    assert (len(log), log.waiting) == (200 - waiting, waiting)
