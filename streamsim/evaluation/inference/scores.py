"""Scores of decisions: numbers whose mean is that of an arm, whatever the policy did.

`g_t(a) = m_t(a) + 1[A_t = a] / e_t(a) (R_t - m_t(a))`, augmented inverse propensity weighting (Robins,
Rotnitzky and Zhao, JASA 89, 1994), with a prediction m_t that rests on earlier decisions alone: given all
that was known before decision t, the mean of g_t(a) is the arm's mean there, for any m_t, as e_t(a) is
known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsim.evaluation.intervals import Floats


@dataclass(frozen=True)
class Scores:
    """Of one arm, n of each in order of decision.

    `drawn`: whether the arm was taken. `chance`: e_t, in (0, 1]. `predicted`: m_t. `score`: g_t.
    `spread`: standard deviation of the arm's rewards as known before the decision, above 0.
    """

    drawn: NDArray[np.bool_]
    chance: Floats
    predicted: Floats
    score: Floats
    spread: Floats

    def __len__(self) -> int:
        return len(self.score)

    def after(self, first: int) -> Scores:
        """Those of the decisions from `first` on."""
        return Scores(
            self.drawn[first:],
            self.chance[first:],
            self.predicted[first:],
            self.score[first:],
            self.spread[first:],
        )


class Scorer:
    """Scores of one arm, as decisions come. :param start: the prediction before there is any reward.

    The prediction is the arm's running mean, drawn towards the mean of all rewards before (`start` at first)
    as by one decision.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._start = start
        # Decisions, the sum of their rewards; draws of the arm, of its rewards, of what predictions were off.
        self._sums: Floats = np.zeros(5)

    def add(self, drawn: NDArray[np.bool_], reward: Floats, chance: Floats) -> Scores:
        """The scores of the next decisions.

        :param drawn: n, whether decision t took the arm.
        :param reward: n rewards, of whichever arm was taken.
        :param chance: n probabilities of the arm, above 0, as they were before the draw.
        """
        before, total, draws, earned, off = self._sums
        every = before + np.arange(len(reward))
        so_far = total + _before(reward)
        overall = np.divide(so_far, every, out=np.full(len(reward), self._start), where=every > 0)
        count = draws + _before(drawn.astype(np.float64))
        predicted = (earned + _before(np.where(drawn, reward, 0.0)) + overall) / (count + 1)
        residual = np.where(drawn, reward - predicted, 0.0)
        # As by one decision that was off by a half, so that it never is 0.
        spread = np.sqrt((off + _before(residual**2) + 0.25) / (count + 1))
        taken = reward[drawn]
        more = (len(reward), reward.sum(), len(taken), taken.sum(), (residual**2).sum())
        self._sums = self._sums + np.array(more)
        return Scores(drawn, chance, predicted, predicted + residual / chance, spread)

    def kept(self) -> list[float]:
        """What `restore` needs."""
        return [float(one) for one in self._sums]

    def restore(self, kept: list[float]) -> None:
        """Go on from there."""
        self._sums = np.array(kept)


def aipw(drawn: NDArray[np.bool_], reward: Floats, chance: Floats, *, start: float = 0.0) -> Scores:
    """The scores of one arm, of all decisions: see `Scorer`.

    >>> aipw(np.array([True, False]), np.array([1.0, 0.0]), np.array([0.5, 0.5])).score.tolist()
    [2.0, 1.0]
    """
    return Scorer(start).add(drawn, reward, chance)


def _before(figures: Floats) -> Floats:
    """For each place the sum of the figures before it."""
    result: Floats = np.cumsum(figures) - figures
    return result
