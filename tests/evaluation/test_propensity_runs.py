"""Propensities estimated from runs: what is rarer than the runs can tell is said, and has no interval."""

from __future__ import annotations

import numpy as np
import pytest

from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.offpolicy import Estimate, evaluate
from streamsim.evaluation.own_log import from_logs
from streamsim.evaluation.sample import prepare

RUNS = 200


def estimates(p: float, seed: int, n: int = 4000) -> dict[str, Estimate]:
    """A log in which arm b has probability p; the candidate plays it, and every reward of it is 1."""
    rng = np.random.default_rng(seed)
    rare = rng.random(n) < p
    chance = np.where(rare, p, 1 - p)
    estimated = (rng.binomial(RUNS - 1, chance) + 1) / RUNS
    actions = ["b" if one else "a" for one in rare]
    rewards = (rng.random(n) < 0.5).astype(np.float64)
    data = DecisionLog([{}] * n, actions, rewards, estimated, runs=[RUNS] * n)
    sample = prepare(data, ("a", "b"), np.tile([0.0, 1.0], (n, 1)))
    return {one.estimator: one for one in evaluate(sample, ["ips", "snips", "dr"]).estimates}


def test_an_arm_rarer_than_the_runs_can_tell_has_no_interval_and_its_cause_is_said() -> None:
    for seed in range(20):
        for one in estimates(0.002, seed).values():
            assert one.interval is None
            text = " ".join(one.warnings)
            assert "out of 200 to 200 runs" in text or "never takes" in text


def test_an_arm_that_the_runs_can_tell_keeps_its_interval() -> None:
    covered = 0
    for seed in range(40):
        ips = estimates(0.2, seed)["ips"]
        assert ips.interval is not None
        assert "runs" not in " ".join(ips.warnings)
        covered += ips.interval.low <= 0.5 <= ips.interval.high
    assert covered >= 33


def test_propensities_and_their_runs_are_found_without_advice_ids() -> None:
    decision = {"context": {"x": 1}, "action": {"arm": "a"}, "propensity": 0.25, "propensity_runs": 180}
    reward = {"context": {"x": 1}, "action": {"arm": "a"}, "reward": {"value": 1}, "date_ms": 5}
    data = from_logs([{**decision, "date_ms": 1}], [reward])
    assert (data.propensities.tolist(), list(data.runs)) == ([0.25], [180])


def test_a_log_without_propensities_says_how_to_have_some() -> None:
    data = DecisionLog([{}] * 3, ["a", "b", "a"], np.ones(3), np.full(3, np.nan))
    found = evaluate(prepare(data, ("a", "b"), np.full((3, 2), 0.5)), ["ips"]).estimates[0]
    assert "log_propensity" in found.warnings[0]
    assert found.value is None
    assert found.standard_error == pytest.approx(None)


def test_the_gain_over_the_log_is_paired_and_its_interval_holds() -> None:
    covered, narrower = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        arm, mood = rng.integers(2, size=600), rng.normal(size=600)
        reward = 0.2 * arm + mood
        contexts = [{"mood": float(one)} for one in mood]
        data = DecisionLog(contexts, ["ab"[k] for k in arm], reward, np.full(600, 0.5))
        dr = evaluate(prepare(data, ("a", "b"), np.tile([0.0, 1.0], (600, 1))), ["dr"]).estimates[0]
        assert dr.gain is not None
        assert dr.interval is not None
        covered += dr.gain.low <= 0.1 <= dr.gain.high
        narrower += dr.gain.high - dr.gain.low < 0.5 * (dr.interval.high - dr.interval.low)
    assert covered >= 52
    assert narrower == 60
