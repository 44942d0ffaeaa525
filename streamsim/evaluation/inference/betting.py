"""Confidence sequences for rewards in [0, 1], which hold at every look from the first decision on.

Waudby-Smith, Wu, Ramdas, Karampatziakis, Mineiro, "Anytime-valid off-policy inference for contextual
bandits" (ACM/IMS Journal of Data Science 1, 2024; arXiv:2210.10768, 2022). Who bets against a mean, at
odds that are fair if it is the true one, multiplies his money by 1 / alpha at any time with probability
alpha at most (Ville 1939): a mean against which that much was won is refused, for ever.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from streamsim.evaluation.inference.scores import Scores
from streamsim.evaluation.intervals import Floats, Interval

MOST: Final = 0.75
"""The largest part of the money that may be lost in one decision."""
_BLOCK: Final = 16
"""The money is counted after every so many decisions, and after the last."""
_DRAWS: Final = (10.0, 80.0, 640.0, 5120.0, 40_960.0, 327_680.0, 2_621_440.0)
_MONEY: Final = np.log(np.array([0.5, *(0.5 / len(_DRAWS) for _ in _DRAWS)]))
_NODES: Final = 40
_ROWS: Final = 2048
_STEPS: Final = 42


class Game(NamedTuple):
    """What is bet on in n decisions: scores with the same conditional mean; the least that each can be is
    -worst; scale, the standard deviation of rewards over the variance of the score."""

    score: Floats
    worst: Floats
    scale: Floats


class LowerEnd:
    """The largest mean that was refused at some time up to now as too low, in `within`; its low end for none.

    nu is refused once the mixture over j of prod_i (1 + l_ij (score_i - nu)) has reached 1 / alpha. The bets
    l_ij = scale_i sqrt(2 log(1 / alpha) / n_j), at most MOST / (worst_i + the high end), do not depend on
    nu, so that the product falls in nu and one search finds the end.

    Of each j the logarithm of the product is kept at Chebyshev's points of `within`, and is between them the
    polynomial through these: it is analytic up to a third beyond the high end, as no bet may lose more than
    MOST, so that this errs by less than 1e-11 (Trefethen, "Approximation Theory and Approximation Practice",
    2013, theorem 8.2). So what is kept is as large after a million decisions as after one.

    :param tightest: the n_j, in draws of an arm, that has half of the money at first. It depends on no
        decision; `worst` and `scale` of a decision may depend on earlier ones alone.
    """

    def __init__(self, alpha: float, tightest: float, within: tuple[float, float]) -> None:
        self._alpha, self._within = alpha, within
        self._growth = np.sqrt(-2 * math.log(alpha) / np.array([max(tightest, 1.0), *_DRAWS]))
        low, high = within
        angles = np.pi * np.arange(_NODES) / (_NODES - 1)
        self._nodes: Floats = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
        self._wealth: Floats = np.zeros((_NODES, len(self._growth)))
        self._end = low
        self._rest = Game(*(np.zeros(0) for _ in Game._fields))

    def add(self, game: Game) -> None:
        """Go on with more decisions."""
        rest = Game(*(np.concatenate(pair) for pair in zip(self._rest, game, strict=True)))
        whole = len(rest.score) // _BLOCK * _BLOCK
        for start in range(0, whole, _ROWS):
            part = Game(*(one[start : min(start + _ROWS, whole)] for one in rest))
            wealth = self._wealth + np.cumsum(self._won(part), axis=0)
            self._end = self._raised(wealth)
            self._wealth = wealth[-1]
        self._rest = Game(*(one[whole:] for one in rest))

    def end(self) -> float:
        """The end after the last decision."""
        if not len(self._rest.score):
            return self._end
        short = _BLOCK - len(self._rest.score)
        padded = Game(*(np.pad(one, (0, short)) for one in self._rest))
        return self._raised(self._wealth + self._won(padded))

    def _won(self, game: Game) -> Floats:
        """By block, point and j the logarithm of what the money was multiplied by."""
        limit = MOST / np.maximum(game.worst + self._within[1], 1e-9)
        bets = np.minimum(game.scale[:, None] * self._growth, limit[:, None])[:, None, :]
        off = game.score[:, None] - self._nodes
        won = bets * off[:, :, None]
        won += 1
        result: Floats = np.log(won.reshape(-1, _BLOCK, *won.shape[1:]).prod(axis=1))
        return result

    def _raised(self, wealth: Floats) -> float:
        """The end, after blocks with this wealth as well."""

        def refusing(mean: float, wealth: Floats) -> Floats:
            """The blocks after which the mean is refused."""
            logs = self._weights(mean) @ wealth + _MONEY
            found: Floats = wealth[np.logaddexp.reduce(logs, axis=-1) >= -math.log(self._alpha)]
            return found

        low, high = self._end, self._within[1]
        left = refusing(low, wealth)
        if not len(left):
            return low
        for _ in range(_STEPS):
            middle = (low + high) / 2
            # As the product falls in the mean, no other block refuses a larger one.
            found = refusing(middle, left)
            if len(found):
                low, left = middle, found
            else:
                high = middle
        return low

    def _weights(self, mean: float) -> Floats:
        """What the values at the points weigh in that at a mean, by the barycentric formula."""
        off = mean - self._nodes
        if (at := np.flatnonzero(off == 0)).size:
            only: Floats = np.eye(_NODES)[at[0]]
            return only
        terms = np.where(np.arange(_NODES) % 2 == 0, 1.0, -1.0) / off
        terms[[0, -1]] /= 2
        result: Floats = terms / terms.sum()
        return result

    def kept(self) -> dict[str, Any]:
        """What `restore` needs."""
        rest = [one.tobytes() for one in self._rest]
        return {"end": self._end, "wealth": self._wealth.tobytes(), "rest": rest}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from there."""
        self._end = kept["end"]
        self._wealth = np.frombuffer(kept["wealth"]).reshape(_NODES, -1)
        self._rest = Game(*map(np.frombuffer, kept["rest"]))


