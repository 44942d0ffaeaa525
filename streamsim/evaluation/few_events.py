"""Intervals where few decisions behind an estimate have another reward than the usual one.

With 3 conversions in 200 decisions the mean is far from normal, and its own standard error is as uncertain as
itself; with none the standard error is 0, which no one should take for certainty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streamsim.evaluation.intervals import Floats, Interval, wilson

FEW: Final = 30
"""Fewer events than this, and the normal distribution does not hold."""
UNSEEN: Final = 0.1
"""With more of the weight on propensities that runs cannot tell, no interval is given."""
_USUAL: Final = 0.5


@dataclass(frozen=True)
class Events:
    """`count`: decisions with positive weight whose reward is not `usual`; `effective`: equally weighted ones
    that would be as precise. `size`: that number of all of them. `lowest`, `highest`: of the log's rewards.
    """

    count: int
    effective: float
    usual: float
    size: float
    lowest: float
    highest: float

    @property
    def few(self) -> bool:
        return self.effective < FEW

    def interval(self, value: float, asymptotic: Interval, level: float) -> Interval | None:
        """Wilson's interval of the value as a share of the range of rewards, for the effective number of
        decisions, and at least as wide as the asymptotic one; None if the range is not known.

        No distribution within a range spreads more than that of its two ends, so that other rewards between
        them only make the interval wider than need be.
        """
        low, high = self.lowest, self.highest
        if low == high:
            if low not in (0.0, 1.0):
                return None
            low, high = 0.0, 1.0
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        ends = wilson(share * self.size, self.size, level)
        return Interval(
            min(low + ends.low * (high - low), asymptotic.low),
            max(low + ends.high * (high - low), asymptotic.high),
        )


def effective_size(weight: Floats) -> float:
    """(sum w)^2 / sum w^2, the number of equally weighted decisions that would be as precise (Kish 1965);
    0 if all weights are."""
    largest = float(weight.max(initial=0.0))
    if largest == 0:
        return 0.0
    weight = weight / largest
    return float(weight.sum()) ** 2 / float((weight**2).sum())


def behind(weight: Floats, reward: Floats) -> Events | None:
    """The events behind an estimate with these weights; None where no reward is usual."""
    taken = weight > 0
    if not taken.any():
        return None
    figures, counts = np.unique(reward[taken], return_counts=True)
    most = int(counts.argmax())
    if counts[most] <= _USUAL * taken.sum():
        return None
    usual = float(figures[most])
    rare = weight[taken & (reward != usual)]
    return Events(
        len(rare),
        effective_size(rare),
        usual,
        effective_size(weight),
        float(reward.min()),
        float(reward.max()),
    )
