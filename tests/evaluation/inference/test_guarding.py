"""What guardrails look at: the same differences as inference, and seldom harm where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from streamsim.evaluation.inference import asymptotic
from streamsim.evaluation.inference.guarding import HORIZON, Differences
from streamsim.evaluation.inference.running import BURN_IN
from streamsim.evaluation.inference.scores import aipw
from tests.effort import LONG

LOOKS, PER_LOOK = 30, 100


def test_sums_give_what_the_formulas_give_on_the_whole_log() -> None:
    rng = np.random.default_rng(5)
    n, arms = 1_500, 3
    chance = rng.dirichlet([4.0, 3.0, 2.0], n) * 0.85 + 0.05
    taken = np.array([rng.choice(arms, p=row / row.sum()) for row in chance])
    figure = rng.normal(taken * 0.3, 1.0)
    found = Differences(arms, 1)
    for row in range(n):
        found.add(int(taken[row]), chance[row].tolist(), float(figure[row]))
    scores = [aipw(taken == arm, figure, chance[:, arm]).after(BURN_IN) for arm in range(arms)]
    for place in (0, 2):
        score = scores[place].score - scores[1].score
        first = 1 / chance[BURN_IN, place] + 1 / chance[BURN_IN, 1]
        r = asymptotic.tuned(HORIZON * float(figure[:BURN_IN].var()) * float(first), 0.05)
        mean, interval = asymptotic.last(score, 0.05, r)
        told = found.of(place, 0.05)
        assert told is not None
        assert told.n == n - BURN_IN
        assert (told.estimate, told.low, told.high) == pytest.approx(
            (mean, interval.low, interval.high), rel=1e-9
        )


def test_nothing_is_told_before_there_is_enough_behind_both_arms() -> None:
    found = Differences(2, 0)
    rng = np.random.default_rng(1)
    for n in range(1_000):
        found.add(0, (0.99, 0.01), float(rng.normal()))
        assert found.of(1, 0.05) is None, n
    never = Differences(2, 0)
    for _ in range(500):
        never.add(1, (0.5, 0.5), 1.0)  # all alike: nothing to train on
    assert never.of(1, 0.05) is None


def test_an_arm_that_could_not_be_drawn_adds_nothing() -> None:
    rng = np.random.default_rng(2)
    one, other = Differences(3, 0), Differences(3, 0)
    for _ in range(2_000):
        off = rng.random() < 0.5
        chances = (0.5, 0.5, 0.0) if off else (0.4, 0.3, 0.3)
        taken = int(rng.choice(3, p=chances))
        figure = float(rng.normal(taken))
        one.add(taken, chances, figure)
        other.add(taken, chances, figure)
    told = one.of(2, 0.05)
    assert told is not None
    assert told.n < 1_200
    assert told.low < 2 < told.high


def test_without_harm_guardrails_trip_in_at_most_5_percent_of_runs() -> None:
    """Thompson sampling on rewards, two arms with equal metrics, 30 looks of 100 decisions."""
    runs = 1_000 if LONG else 60
    tripped = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        found = Differences(2, 0)
        won, lost = np.ones(2), np.ones(2)
        harmful = False
        for _ in range(LOOKS):
            draws = rng.beta(won, lost, (400, 2))
            chance = 0.05 + 0.9 * float((draws[:, 1] > draws[:, 0]).mean())
            taken = (rng.random(PER_LOOK) < chance).astype(int)
            reward = rng.random(PER_LOOK) < 0.3
            for arm in (0, 1):
                won[arm] += (reward & (taken == arm)).sum()
                lost[arm] += (~reward & (taken == arm)).sum()
            for arm, figure in zip(taken.tolist(), rng.exponential(1.0, PER_LOOK).tolist(), strict=True):
                found.add(arm, (1 - chance, chance), figure)
            told = found.of(1, 0.05)
            harmful |= told is not None and told.low > 0
        tripped += harmful
    print(f"false trips: {tripped} of {runs}")
    assert tripped <= 0.05 * runs


def test_planted_harm_is_found() -> None:
    rng = np.random.default_rng(3)
    found = Differences(2, 0)
    for n in range(5_000):
        taken = int(rng.random() < 0.5)
        found.add(taken, (0.5, 0.5), float(rng.exponential(1.0 + taken)))
        told = found.of(1, 0.05)
        if told is not None and told.low > 0:
            assert n < 1_000
            return
    raise AssertionError("no harm was found in 5,000 decisions")
