"""Thompson sampling over named arms: Bernoulli rewards, and allocation for precise comparison of means."""

from __future__ import annotations

import random as _random
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy import special

from streamsim.estimators.base import List, Proportion, Variance
from streamsim.estimators.stored import Floats

__all__ = ["BBThompsonList", "ThompsonList", "ThompsonVarList"]

# Cells between these quantiles of every posterior are smooth enough for 8 Gauss-Legendre nodes each.
_LEVELS = np.array([1e-12, 1e-6, 1e-3, 0.02, 0.15, 0.5, 0.85, 0.98, 0.999, 1 - 1e-6, 1 - 1e-12])
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


class BBThompsonList(List):
    """A Beta-Bernoulli sampler: the posterior of an arm is Beta(successes + 1, failures + 1), a flat prior.

    Thompson, Biometrika 25 (1933). Draws come from NumPy's global generator.

    :param objects: stored `Proportion` dicts {p, n} by arm.
    :param value_names: the arms.
    :raises ValueError: as `List`.

    >>> arms = BBThompsonList({"a": {"n": 10, "p": 0.1}, "b": {"n": 10, "p": 0.9}}, ["a", "b"])
    >>> arms.posterior("b")
    (10.0, 2.0)
    >>> {arm: round(chance, 3) for arm, chance in arms.propensities().items()}
    {'a': 0.0, 'b': 1.0}
    """

    def __init__(self, objects: Mapping[Any, Any] | None, value_names: Iterable[Any]) -> None:
        super().__init__(objects, Proportion, value_names)

    def posterior(self, name: Any) -> tuple[float, float]:
        """Parameters (a, b) of an arm's Beta posterior, both at least 1. :raises KeyError: no such arm."""
        state = self.base_list[name].value
        successes = state["p"] * state["n"]
        return successes + 1.0, max(state["n"] - successes, 0.0) + 1.0

    def draws(self) -> dict[Any, float]:
        """One draw, from 0 to 1, of each arm's success probability from its posterior."""
        beta = np.random.beta
        return {name: beta(*self.posterior(name)) for name in self.base_list}

    def thompson(self) -> Any:
        """The arm whose draw is the greatest."""
        draws = self.draws()
        return max(draws, key=draws.__getitem__)

    def propensities(self) -> dict[Any, float]:
        """The probability that `thompson` chooses each arm; they sum to 1.

        P(arm i) is the integral of f_i(x) times the product of F_j(x) over the other arms j, computed by
        Gauss-Legendre quadrature with an error below 1e-8.
        """
        names = list(self.base_list)
        if len(names) == 1:
            return {names[0]: 1.0}
        a, b = np.array([self.posterior(name) for name in names]).T[:, :, None]
        edges = np.unique(np.concatenate(([0.0, 1.0], special.betaincinv(a, b, _LEVELS).ravel())))
        half = np.diff(edges)[:, None] / 2
        x = (edges[:-1, None] + half * (1 + _NODES)).ravel()
        weights = (half * _WEIGHTS).ravel()
        below: Floats = special.betainc(a, b, x)
        density = np.exp(special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b))
        chances = np.empty(len(names))
        for i in range(len(names)):
            others = np.delete(below, i, axis=0).prod(axis=0)
            chances[i] = (weights * density[i] * others).sum()
        chances /= chances.sum()
        return dict(zip(names, chances.tolist(), strict=True))

    def propensity(self, value: Any, n: int = 1000) -> float:
        """The probability that `thompson` chooses the arm `value`.

        :param n: StreamingBandit estimated it from n draws; here it is exact, whatever n is.
        :raises KeyError: there is no such arm.
        """
        return self.propensities()[value]


ThompsonList = BBThompsonList


class ThompsonVarList(List):
    """Allocation that makes the comparison of the arms' means as precise as possible.

    Kaptein, "The use of Thompson sampling to increase estimation precision", Behavior Research Methods 47
    (2015). With a flat prior on (mean, log variance), an arm's variance given its sum of squares s over n
    observations is s / chi2(n - 1).

    :param objects: stored `Variance` dicts {n, x_bar, s, v} by arm.
    :param value_names: the arms.
    :raises ValueError: as `List`.

    >>> known, new = {"n": 50, "x_bar": 1.0, "s": 49.0, "v": 1.0}, {"n": 1, "x_bar": 2.0, "s": 0.0, "v": 0.0}
    >>> ThompsonVarList({"a": known, "b": new}, ["a", "b"]).experimentThompson()
    'b'
    """

    def __init__(self, objects: Mapping[Any, Any] | None, value_names: Iterable[Any]) -> None:
        super().__init__(objects, Variance, value_names)

    def experimentThompson(self) -> Any:  # noqa: N802 - StreamingBandit's name
        """The arm whose next observation shrinks the squared standard error most, for drawn variances.

        One more observation takes var / n to var / (n + 1). An arm observed less than twice has no variance
        yet and goes first, at random among several.
        """
        unknown = [name for name, estimator in self.base_list.items() if estimator.value["n"] < 2]
        if unknown:
            return _random.choice(unknown)
        gains: dict[Any, float] = {}
        for name, estimator in self.base_list.items():
            n = estimator.value["n"]
            gains[name] = estimator.value["s"] / np.random.chisquare(n - 1) / (n * (n + 1))
        greatest = max(gains.values())
        return _random.choice([name for name, gain in gains.items() if gain == greatest])
