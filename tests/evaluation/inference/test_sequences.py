"""Confidence sequences: their formulas step by step, what they hold for, and how wide they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamsim.evaluation.adaptive import ill_posed
from streamsim.evaluation.inference import asymptotic, betting, fixed_time
from streamsim.evaluation.inference.scores import Scores, aipw
from tests.effort import LONG
from tests.evaluation.inference.null import Run, thompson

ALPHA, HORIZON = 0.05, 3000.0
REPETITIONS = 1000 if LONG else 100


def scored(run: Run) -> tuple[Scores, Scores]:
    first = aipw(run.first, run.reward, run.chance, start=0.5)
    return first, aipw(~run.first, run.reward, 1 - run.chance, start=0.5)


def told(run: Run, first: int, last: int) -> bool:
    """Whether enough decisions stand behind both arms for an interval to be given."""
    drawn, e = run.first[first:last], run.chance[first:last]
    return not ill_posed(drawn / e) and not ill_posed(~drawn / (1 - e))


def test_scores_are_those_of_the_formula() -> None:
    run = thompson(3, 0.1, (0.3, 0.6))
    found = aipw(run.first, run.reward, run.chance, start=0.5)
    total, count, everything = 0.0, 0, 0.0
    for t in range(len(run.reward)):
        overall = everything / t if t else 0.5
        m = (total + overall) / (count + 1)
        expected = m + (float(run.reward[t]) - m) / run.chance[t] * run.first[t]
        assert found.score[t] == pytest.approx(expected, abs=1e-9)
        assert found.score[t] >= -m * (1 - run.chance[t]) / run.chance[t] - 1e-9
        everything += float(run.reward[t])
        if run.first[t]:
            total, count = total + float(run.reward[t]), count + 1


@pytest.mark.parametrize(
    ("variance", "alpha", "r", "reach"),
    # Computed with normal_mixture(variance, alpha, 1 / r**2) of PyPI ville 0.1.0.
    [
        (500.0, 0.05, 0.05, 78.2442028970318),
        (20_000.0, 0.01, 0.013, 526.2953264690611),
        (3.0, 0.1, 0.7, 5.269897027122222),
    ],
)
def test_the_asymptotic_sequence_reaches_as_far_as_another_implementation_says(
    variance: float, alpha: float, r: float, reach: float
) -> None:
    assert float(asymptotic.radius(1.0, variance, alpha, r)) == pytest.approx(reach, rel=1e-12)


def test_the_asymptotic_sequence_is_tightest_about_where_it_was_tuned_for() -> None:
    def reach(r: float) -> float:
        return float(asymptotic.radius(1e4, 2500.0, ALPHA, r))

    least = min(reach(r) for r in np.geomspace(1e-4, 1.0, 2000))
    assert reach(asymptotic.tuned(2500.0, ALPHA)) <= 1.001 * least


def test_the_whole_asymptotic_sequence_ends_in_what_is_computed_for_its_end() -> None:
    score = 1000 + np.random.default_rng(4).normal(size=500)
    low, high = asymptotic.sequence(score, ALPHA, 0.05)
    mean, interval = asymptotic.last(score, ALPHA, 0.05)
    assert (low[-1], high[-1]) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert mean == pytest.approx(score.mean())


def test_the_lower_end_is_the_largest_mean_at_which_the_money_reached_its_mark() -> None:
    rng = np.random.default_rng(11)
    n, alpha, tightest = 160, 0.05, 60.0
    score, worst, scale = rng.normal(0.8, 0.3, n).clip(-0.2), np.full(n, 0.2), rng.uniform(0.5, 1.5, n)
    draws = [tightest, 10, 80, 640, 5120, 40_960, 327_680, 2_621_440]

    def most(mean: float) -> float:
        """The largest money after 16, 32, ... decisions, one step at a time."""
        money, best = [0.5] + [0.5 / 7] * 7, 0.0
        for i in range(n):
            for j in range(8):
                bet = min(scale[i] * math.sqrt(2 * math.log(1 / alpha) / draws[j]), 0.75 / (worst[i] + 1))
                money[j] *= 1 + bet * (score[i] - mean)
            if (i + 1) % 16 == 0:
                best = max(best, sum(money))
        return best

    end = betting.lower_end(score, worst, scale, alpha, tightest, (0.0, 1.0))
    assert 0.5 < end < 0.8
    assert most(end - 1e-6) >= 1 / alpha > most(end + 1e-6)


@pytest.mark.parametrize("chance", [0.5, 0.1])
def test_after_ten_thousand_decisions_a_sequence_is_at_most_1_6_times_as_wide_as_a_fixed_interval(
    chance: float,
) -> None:
    rng = np.random.default_rng(5)
    n = 10_000
    e = np.full(n, chance)
    drawn = rng.random(n) < e
    reward = (rng.random(n) < 0.3).astype(np.float64)
    first, second = aipw(drawn, reward, e, start=0.5), aipw(~drawn, reward, 1 - e, start=0.5)
    difference = first.score - second.score
    fixed = fixed_time.normal_interval(float(difference.mean()), float(difference.var()) / n, ALPHA)
    bets = betting.of_difference(first, second, ALPHA, n)
    _, asymptotically = asymptotic.last(difference, ALPHA, asymptotic.tuned(n * difference.var(), ALPHA))
    width = fixed.high - fixed.low
    assert (bets.high - bets.low) / width <= 1.6
    assert (asymptotically.high - asymptotically.low) / width <= 1.6
    arm = betting.of_arm(first, ALPHA, n)
    mean, variance = fixed_time.weighted(first.score, fixed_time.constant_allocation(e))
    of_arm = fixed_time.normal_interval(mean, variance, ALPHA)
    assert (arm.high - arm.low) / (of_arm.high - of_arm.low) <= 1.6


@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_equal_arms_are_hardly_ever_called_different_however_often_one_looks(
    floor: float, capsys: pytest.CaptureFixture[str]
) -> None:
    bets = asymptotically = naive = missed = 0
    for seed in range(REPETITIONS):
        run = thompson(seed, floor, (0.3, 0.3))
        first, second = scored(run)
        found = betting.of_difference(first, second, ALPHA, HORIZON)
        bets += not found.low <= 0 <= found.high
        arm = betting.of_arm(first, ALPHA, HORIZON)
        missed += not arm.low <= 0.3 <= arm.high
        late = (first.score - second.score)[100:]
        e = run.chance[100]
        r = asymptotic.tuned(HORIZON * 0.21 / (e * (1 - e)), ALPHA)
        low, high = asymptotic.sequence(late, ALPHA, r)
        looks = [look for look in range(99, len(late), 100) if not low[look] <= 0 <= high[look]]
        asymptotically += any(told(run, 100, 101 + look) for look in looks)
        naive += run.naive
    with capsys.disabled():
        print(
            f"\n{REPETITIONS} runs of two equal arms, floor {floor}, looked at daily for 30 days: ever "
            f"different by betting {bets / REPETITIONS:.1%}, "
            f"asymptotically {asymptotically / REPETITIONS:.1%}, by a "
            f"z-test {naive / REPETITIONS:.1%}; an arm's mean missed {missed / REPETITIONS:.1%}"
        )
    assert max(bets, asymptotically, missed) <= 0.05 * REPETITIONS
    assert naive > 0.2 * REPETITIONS


def test_a_difference_that_is_there_is_found() -> None:
    found = 0
    for seed in range(30):
        first, second = scored(thompson(seed, 0.1, (0.3, 0.5)))
        interval = betting.of_difference(first, second, ALPHA, HORIZON)
        assert interval.low <= -0.1
        assert interval.high >= -0.3
        found += interval.high < 0
    assert found >= 28


def test_the_asymptotic_sequence_covers_a_difference_of_arms_that_drift_together() -> None:
    wrong = 0
    for seed in range(REPETITIONS):
        run = thompson(seed, 0.1, (0.2, 0.2), drift=0.5)
        first, second = scored(run)
        e = run.chance[100]
        r = asymptotic.tuned(HORIZON * 0.21 / (e * (1 - e)), ALPHA)
        low, high = asymptotic.sequence((first.score - second.score)[100:], ALPHA, r)
        wrong += bool(((low > 0) | (high < 0))[99:].any())
    assert wrong <= 0.05 * REPETITIONS
