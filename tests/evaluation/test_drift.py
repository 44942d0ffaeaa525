"""Drift: planted changes are found where they are, and seldom are there any where nothing changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from streamsim.dates import HOUR_MS
from streamsim.evaluation import drift, live_health
from tests.effort import LONG

NOW = 1_800_000_000_000


def rows(n: int, seed: int, means: Any, **more: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Decisions between two arms, evenly, one each minute, and their rewards; `means(place, arm)`."""
    rng = np.random.default_rng(seed)
    decisions, rewards = [], []
    for place in range(n):
        arm = "ab"[int(rng.random() < 0.5)]
        row = {
            "advice_id": str(place),
            "context": {"id": place, "age": float(rng.integers(20, 60)), "site": "xyz"[int(rng.integers(3))]},
            "action": {"arm": arm},
            "propensity": 0.5,
            "probabilities": {"a": 0.5, "b": 0.5},
            "date_ms": NOW + place * HOUR_MS // 60,
        }
        decisions.append(row | {name: make(place, row) for name, make in more.items()})
        rewards.append(
            {
                "advice_id": str(place),
                "reward": int(rng.random() < means(place, arm)),
                "date_ms": row["date_ms"],
            }
        )
    return decisions, rewards


def checks(decisions: Any, rewards: Any, **properties: Any) -> dict[str, Any]:
    found = live_health.examine(decisions, rewards, [], properties, NOW)
    return {check["name"]: check for check in found["checks"]}


def test_where_nothing_changes_nothing_is_said_to() -> None:
    runs = 1_000 if LONG else 60
    wrong = 0
    for seed in range(runs):
        found = checks(*rows(600, seed, lambda place, arm: 0.3 if arm == "a" else 0.6))
        assert found["shares"]["ok"]
        wrong += not (found["reward_drift"]["ok"] and found["context_drift"]["ok"])
    print(f"false alarms: {wrong} of {runs}")
    assert wrong <= max(1, 0.005 * runs)


def test_a_change_of_one_arms_rewards_is_named_with_its_date() -> None:
    found = checks(*rows(2_000, 1, lambda place, arm: 0.2 if arm == "a" or place < 1_200 else 0.6))
    check = found["reward_drift"]
    assert not check["ok"]
    (changed,) = check["detail"]["changed"]
    assert changed["name"] == "arm b"
    assert changed["before"] == pytest.approx(0.2, abs=0.06)
    assert changed["after"] == pytest.approx(0.6, abs=0.06)
    assert changed["since"][:10] in check["sentence"]
    assert found["context_drift"]["ok"]


def test_a_policy_that_learns_to_take_the_better_arm_has_no_drift() -> None:
    rng = np.random.default_rng(4)
    decisions, rewards = rows(2_000, 2, lambda place, arm: 0.0)
    for place, (decision, reward) in enumerate(zip(decisions, rewards, strict=True)):
        arm = "b" if rng.random() < 0.1 + 0.8 * place / 2_000 else "a"
        decision["action"] = {"arm": arm}
        reward["reward"] = int(rng.random() < (0.8 if arm == "b" else 0.2))
    assert checks(decisions, rewards)["reward_drift"]["ok"]


def test_a_change_of_contexts_is_named_by_field_and_value() -> None:
    def context(place: int, row: dict[str, Any]) -> dict[str, Any]:
        before: dict[str, Any] = row["context"]
        return before | ({"age": before["age"] + 10, "site": "x"} if place >= 900 else {})

    check = checks(*rows(1_500, 3, lambda place, arm: 0.5, context=context))["context_drift"]
    assert not check["ok"]
    assert {"context.age", "context.site=x"} <= {one["name"] for one in check["detail"]["changed"]}
    assert not any("id" in one["name"] for one in check["detail"]["changed"])


def test_the_course_of_days_is_no_change() -> None:
    # Four days of decisions, of which every day has its hours.
    def context(place: int, row: dict[str, Any]) -> dict[str, Any]:
        return {"hour": (place // 60) % 24}

    assert checks(*rows(5_760, 5, lambda place, arm: 0.5, context=context))["context_drift"]["ok"]


def test_the_p_value_is_kolmogorovs() -> None:
    for x in (0.1, 0.3, 0.5, 1.0, 1.95, 4.0):
        assert drift.kolmogorov(x) == pytest.approx(special.kolmogorov(x), abs=1e-12)
    some = np.random.default_rng(1).integers(0, 9, 500).astype(float)
    assert drift.mid_ranks(some).tolist() == stats.rankdata(some).tolist()
    figures = np.arange(100) >= 50
    found = drift.change(figures.astype(float))
    assert found is not None
    assert (found.place, found.before, found.after) == (50, 0.0, 1.0)
    assert found.p_value < 1e-6
    assert drift.change(np.ones(500)) is None
    assert drift.change(np.arange(99.0)) is None


def test_shares_that_collapsed_are_told_and_those_of_a_floor_are_not() -> None:
    def taken(place: int, row: dict[str, Any]) -> dict[str, Any]:
        return {"arm": "b"} if place >= 700 else row["action"]

    for floor, ok in ((0.0, False), (0.01, True)):

        def told(place: int, row: dict[str, Any], floor: float = floor) -> dict[str, float]:
            return {"a": floor, "b": 1 - floor} if place >= 700 else row["probabilities"]

        decisions, rewards = rows(1_500, 6, lambda place, arm: 0.5, action=taken, probabilities=told)
        check = checks(decisions, rewards)["shares"]
        assert check["ok"] == ok
        assert check["statistic"] == 1.0
