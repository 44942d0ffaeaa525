"""Confidence intervals over replications, for shares and by the bootstrap; and thinning of curves."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamsim.evaluation import distributions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DRAWS_AT_ONCE = 1 << 20


class Interval(msgspec.Struct, frozen=True):
    """Both ends of a confidence interval."""

    low: float
    high: float


class Band(NamedTuple):
    """A mean and its interval at each point, arrays of one shape; NaN ends where there is none."""

    mean: Floats
    low: Floats
    high: Floats


def mean_interval(samples: ArrayLike, level: float = 0.95) -> Band:
    """Mean over independent replications (axis 0) with Student's t interval at each point of the other axes.

    The ends are NaN for a single replication.

    :raises ValueError: for no replications.
    """
    values = np.asarray(samples, dtype=np.float64)
    n = len(values)
    if n == 0:
        raise ValueError("an interval needs at least one replication")
    mean = values.mean(axis=0)
    if n == 1:
        unknown = np.full_like(mean, np.nan)
        return Band(mean, unknown, unknown)
    reach = distributions.student_t(n - 1, (1 + level) / 2) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return Band(mean, mean - reach, mean + reach)


def paired_difference(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Band:
    """`first - second`, paired by replication (axis 0), as for runs on common random numbers.

    :raises ValueError: if their shapes differ or they are empty.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"pairs need equal shapes, not {a.shape} and {b.shape}")
    return mean_interval(a - b, level)


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """Interval for a share `successes / n` (Wilson 1927, JASA 22); from 0 to 1 for n = 0.

    Neither needs to be whole: they may be the effective numbers of weighted decisions.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a share")
    if n == 0:
        return Interval(0.0, 1.0)
    z2 = distributions.normal((1 + level) / 2) ** 2
    share = successes / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    # The ends are exact there; rounding must not push them past the share.
    return Interval(0.0 if successes == 0 else middle - reach, 1.0 if successes == n else middle + reach)


def bootstrap_means(columns: Floats, *, resamples: int = 1000, seed: int = 0) -> Floats:
    """Means of columns (n x C) over `resamples` seeded resamplings of the rows: resamples x C.

    All columns share the resamplings, so that any function of several means can be bootstrapped.
    """
    n = len(columns)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, columns.shape[1]))
    at_once = max(1, _DRAWS_AT_ONCE // n)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means[start : start + size] = counts.astype(np.float64) @ columns / n
    return means


def percentile_interval(statistics: Floats, level: float = 0.95) -> Interval:
    """The middle `level` of bootstrapped statistics (Efron's percentile interval)."""
    low, high = np.quantile(statistics, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def thin(length: int, most: int = 200) -> Ints:
    """Indices of at most `most` evenly spread points of a curve, in order, with the first and the last."""
    if length <= most:
        return np.arange(length)
    return np.linspace(0, length - 1, most).round().astype(np.int64)
