"""Decisions without a reward: which count with the default reward, which wait, what is said of the rest."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from streamsim import values
from streamsim.dates import HOUR_MS
from streamsim.errors import BadRequest
from streamsim.evaluation import live_health
from streamsim.evaluation.estimation import Estimation
from streamsim.evaluation.own_log import Window, from_logs
from streamsim.evaluation.wire import EstimatesLoad

TRUTH = 0.2
NOW = 1_000 * HOUR_MS
ALL = ["ips", "snips", "dm", "dr", "sndr"]


def logged(n: int, *, seed: int = 1, ids: bool = True, until: int = NOW) -> dict[str, list[Any]]:
    """Decisions of a fair coin, and the rewards of conversions only: no reward is posted for the others."""
    rng = np.random.default_rng(seed)
    decisions, rewards = [], []
    for number in range(n):
        action = {"arm": "ab"[rng.integers(2)], "n": number}
        row: dict[str, Any] = {"context": {}, "action": action, "propensity": 0.5}
        row["date_ms"] = until - (n - number) * HOUR_MS // 10
        if ids:
            row["advice_id"] = f"id{number}"
        decisions.append(row)
        if rng.random() < TRUTH:
            rewards.append({**row, "reward": {"value": 1}, "date_ms": row["date_ms"] + 1000})
    return {"action": decisions, "reward": rewards}


def answer(rows: dict[str, list[Any]], **options: Any) -> dict[str, Any]:
    load = EstimatesLoad(None, "arm", None, 100_000, ALL, 0, now_ms=NOW)
    estimation = Estimation(msgspec.structs.replace(load, **options))
    for kind, some in rows.items():
        estimation.add_rows(kind, [(values.dump(row), row["date_ms"]) for row in reversed(some)])
    n = estimation.read()
    estimation.add_probabilities([{"a": 0.9, "b": 0.1}] * n, n)
    return estimation.answer(200)


def test_decisions_whose_time_is_up_count_with_the_default_reward() -> None:
    rows = logged(2000, until=NOW - 24 * HOUR_MS)
    found = answer(rows, window_hours=24, default_reward={"value": 0})
    assert found["log"]["defaulted"] == 2000 - len(rows["reward"])
    assert found["log"]["unrewarded"] == found["log"]["waiting"] == 0
    for one in found["estimates"]:
        assert one["interval"]["low"] < TRUTH < one["interval"]["high"], one
        assert one["bounds"] is None


def test_decisions_whose_time_is_not_up_are_left_out_with_the_rewards_that_came_early() -> None:
    rows = logged(2000)
    # A decision was made every tenth of an hour: the newest 240 are within the window of a day.
    found = answer(rows, window_hours=24, default_reward={"value": 0})
    assert found["log"]["waiting"] == pytest.approx(240, abs=1)
    assert found["log"]["rows"] == 2000 - found["log"]["waiting"]
    for one in found["estimates"]:
        assert one["interval"]["low"] < TRUTH < one["interval"]["high"], one


@pytest.mark.parametrize(
    "options",
    [
        {"window_hours": 0, "default_reward": {"value": 0}},
        {"window_hours": 720, "default_reward": {"value": 0}},
        {"window_hours": 24, "default_reward": None},
    ],
)
@pytest.mark.parametrize("ids", [True, False])
def test_what_may_be_missing_is_bounded_and_said(options: dict[str, Any], ids: bool) -> None:
    rows = logged(2000, ids=ids, until=NOW - 48 * HOUR_MS)
    found = answer(rows, **options)
    without = 2000 - len(rows["reward"])
    assert found["log"]["unrewarded"] == without
    for one in found["estimates"]:
        assert one["value"] == pytest.approx(1, abs=0.05)
        low, high = one["bounds"]["low"], one["bounds"]["high"]
        # The estimates with all missing rewards 0 and 1.
        share = len(rows["reward"]) / 2000
        assert (low, high) == pytest.approx((share, 1), abs=0.05)
        assert f"{without:,} of 2,000 decisions" in one["warnings"][0]
        assert "have no reward" in one["warnings"][0]


def test_a_log_with_all_its_rewards_is_used_whole_before_any_time_is_up() -> None:
    rows = logged(500)
    rows["reward"] = [{**row, "reward": {"value": 1}} for row in rows["action"]]
    data = from_logs(
        rows["action"],
        rows["reward"],
        action_field="arm",
        reward_field="value",
        window=Window(720, {"value": 0}, NOW),
    )
    assert (len(data), data.waiting, data.unrewarded) == (500, 0, 0)


def test_rewards_that_no_decision_is_like_may_belong_to_any_of_them() -> None:
    rows = logged(100, ids=False)
    rewards = [{**row, "context": {"changed": 1}, "reward": {"value": 0}} for row in rows["action"][:90]]
    data = from_logs(rows["action"], rewards, action_field="arm")
    assert (len(data), data.unrewarded) == (90, 0)


def test_a_log_without_any_reward_is_refused() -> None:
    rows = logged(50)
    with pytest.raises(BadRequest, match="no logged rewards"):
        answer({**rows, "reward": []}, window_hours=720)


@pytest.mark.parametrize(("every", "ok"), [(1, True), (5, False)])
def test_health_says_that_most_decisions_have_no_reward_also_without_advice_ids(every: int, ok: bool) -> None:
    rows = logged(200, ids=False)
    rewards = [{**row, "reward": {"value": 1}} for row in rows["action"][::every]]
    found = live_health.examine(rows["action"], rewards, [], {"arm_field": "arm"}, NOW)
    check = next(check for check in found["checks"] if check["name"] == "rewards")
    assert check["ok"] is ok
    assert ("estimates on this log mislead" in check["sentence"]) is not ok
