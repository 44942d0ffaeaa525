"""The probability that each of several independent draws is the greatest, as in Thompson sampling.

P(i is best) is the integral of f_i(x) times the product of F_j(x) over the others j. It is computed for all
draws in one pass over a grid: with L the sum of all log F_j, the integrand is f_i(x) exp(L(x) - log F_i(x)),
so that the time is proportional to draws times nodes of the grid. The grid spans what the greatest draw can
be; its panels follow the narrowest distribution that has mass there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streamsim.estimators.stored import Floats
from streamsim.later import later

special = later("scipy.special")

Ints = NDArray[np.int64]

__all__ = ["of_betas", "of_inverse_chi_squares", "of_normals"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
# From a panel's left end to each of its nodes, from -1 to 1, exact for polynomials of degree 15.
_TO_NODES: Floats = np.array(
    [
        [
            np.polynomial.Polynomial.fit(_NODES, row, 15, domain=[-1, 1]).integ(lbnd=-1)(node)
            for row in np.eye(16)
        ]
        for node in _NODES
    ]
)
_PANEL_SDS = 2.2
_TAIL = 1e-13
_CANDIDATES = 20
_LEAST_STEP = 1e-9
_LEAST = 1e-300


def of_betas(a: Floats, b: Floats) -> Floats:
    """For draws from Beta(a_i, b_i), parameters above 0; the chances sum to 1, errors are below 1e-8.

    >>> of_betas(np.array([1.0, 2.0]), np.array([1.0, 1.0])).round(6).tolist()
    [0.333333, 0.666667]
    """
    if len(a) == 1:
        return np.ones(1)
    (a, b), place, copies = _different(a, b)
    # The logarithm of the odds has a smooth density, also where that of the chance is not smooth at 0 or 1.
    mean = special.digamma(a) - special.digamma(b)
    sd = np.sqrt(special.polygamma(1, a) + special.polygamma(1, b))
    begins, ends = mean - 8 * sd - 30 / a, mean + 8 * sd + 30 / b
    low = float((-_log_odds(b, a, np.argsort(mean - 6 * sd)[-_CANDIDATES:])).max())
    high = float(_log_odds(a, b, np.argsort(ends)[-_CANDIDATES:]).max())
    scale = special.betaln(a, b)[:, None]

    def density(rows: Ints, x: Floats) -> Floats:
        # exp(a log p + b log (1 - p)) at p = 1 / (1 + exp(-x))
        log_p, log_q = -np.logaddexp(0, -x), -np.logaddexp(0, x)
        result: Floats = np.exp(np.outer(a[rows], log_p) + np.outer(b[rows], log_q) - scale[rows])
        return result

    at_low = special.betainc(a, b, special.expit(low))
    return _chances(density, at_low, sd, begins, ends, copies, low, high)[place]


def _log_odds(a: Floats, b: Floats, some: Ints) -> Floats:
    """Of the points that some of the draws are above with probability `_TAIL`."""
    rest = np.maximum(special.betaincinv(b[some], a[some], _TAIL), 1e-300)
    result: Floats = np.log1p(-rest) - np.log(rest)
    return result


def of_normals(mean: Floats, sd: Floats) -> Floats:
    """For draws from N(mean_i, sd_i^2), all sd above 0; the chances sum to 1, errors are below 1e-8.

    >>> of_normals(np.array([0.0, 0.0, -9.0]), np.array([1.0, 1.0, 1.0])).round(6).tolist()
    [0.5, 0.5, 0.0]
    """
    if len(mean) == 1:
        return np.ones(1)
    (mean, sd), place, copies = _different(mean, sd)
    reach = 7.4  # ndtr(-7.4) is 7e-14
    low, high = float((mean - reach * sd).max()), float((mean + reach * sd).max())

    def density(rows: Ints, x: Floats) -> Floats:
        z = (x - mean[rows][:, None]) / sd[rows][:, None]
        result: Floats = np.exp(-0.5 * z * z) / (sd[rows][:, None] * (2 * np.pi) ** 0.5)
        return result

    at_low = special.ndtr((low - mean) / sd)
    return _chances(density, at_low, sd, mean - 8 * sd, mean + 8 * sd, copies, low, high)[place]


def of_inverse_chi_squares(scale: Floats, freedom: Floats) -> Floats:
    """For draws of scale_i / chi2(freedom_i), scales above 0; the chances sum to 1, errors are below 1e-8.

    >>> of_inverse_chi_squares(np.array([1.0, 3.0]), np.array([2.0, 2.0])).round(6).tolist()
    [0.25, 0.75]
    """
    if len(scale) == 1:
        return np.ones(1)
    (scale, freedom), place, copies = _different(scale, freedom)
    # Logarithms have smooth densities, and a tail on the right that falls as exp(-freedom x / 2).
    half, log = freedom / 2, np.log(scale)
    mean, sd = log - special.digamma(half) - np.log(2), np.sqrt(special.polygamma(1, half))
    begins = log - np.log(2 * special.gammainccinv(half, _TAIL))
    ends = log - np.log(np.maximum(2 * special.gammaincinv(half, _TAIL), _LEAST))
    low, high = float(begins.max()), float(ends.max())

    def density(rows: Ints, x: Floats) -> Floats:
        k, y = half[rows][:, None], log[rows][:, None] - np.log(2) - x
        result: Floats = np.exp(k * y - np.exp(np.minimum(y, 700)) - special.gammaln(k))
        return result

    at_low = special.gammaincc(half, np.exp(log - low) / 2)
    begins, ends = np.minimum(begins, mean - 8 * sd), np.maximum(ends, mean + 8 * sd)
    return _chances(density, at_low, np.minimum(sd, 1.0), begins, ends, copies, low, high)[place]


def _different(first: Floats, second: Floats) -> tuple[Floats, Ints, Floats]:
    """The different pairs, 2 x K; the place of each given one among them; how often each was given."""
    pairs, place, copies = np.unique(
        np.stack((first, second), axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return pairs.T, place.reshape(-1), copies.astype(np.float64)


def _chances(
    density: Callable[[Ints, Floats], Floats],
    at_low: Floats,
    sd: Floats,
    begins: Floats,
    ends: Floats,
    copies: Floats,
    low: float,
    high: float,
) -> Floats:
    """Of K different distributions, each drawn `copies` times.

    :param density: of some of them at some x. :param at_low: their distribution functions at `low`.
    :param begins: and :param ends: outside of which each has no mass to speak of.
    """
    result = np.zeros(len(sd))
    # What surely lies below `low` is never the greatest, and its distribution function is 1 from there on.
    rows = np.flatnonzero(1 - at_low > _TAIL / 10)
    sd, begins, ends, copies = sd[rows], begins[rows], ends[rows], copies[rows]
    below, total, x = at_low[rows], np.zeros(len(rows)), low
    while high - x > 1e-12 * (high - low):
        # How far one polynomial reaches is decided by the narrowest that has mass here, or will have.
        reaches = np.where(ends >= x, np.maximum(begins - x, 0) + _PANEL_SDS * sd, np.inf)
        step = min(max(float(reaches.min()), _LEAST_STEP * (high - low)), high - x)
        half = step / 2
        nodes = x + half * (1 + _NODES)
        f = density(rows, nodes)
        cdf = np.minimum(below[:, None] + half * (f @ _TO_NODES.T), 1.0)
        np.maximum(cdf, _LEAST, out=cdf)
        log_all = copies @ np.log(cdf)
        total += half * ((f / cdf) @ (_WEIGHTS * np.exp(log_all)))
        below = np.minimum(below + half * (f @ _WEIGHTS), 1.0)
        x += step
    result[rows] = total
    everything: float = float(copies @ total)
    result /= everything
    return result
