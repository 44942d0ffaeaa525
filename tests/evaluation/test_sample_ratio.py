"""The ratio of arms: by units, where decisions repeat them, and valid however often one looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsim.evaluation import health, live_health


def decisions(seed: int, chance: float = 0.5) -> list[dict[str, Any]]:
    """60 users who keep the arm that they were given, with 33 decisions each."""
    rng = np.random.default_rng(seed)
    rows = [
        {"context": {"user": f"u{user}"}, "action": {"arm": arm}, "propensity": 0.5, "date_ms": 1}
        for user, arm in enumerate("ab"[int(rng.random() >= chance)] for _ in range(60))
        for _ in range(33)
    ]
    return [rows[place] for place in rng.permutation(len(rows))]


def ratio(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        check
        for check in live_health.examine(rows, [], [], {"arm_field": "arm"}, 2)["checks"]
        if check["name"] == "sample_ratio"
    )
    return found


def test_a_healthy_assignment_of_users_who_keep_their_arm_gives_no_alarm() -> None:
    checks = [ratio(decisions(seed)) for seed in range(24)]
    assert all(check["ok"] for check in checks)
    assert checks[0]["detail"]["decisions"] == 60
    assert checks[0]["detail"]["unit"] == "user"
    assert "Each context.user counts once" in checks[0]["sentence"]


def test_an_assignment_of_users_that_is_not_as_logged_is_found() -> None:
    assert not ratio(decisions(1, chance=0.95))["ok"]


def test_published_counts_give_their_published_p_value() -> None:
    check = health.ratio_of_counts({"a": 821_588, "b": 815_482}, {"a": 0.5, "b": 0.5})
    assert check.statistic == pytest.approx(22.774, abs=5e-4)
    assert check.p_value == pytest.approx(1.82e-6, rel=5e-3)
    assert check.ok is False


def test_looking_after_every_decision_alarms_no_more_often_than_said() -> None:
    rng = np.random.default_rng(1)
    alarms = fixed = 0
    half = np.array([0.5, 0.5])
    for _ in range(200):
        taken = rng.integers(2, size=2000)
        first = np.cumsum(taken == 0)[19::20]
        n = np.arange(20, 2001, 20)
        looks = [np.array([a, m - a], dtype=np.float64) for a, m in zip(first, n, strict=True)]
        alarms += any(health.sequential_p(counts, half) < 0.05 for counts in looks)
        fixed += bool((np.abs(first - n / 2) > 1.96 * np.sqrt(n) / 2).any())
    assert alarms <= 0.05 * 200
    # What a fixed test gives to those who look all the time.
    assert fixed > 0.3 * 200
