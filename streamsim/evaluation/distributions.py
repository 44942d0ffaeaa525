"""Quantiles and tails of the distributions behind intervals and tests.

SciPy has those of Student and of chi-square. It is imported when the first is asked for: that takes longer
than everything else that a server or a command needs to start.
"""

from __future__ import annotations

from statistics import NormalDist


def normal(probability: float) -> float:
    """The quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def student_t(degrees: float, probability: float) -> float:
    """The quantile of Student's t distribution."""
    from scipy import special

    return float(special.stdtrit(degrees, probability))


def chi_square_tail(degrees: int, statistic: float) -> float:
    """The probability that a chi-square variable exceeds `statistic`."""
    from scipy import special

    return float(special.chdtrc(degrees, statistic))
