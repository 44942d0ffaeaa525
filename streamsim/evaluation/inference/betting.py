"""Confidence sequences for rewards in [0, 1], which hold at every look from the first decision on.

Waudby-Smith, Wu, Ramdas, Karampatziakis, Mineiro, "Anytime-valid off-policy inference for contextual
bandits" (ACM/IMS Journal of Data Science 1, 2024; arXiv:2210.10768, 2022). Who bets against a mean, at
odds that are fair if it is the true one, multiplies his money by 1 / alpha at any time with probability
alpha at most (Ville 1939): a mean against which that much was won is refused, for ever.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from streamsim.evaluation.inference.scores import Scores
from streamsim.evaluation.intervals import Floats, Interval

MOST: Final = 0.75
"""The largest part of the money that may be lost in one decision."""
_BLOCK: Final = 16
"""The money is counted after every so many decisions, and after the last."""
_DRAWS: Final = (10.0, 80.0, 640.0, 5120.0, 40_960.0, 327_680.0, 2_621_440.0)
_STEPS: Final = 24


def of_arm(arm: Scores, alpha: float, horizon: float) -> Interval:
    """The sequence of an arm's mean, after n decisions.

    :param arm: its scores, of rewards in [0, 1]. :param alpha: for both sides together.
    :param horizon: the number of decisions where it should be tightest, fixed before.
    """
    worst = arm.predicted * (1 - arm.chance) / arm.chance
    best = (1 - arm.predicted) * (1 - arm.chance) / arm.chance
    scale = arm.chance / arm.spread
    tightest = horizon * float(arm.chance[0])
    low = lower_end(arm.score, worst, scale, alpha / 2, tightest, (0.0, 1.0))
    return Interval(low, 1 - lower_end(1 - arm.score, best, scale, alpha / 2, tightest, (0.0, 1.0)))


def of_difference(first: Scores, second: Scores, alpha: float, horizon: float) -> Interval:
    """The sequence of the first arm's mean less the second's, likewise."""
    scale = 1 / np.sqrt(
        (first.spread**2 / first.chance + second.spread**2 / second.chance)
        * (1 / first.chance + 1 / second.chance)
    )
    tightest = horizon / float(1 / first.chance[0] + 1 / second.chance[0])

    def end(one: Scores, other: Scores) -> float:
        # The least that the score can be: one's arm earns 0, or the other's 1.
        middle = one.predicted - other.predicted
        worst = np.minimum(middle - one.predicted / one.chance, middle - (1 - other.predicted) / other.chance)
        return lower_end(one.score - other.score, -worst, scale, alpha / 2, tightest, (-1.0, 1.0))

    return Interval(end(first, second), -end(second, first))


def lower_end(
    score: Floats, worst: Floats, scale: Floats, alpha: float, tightest: float, within: tuple[float, float]
) -> float:
    """The largest mean that was refused at some time up to now as too low, in `within`; its low end for none.

    nu is refused once the mixture over j of prod_i (1 + l_ij (score_i - nu)) has reached 1 / alpha. The bets
    l_ij = scale_i sqrt(2 log(1 / alpha) / n_j), at most MOST / (worst_i + the high end), do not depend on
    nu, so that the product falls in nu and one search finds the end.

    :param score: n scores with the same conditional mean. :param worst: n numbers, score_i >= -worst_i.
    :param scale: n numbers, the standard deviation of rewards over the variance of the score.
    :param tightest: the n_j, in draws of an arm, that has half of the money at first.

    `worst` and `scale` may depend on decisions before the i-th alone, `tightest` on none.
    """
    draws = np.array([max(tightest, 1.0), *_DRAWS])
    money = np.array([0.5, *(0.5 / len(_DRAWS) for _ in _DRAWS)])
    limit = MOST / np.maximum(worst + within[1], 1e-9)
    bets = np.minimum(
        scale[:, None] * np.sqrt(-2 * math.log(alpha) / draws), limit[:, None], dtype=np.float64
    )
    short = -len(score) % _BLOCK
    bets = np.pad(bets, ((0, short), (0, 0))).reshape(-1, _BLOCK, len(draws))
    figures = np.pad(score, (0, short)).reshape(-1, _BLOCK, 1)
    won = bets * figures + 1

    def refused(mean: float) -> bool:
        wealth = np.cumsum(np.log((won - bets * mean).prod(axis=1)), axis=0) + np.log(money)
        return bool(np.logaddexp.reduce(wealth, axis=1).max(initial=-math.inf) >= -math.log(alpha))

    low, high = within
    if not refused(low):
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if refused(middle) else (low, middle)
    return low
