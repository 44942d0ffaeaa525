"""Figures that stay floats, whatever was logged: the rule, in one place, for every estimator.

Estimators square weights times rewards and sum them over a log. So rewards are counted in a unit that keeps
them within `LARGEST`, weights are at most 1 / `LEAST_PROPENSITY`, and what is turned back into the rewards'
own unit is a finite number or None, which the answer explains.
"""

from __future__ import annotations

import math

import numpy as np

from streamsim.evaluation.intervals import Floats

LEAST_PROPENSITY = 1e-60
"""A smaller propensity gives weights whose squares leave the range of floats."""
LARGEST = 1e30
"""Rewards over this, or all of them under its inverse, are counted in a unit of their own."""
TOO_LARGE = "The estimate is beyond the range of floating-point numbers."


def unit_of(rewards: Floats) -> float:
    """The unit in which these rewards are counted: 1, or the power of two of the largest of them."""
    largest = float(np.abs(rewards).max(initial=0.0))
    if largest == 0 or 1 / LARGEST <= largest <= LARGEST:
        return 1.0
    # A power of two takes nothing from the digits; the smallest float has no inverse, hence the bound.
    return 2.0 ** max(math.frexp(largest)[1] - 1, -1000)


def in_rewards(figure: float, unit: float) -> float | None:
    """A figure in that unit as one in the rewards' own; None where it is no finite number."""
    result = float(figure) * unit
    return result if math.isfinite(result) else None


def mean(rewards: Floats) -> float:
    """Their mean, also where their sum is beyond the range of floats."""
    unit = unit_of(rewards)
    return float((rewards / unit).mean()) * unit