class ArmEnds:
    """Both ends of the sequence of an arm's mean, of rewards in [0, 1].

    :param alpha: for both sides together. :param horizon: the number of decisions where it should be
        tightest, fixed before. :param chance: the arm's probability in the first decision.
    """

    def __init__(self, alpha: float, horizon: float, chance: float) -> None:
        self.both = tuple(LowerEnd(alpha / 2, horizon * chance, (0.0, 1.0)) for _ in range(2))

    def add(self, arm: Scores) -> None:
        """Go on with more decisions."""
        worst = arm.predicted * (1 - arm.chance) / arm.chance
        best = (1 - arm.predicted) * (1 - arm.chance) / arm.chance
        scale = arm.chance / arm.spread
        self.both[0].add(Game(arm.score, worst, scale))
        self.both[1].add(Game(1 - arm.score, best, scale))

    def interval(self) -> Interval:
        """The interval after the last decision."""
        return Interval(self.both[0].end(), 1 - self.both[1].end())


class DifferenceEnds:
    """Both ends of the sequence of one arm's mean less another's, likewise.

    :param chances: the probabilities of both in the first decision.
    """

    def __init__(self, alpha: float, horizon: float, chances: tuple[float, float]) -> None:
        tightest = horizon / (1 / chances[0] + 1 / chances[1])
        self.both = tuple(LowerEnd(alpha / 2, tightest, (-1.0, 1.0)) for _ in range(2))

    def add(self, first: Scores, second: Scores) -> None:
        """Go on with more decisions."""
        scale = 1 / np.sqrt(
            (first.spread**2 / first.chance + second.spread**2 / second.chance)
            * (1 / first.chance + 1 / second.chance)
        )
        for end, one, other in zip(self.both, (first, second), (second, first), strict=True):
            # The least that the score can be: one's arm earns 0, or the other's 1.
            middle = one.predicted - other.predicted
            worst = np.minimum(
                middle - one.predicted / one.chance, middle - (1 - other.predicted) / other.chance
            )
            end.add(Game(one.score - other.score, -worst, scale))

    def interval(self) -> Interval:
        """The interval after the last decision."""
        return Interval(self.both[0].end(), -self.both[1].end())


def of_arm(arm: Scores, alpha: float, horizon: float) -> Interval:
    """The sequence of an arm's mean after n decisions, from 1: `ArmEnds`."""
    ends = ArmEnds(alpha, horizon, float(arm.chance[0]))
    ends.add(arm)
    return ends.interval()


def of_difference(first: Scores, second: Scores, alpha: float, horizon: float) -> Interval:
    """The sequence of the first arm's mean less the second's, likewise."""
    ends = DifferenceEnds(alpha, horizon, (float(first.chance[0]), float(second.chance[0])))
    ends.add(first, second)
    return ends.interval()


def lower_end(
    score: Floats, worst: Floats, scale: Floats, alpha: float, tightest: float, within: tuple[float, float]
) -> float:
    """`LowerEnd` after n decisions."""
    end = LowerEnd(alpha, tightest, within)
    end.add(Game(score, worst, scale))
    return end.end()
