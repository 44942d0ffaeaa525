"""Code in the shadow: what it would have earned, and how seldom worse code is promoted."""

from __future__ import annotations

import numpy as np
import pytest

from streamsim.evaluation.inference.beside import Beside
from tests.effort import LONG

PRESENT = {"a": 0.5, "b": 0.3, "c": 0.2}
MEANS = {"a": 0.5, "b": 0.4, "c": 0.7}


def play(seed: int, n: int, policy: dict[str, float], *, told: bool = True) -> Beside:
    """A present system that draws from PRESENT, and a policy beside it that draws from its own."""
    rng = np.random.default_rng(seed)
    found = Beside()
    served = rng.choice(list(PRESENT), n, p=list(PRESENT.values()))
    taken = rng.choice(list(policy), n, p=list(policy.values()))
    for arm, other in zip(served.tolist(), taken.tolist(), strict=True):
        reward = float(rng.random() < MEANS[arm])
        found.add(arm, PRESENT[arm], other, policy if told else {other: 1.0}, reward)
    return found


@pytest.mark.parametrize("told", [True, False])
def test_the_value_of_the_policy_is_inside_its_interval_and_so_is_the_gain(*, told: bool) -> None:
    policy = {"a": 0.1, "b": 0.1, "c": 0.8}
    value = sum(p * MEANS[arm] for arm, p in policy.items())
    baseline = sum(p * MEANS[arm] for arm, p in PRESENT.items())
    found = play(1, 6_000, policy, told=told)
    assert found.why_not(0.05) is None
    for one, truth in ((found.value(0.05), value), (found.difference(0.05), value - baseline)):
        assert one is not None
        assert one.low < truth < one.high
        assert one.high - one.low < 0.25
    assert found.same / found.n == pytest.approx(0.5 * 0.1 + 0.3 * 0.1 + 0.2 * 0.8, abs=0.02)


def test_a_policy_of_arms_that_the_present_system_cannot_take_has_no_value() -> None:
    rng = np.random.default_rng(2)
    found = Beside()
    for _ in range(3_000):
        found.add("a", 1.0, "b", {"a": 0.5, "b": 0.5}, float(rng.random() < 0.5))
    assert found.uncovered(0.05)
    assert "weights average 0.5" in str(found.why_not(0.05))


def test_without_the_probability_of_what_was_served_nothing_is_told() -> None:
    found = Beside()
    for n in range(500):
        found.add("a", None, "a", {"a": 1.0}, float(n % 2))
    assert "came without the probability" in str(found.why_not(0.05))
    assert found.value(0.05) is None
    assert found.difference(0.05) is None


def test_a_worse_policy_is_promoted_in_at_most_5_percent_of_simulations() -> None:
    runs, looks, each = (1_000, 30, 100) if LONG else (40, 30, 100)
    promoted = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        found = Beside()
        # As good as the present system but for a hair, which is the hardest.
        policy = {"a": 0.51, "b": 0.3, "c": 0.19}
        for _ in range(looks):
            served = rng.choice(list(PRESENT), each, p=list(PRESENT.values())).tolist()
            taken = rng.choice(list(policy), each, p=list(policy.values())).tolist()
            rewards = (rng.random(each) < [MEANS[arm] for arm in served]).astype(float).tolist()
            for one in zip(served, taken, rewards, strict=True):
                found.add(one[0], PRESENT[one[0]], one[1], {one[1]: 1.0}, one[2])
            gain = found.difference(0.05)
            if gain is not None and gain.low > 0 and not found.uncovered(0.05):
                promoted += 1
                break
    print(f"promoted: {promoted} of {runs}")
    assert promoted <= 0.05 * runs
