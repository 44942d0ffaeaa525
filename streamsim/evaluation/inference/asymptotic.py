"""Confidence sequences without bounds of rewards, which hold at every look once decisions are many.

Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", Annals of Statistics 52 (2024), in the Lyapunov form: the scores need not be alike, and what is
covered is the mean so far of their conditional means, so that it may drift.
"""

from __future__ import annotations

import math

import numpy as np

from streamsim.evaluation.intervals import Floats, Interval


def tuned(variance_sum: float, alpha: float) -> float:
    """The parameter r of a sequence that is tightest where the variances sum to `variance_sum`, above 0."""
    twice = -2 * math.log(alpha)
    return math.sqrt((twice + math.log(twice + 1)) / variance_sum)


def radius(n: Floats | float, variance_sum: Floats | float, alpha: float, r: float) -> Floats:
    """How far the sequence reaches from the mean of n scores; `variance_sum`: of their squared deviations.

    sqrt(2 (V r^2 + 1) / r^2 log(sqrt(V r^2 + 1) / alpha)) / n, for both sides together.
    """
    inner = np.asarray(variance_sum) * r * r + 1
    result: Floats = np.sqrt(2 * inner / r**2 * np.log(np.sqrt(inner) / alpha)) / n
    return result


def sequence(score: Floats, alpha: float, r: float) -> tuple[Floats, Floats]:
    """Both ends after each of n scores."""
    n = np.arange(1.0, len(score) + 1)
    mean = np.cumsum(score) / n
    # About the first score, so that a far mean costs no digits.
    off = score - score[:1].sum()
    deviations = np.maximum(np.cumsum(off**2) - np.cumsum(off) ** 2 / n, 0.0)
    reach = radius(n, deviations, alpha, r)
    return mean - reach, mean + reach


def last(score: Floats, alpha: float, r: float) -> tuple[float, Interval]:
    """The mean of n scores and the sequence's interval there; n from 1."""
    mean = float(score.mean())
    reach = float(radius(len(score), float(((score - mean) ** 2).sum()), alpha, r))
    return mean, Interval(mean - reach, mean + reach)
