"""Differences of arms to the control in one metric, decision by decision, with a sequence that holds at every
look: what guardrails look at.

The scores and the sequence are those of `scores` and `asymptotic`, kept as sums, so that a look costs the
same however many decisions there were. Decisions count in the order in which their metric came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from streamsim.evaluation.adaptive import LEAST_SIZE
from streamsim.evaluation.inference import asymptotic
from streamsim.evaluation.inference.running import BURN_IN

HORIZON = 2_000
"""The number of decisions where the sequences are tightest."""
_HEAVY = 0.1


class Difference(NamedTuple):
    """An arm's mean less the control's, over n decisions, and the ends of its interval."""

    estimate: float
    low: float
    high: float
    n: int


class Weights:
    """What stands behind an arm: its draws, weighted by the inverse of their probability."""

    def __init__(self) -> None:
        self.sum = self.squares = self.largest = 0.0

    def add(self, chance: float) -> None:
        weight = 1 / chance
        self.sum += weight
        self.squares += weight * weight
        self.largest = max(self.largest, weight)

    @property
    def enough(self) -> bool:
        """Whether they are worth some draws of equal weight, and none has much of it all."""
        if self.sum == 0 or self.largest > _HEAVY * self.sum:
            return False
        return self.sum**2 / self.squares >= LEAST_SIZE


class Sums:
    """Figures one by one: how many, their mean, and their squared deviations. `variance`: as was expected."""

    def __init__(self) -> None:
        self.n = 0
        self.mean = self.deviations = 0.0
        self.variance = math.nan

    def add(self, score: float) -> None:
        self.n += 1
        off = score - self.mean
        self.mean += off / self.n
        self.deviations += off * (score - self.mean)


class _Contrast(Sums):
    """Scores of an arm less those of the control, and the draws of both."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = Weights(), Weights()


class Differences:
    """The differences of K arms to the control in one metric.

    :param arms: K; :param control: the place of the control.
    """

    def __init__(self, arms: int, control: int) -> None:
        self._control = control
        self._count, self._total = [0] * arms, [0.0] * arms
        self._contrasts = {place: _Contrast() for place in range(arms) if place != control}
        # The first decisions train predictions: how many, their mean and squared deviations.
        self._trained = Sums()

    def add(self, taken: int, chances: Sequence[float], figure: float) -> None:
        """Count a decision. :param chances: K probabilities before the draw. :param figure: of the metric."""
        if self._trained.n < BURN_IN or self._trained.deviations <= 0:
            self._trained.add(figure)
        else:
            n = sum(self._count)
            overall = sum(self._total) / n
            predicted = [
                (total + overall) / (count + 1) for total, count in zip(self._total, self._count, strict=True)
            ]
            control = self._control
            for place, contrast in self._contrasts.items():
                if chances[place] <= 0 or chances[control] <= 0:
                    continue  # nothing can be told of an arm that could not have been drawn
                score = predicted[place] - predicted[control]
                if taken == place:
                    score += (figure - predicted[place]) / chances[place]
                    contrast.weights[0].add(chances[place])
                elif taken == control:
                    score -= (figure - predicted[control]) / chances[control]
                    contrast.weights[1].add(chances[control])
                if not contrast.n:
                    pilot = self._trained.deviations / self._trained.n
                    contrast.variance = pilot * (1 / chances[place] + 1 / chances[control])
                contrast.add(score)
        self._count[taken] += 1
        self._total[taken] += figure

    def of(self, place: int, alpha: float) -> Difference | None:
        """The difference of an arm; None while too little stands behind it."""
        contrast = self._contrasts[place]
        if not contrast.n or not all(weights.enough for weights in contrast.weights):
            return None
        r = asymptotic.tuned(HORIZON * contrast.variance, alpha)
        reach = float(asymptotic.radius(contrast.n, contrast.deviations, alpha, r))
        return Difference(contrast.mean, contrast.mean - reach, contrast.mean + reach, contrast.n)
