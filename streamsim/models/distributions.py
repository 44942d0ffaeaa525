"""Distributions that a sweep draws values of a parameter from, each whole or between a `min` and a `max`.

Whole ones are drawn by NumPy's generator. Between bounds values come from the inverse of the distribution
function (Devroye, "Non-Uniform Random Variate Generation", 1986, II.2.1), so that narrow and far bounds cost
no more than wide ones.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamsim.values import Json, JsonObject

Numbers: TypeAlias = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Numbers]

DISTRIBUTIONS: Final = {
    "uniform": ("low", "high"),
    "normal": ("mean", "sd"),
    "triangular": ("low", "mode", "high"),
    "lognormal": ("mu", "sigma"),
    "poisson": ("mean",),
    "binomial": ("n", "p"),
    "beta": ("alpha", "beta"),
    "gamma": ("shape", "scale"),
}
"""The numbers of each distribution. `discrete` has lists instead: `values`, and `weights` if they differ."""
DISCRETE: Final = "discrete"
BOUNDS: Final = ("min", "max")
MAX_LISTED: Final = 10_000
"""Values of one discrete distribution."""
_WIDEST: Final = 1_000_000
_LARGEST: Final = 10**9
"""Whole numbers that a truncated Poisson or binomial distribution is worked out for."""


class BadDistribution(ValueError):
    """What is given is no distribution; the text says which form is expected."""


def distribution(given: JsonObject) -> Draw:
    """How values are drawn from `{"distribution": name, ...}`. :raises BadDistribution:"""
    kind = given["distribution"]
    low, high = (_bound(given, name) for name in BOUNDS)
    if low > high:
        raise BadDistribution("min must not be above max")
    own = {name: value for name, value in given.items() if name not in ("distribution", *BOUNDS)}
    if kind == DISCRETE:
        return _discrete(own, low, high)
    wanted = DISTRIBUTIONS.get(kind) if isinstance(kind, str) else None
    if wanted is None or own.keys() != set(wanted) or not all(map(_is_number, own.values())):
        forms = "; ".join(f"{name}: {', '.join(parts)}" for name, parts in DISTRIBUTIONS.items())
        raise BadDistribution(
            f"a distribution has these numbers: {forms}; discrete: the lists values and weights; each may "
            "have min and max"
        )
    numbers = [own[name] for name in wanted]
    if not _make_one(kind, *numbers):
        raise BadDistribution(f"{', '.join(wanted)} do not make a {kind} distribution")
    if (low, high) == (-math.inf, math.inf):
        return lambda generator, count: np.asarray(getattr(generator, kind)(*numbers, count), dtype=float)
    if kind in ("poisson", "binomial"):
        return _whole_numbers(kind, numbers, low, high)
    return _between(kind, numbers, low, high)


def _bound(given: JsonObject, name: str) -> float:
    if name not in given:
        return -math.inf if name == "min" else math.inf
    if not _is_number(given[name]):
        raise BadDistribution(f"{name} must be a number")
    return float(given[name])


def _is_number(value: Json) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _make_one(kind: str, *numbers: float) -> bool:
    """Whether these numbers are the parameters of a distribution."""
    first, last = numbers[0], numbers[-1]
    match kind:
        case "uniform" | "triangular":
            return list(numbers) == sorted(numbers) and first < last
        case "normal" | "lognormal":
            return last >= 0
        case "poisson":
            return first >= 0
        case "binomial":
            return type(first) is int and first >= 0 and 0 <= last <= 1
        case _:
            return first > 0 and last > 0


def _discrete(own: JsonObject, low: float, high: float) -> Draw:
    values, weights = own.get("values"), own.get("weights")
    form = (
        f"discrete: values must be a list of 1 to {MAX_LISTED} numbers, and weights, where given, one number "
        "from 0 on for each"
    )
    if (
        own.keys() - {"values", "weights"}
        or not isinstance(values, list)
        or not 0 < len(values) <= MAX_LISTED
    ):
        raise BadDistribution(form)
    if weights is None:
        weights = [1.0] * len(values)
    if not isinstance(weights, list) or len(weights) != len(values):
        raise BadDistribution(form)
    if not all(map(_is_number, [*values, *weights])) or min(weights) < 0:
        raise BadDistribution(form)
    inside = [(v, w) for v, w in zip(values, weights, strict=True) if low <= v <= high]
    chosen = np.array([v for v, _ in inside], dtype=float)
    shares = np.array([w for _, w in inside], dtype=float)
    if not shares.size or not shares.max() > 0:
        raise BadDistribution("discrete: no value with a weight above 0 is left")
    shares /= shares.max()
    shares /= shares.sum()
    return lambda generator, count: generator.choice(chosen, count, p=shares)


# ---- between bounds


class _Continuous(NamedTuple):
    """The distribution function and what is above it, each with its inverse: each is exact at one end."""

    lower: Callable[[float], float]
    upper: Callable[[float], float]
    lower_inverse: Callable[[Numbers], Numbers]
    upper_inverse: Callable[[Numbers], Numbers]


def _between(kind: str, numbers: list[float], low: float, high: float) -> Draw:
    if kind in ("normal", "lognormal") and numbers[1] == 0:
        raise BadDistribution(f"a {kind} distribution without spread cannot have min and max")
    known = _continuous(kind, numbers)
    with np.errstate(all="ignore"):
        left = known.lower(low) <= 0.5
        first, last = (known.lower(low), known.lower(high)) if left else (known.upper(high), known.upper(low))
    if not first < last:
        raise BadDistribution(f"there is nothing of this {kind} distribution between min and max")
    inverse = known.lower_inverse if left else known.upper_inverse
    return lambda generator, count: np.clip(inverse(generator.uniform(first, last, count)), low, high)


def _continuous(kind: str, numbers: list[float]) -> _Continuous:
    # Imported late: it takes longer than most that a server needs to start.
    from scipy import special

    a, b = numbers[0], numbers[-1]
    match kind:
        case "uniform":
            width = b - a
            return _Continuous(
                lambda x: min(max((x - a) / width, 0.0), 1.0),
                lambda x: min(max((b - x) / width, 0.0), 1.0),
                lambda p: a + p * width,
                lambda q: b - q * width,
            )
        case "triangular":
            return _triangular(*numbers)
        case "normal":
            return _Continuous(
                lambda x: special.ndtr((x - a) / b),
                lambda x: special.ndtr((a - x) / b),
                lambda p: a + b * special.ndtri(p),
                lambda q: a - b * special.ndtri(q),
            )
        case "lognormal":
            logs = _continuous("normal", numbers)
            return _Continuous(
                lambda x: logs.lower(math.log(x)) if x > 0 else 0.0,
                lambda x: logs.upper(math.log(x)) if x > 0 else 1.0,
                lambda p: np.exp(logs.lower_inverse(p)),
                lambda q: np.exp(logs.upper_inverse(q)),
            )
        case "beta":
            return _Continuous(
                lambda x: special.betainc(a, b, min(max(x, 0.0), 1.0)),
                lambda x: special.betainc(b, a, min(max(1.0 - x, 0.0), 1.0)),
                lambda p: special.betaincinv(a, b, p),
                lambda q: 1.0 - special.betaincinv(b, a, q),
            )
        case _:
            return _Continuous(
                lambda x: special.gammainc(a, max(x, 0.0) / b),
                lambda x: special.gammaincc(a, max(x, 0.0) / b),
                lambda p: b * special.gammaincinv(a, p),
                lambda q: b * special.gammainccinv(a, q),
            )


def _triangular(low: float, mode: float, high: float) -> _Continuous:
    width, rise, fall = high - low, mode - low, high - mode

    def lower(x: float) -> float:
        if x <= low:
            return 0.0
        return (x - low) ** 2 / (width * rise) if x < mode else 1.0 - upper(x)

    def upper(x: float) -> float:
        if x >= high:
            return 0.0
        return (high - x) ** 2 / (width * fall) if x > mode else 1.0 - lower(x) if x < mode else fall / width

    def lower_inverse(p: Numbers) -> Numbers:
        rising = p * width < rise
        return np.where(rising, low + np.sqrt(p * width * rise), high - np.sqrt((1 - p) * width * fall))

    return _Continuous(lower, upper, lower_inverse, lambda q: lower_inverse(1 - q))


def _whole_numbers(kind: str, numbers: list[float], low: float, high: float) -> Draw:
    """Poisson and binomial: probabilities of all whole numbers that are not nothing beside the others."""
    from scipy import special

    if kind == "poisson":
        (mean,) = numbers
        spread, last = math.sqrt(mean), math.inf
    else:
        n, p = numbers
        mean, spread, last = n * p, math.sqrt(n * p * (1 - p)), n
    low, high = math.ceil(low) if low > 0 else 0, min(high, last)
    if not low <= high or (high < math.inf and math.floor(high) < low):
        raise BadDistribution(f"there is no value of this {kind} distribution between min and max")
    # From the value nearest to the mean it falls faster than a normal distribution, or an exponential one.
    centre = min(max(mean, low), high)
    reach = 40 * spread + 800
    first, final = max(low, math.floor(centre - reach)), min(high, math.ceil(centre + reach))
    # Beyond the largest, logarithms of factorials are no longer exact enough.
    if final - first > _WIDEST or max(final, 0 if kind == "poisson" else last) > _LARGEST:
        raise BadDistribution(f"a {kind} distribution with numbers so large cannot have min and max")
    known = np.arange(first, math.floor(final) + 1, dtype=float)
    if kind == "poisson":
        logs = special.xlogy(known, mean) - special.gammaln(known + 1)
    else:
        logs = special.xlogy(known, p) + special.xlog1py(n - known, -p)
        logs -= special.gammaln(known + 1) + special.gammaln(n - known + 1)
    if not logs.max() > -math.inf:
        raise BadDistribution(f"there is nothing of this {kind} distribution between min and max")
    shares = np.exp(logs - logs.max())
    total = np.cumsum(shares)
    return lambda generator, count: known[
        np.searchsorted(total, generator.uniform(0, total[-1], count), side="right").clip(max=known.size - 1)
    ]
