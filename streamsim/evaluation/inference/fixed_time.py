"""Intervals for one look, at an end that was fixed before: adaptively weighted scores.

Hadad, Hirshberg, Zhan, Wager, Athey, "Confidence intervals for policy evaluation in adaptive experiments",
PNAS 118 (2021). Where the policy learned while it logged, the plain mean of the scores is not normal, as
their variance depends on the past; with weights h_t that stabilise it, the weighted mean is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from streamsim.evaluation import distributions
from streamsim.evaluation.intervals import Floats, Interval

Weights = Callable[[Floats], Floats]
DECAY: Final = 0.7
"""How fast the probability of an arm that is given up falls, as t**-DECAY: the paper's."""


def constant_allocation(chance: Floats) -> Floats:
    """Weights h_t = sqrt(e_t / T), for which each decision adds as much to the variance.

    :param chance: T probabilities of the arm.
    """
    result: Floats = np.sqrt(chance / len(chance))
    return result


def two_point_allocation(chance: Floats, decay: float = DECAY) -> Floats:
    """Weights between those and the ones of least variance: h_t^2 / e_t = (1 - sum_s<t h_s^2 / e_s) lambda_t.

    lambda_t, 1 at last, is what would be right if the arm were kept, with probability e_t, or given up.

    :param chance: T probabilities of the arm. :param decay: of an arm that is given up, in (0, 1).
    """
    total = len(chance)
    t = np.arange(1, total + 1, dtype=np.float64)
    kept = 1 / (total - t + 1)
    dropped = (1 - decay) / ((1 - decay) + total * (t / total) ** decay - t)
    share = np.clip(chance * kept + (1 - chance) * dropped, 0.0, 1.0)
    left = np.concatenate(([1.0], np.cumprod(1 - share)[:-1]))
    result: Floats = np.sqrt(left * share * chance)
    return result


def uniform(chance: Floats) -> Floats:
    """The same weight for each decision, which makes the mean of all of them: right where means drift, if no
    probability comes near 0.

    :param chance: T probabilities of the arm.
    """
    return np.ones(len(chance))


WEIGHTS: Final[tuple[Weights, ...]] = (constant_allocation, two_point_allocation, uniform)


def weighted(score: Floats, weight: Floats) -> tuple[float, float]:
    """The weighted mean of scores and its variance: sum h g / sum h, sum h^2 (g - mean)^2 / (sum h)^2."""
    total = float(weight.sum())
    mean = float(weight @ score) / total
    return mean, float((weight**2) @ (score - mean) ** 2) / total**2


def normal_interval(mean: float, variance: float, alpha: float) -> Interval:
    """The interval of an estimate that is normal."""
    reach = distributions.normal(1 - alpha / 2) * variance**0.5
    return Interval(mean - reach, mean + reach)
