"""Health of simulated logs of known make: units, nested experiments, doses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsim import values
from streamsim.evaluation import live_health
from streamsim.evaluation.estimation import Estimation
from streamsim.evaluation.wire import EstimatesLoad
from tests.policies.play import ENTRIES, Player, seed

NOW = 1_000_000


def checks(decisions: list[dict[str, Any]], unit: str | None = None, **properties: Any) -> dict[str, Any]:
    rows = [{"date_ms": number, **row} for number, row in enumerate(decisions)]
    found = live_health.examine(rows, [], [], properties, NOW, unit)
    return {check["name"]: check for check in found["checks"]}


def assigned(rng: np.random.Generator, share: float, alarms: int = 33) -> list[dict[str, Any]]:
    """60 users who keep their arm, with so many decisions each."""
    arms = ["ab"[int(rng.random() >= share)] for _ in range(60)]
    return [
        {"context": {"user": f"u{user}"}, "action": {"arm": arms[user]}, "propensity": 0.5,
         "probabilities": {"a": 0.5, "b": 0.5}}
        for _ in range(alarms) for user in range(60)
    ]  # fmt: skip


def test_by_unit_a_healthy_assignment_is_healthy_and_an_ill_one_is_ill() -> None:
    for number in range(12):
        check = checks(assigned(np.random.default_rng(number), 0.5), "user")["sample_ratio"]
        assert check["ok"]
        assert check["detail"]["decisions"] == 60
        assert check["detail"]["unit"] == "user"
        assert (check["detail"]["with_several_arms"], check["detail"]["without_unit"]) == (0, 0)
    assert not checks(assigned(np.random.default_rng(1), 0.9), "user")["sample_ratio"]["ok"]


def test_units_that_change_their_arm_and_decisions_without_unit_are_counted() -> None:
    rows = assigned(np.random.default_rng(1), 0.5)
    rows[60] = {**rows[60], "action": {"arm": "b" if rows[60]["action"]["arm"] == "a" else "a"}}
    rows[61] = {**rows[61], "context": {}}
    detail = checks(rows, "user")["sample_ratio"]["detail"]
    assert (detail["with_several_arms"], detail["without_unit"]) == (1, 1)
    missing = checks(rows, "customer")["sample_ratio"]
    assert missing["ok"]
    assert "no context has the field 'customer'" in missing["sentence"]


def nested_log(n: int) -> list[dict[str, Any]]:
    seed(3)
    player = Player(ENTRIES["nested-policies"])
    rows = []
    for _ in range(n):
        action, probabilities = player.decide({})
        reward = float(np.random.random() < (0.5 if action["arm"] == "treatment" else 0.3))
        player.learn({}, action, {"value": reward})
        rows.append({"context": {}, "action": action, "probabilities": probabilities,
                     "propensity": action["propensity"], "reward": reward})  # fmt: skip
    return rows


def test_nested_experiments_are_weighed_and_counted_by_their_arm() -> None:
    rows = nested_log(1500)
    found = checks(rows)
    assert found["propensities"]["ok"]
    assert found["sample_ratio"]["ok"]
    counted = found["sample_ratio"]["detail"]["arms"]
    assert {arm: one["count"] for arm, one in counted.items()} == {
        arm: sum(row["action"]["arm"] == arm for row in rows) for arm in ("control", "treatment")
    }
    # P(arm) over all experiments makes weights of mean 1, and the estimate that of the truth: both are sums
    # of martingale differences, whose variances follow from what the experiments told beforehand.
    load = EstimatesLoad("jsonl", "arm", None, 10_000, ["ips"], 0)
    estimation = Estimation(load)
    kept = ("context", "action", "probabilities", "propensity", "reward")
    estimation.add_text(b"\n".join(values.dump({name: row[name] for name in kept}) for row in rows))
    n = estimation.read()
    estimation.add_probabilities([{"treatment": 0.5, "control": 0.5}] * n, n)
    (ips,) = estimation.answer(200)["estimates"]
    weights = np.array([0.5 / row["propensity"] for row in rows])
    chances = np.array([[row["probabilities"][arm] for arm in ("treatment", "control")] for row in rows])
    spread = (0.25 / chances).sum(axis=1) - 1
    assert abs(weights.mean() - 1) < 4 * spread.sum() ** 0.5 / n
    squares = (0.25 * np.array([0.5, 0.3]) / chances).sum(axis=1)
    assert abs(ips["value"] - 0.4) < 4 * (squares - 0.16).sum() ** 0.5 / n


def test_a_dose_is_no_arm_and_has_no_propensity() -> None:
    rng = np.random.default_rng(2)
    rows = [
        {"context": {}, "action": {"dose": float(x)}, "propensity": 0.005}
        for x in rng.uniform(2, 3, size=400)
    ]
    found = checks(rows)
    assert not {"propensities", "sample_ratio", "arms"} & found.keys()
    assert found["dose"]["ok"]
    assert "no arm" in found["dose"]["sentence"]
    assert found["dose"]["detail"]["p50"] == pytest.approx(2.5, abs=0.1)
    # Numbers that come again are arms.
    levels = [{"context": {}, "action": {"dose": x}, "propensity": 0.25} for x in [0.5, 1.5, 2.5, 3.5] * 100]
    assert {"propensities", "sample_ratio", "arms"} <= checks(levels).keys()
