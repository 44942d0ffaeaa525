"""Thompson sampling over named arms: Bernoulli rewards, and allocation for precise comparison of means."""

from __future__ import annotations

import random as _random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from streamsim.estimators import best
from streamsim.estimators.base import List, Proportion, Variance
from streamsim.estimators.stored import Floats

__all__ = ["BBThompsonList", "ThompsonList", "ThompsonVarList", "best_of_betas", "best_of_normals"]

_SURE = 1e-6


class BBThompsonList(List):
    """A Beta-Bernoulli sampler: an arm's posterior is Beta(successes + a, failures + b), flat by default.

    Thompson, Biometrika 25 (1933). Draws come from NumPy's global generator.

    :param objects: stored `Proportion` dicts {p, n} by arm.
    :param value_names: the arms.
    :param prior: (a, b) of every arm's Beta prior; flat by default.
    :raises ValueError: as `List`; a parameter of the prior is not above 0.

    >>> arms = BBThompsonList({"a": {"n": 10, "p": 0.1}, "b": {"n": 10, "p": 0.9}}, ["a", "b"])
    >>> arms.posterior("b")
    (10.0, 2.0)
    >>> {arm: round(chance, 3) for arm, chance in arms.propensities().items()}
    {'a': 0.0, 'b': 1.0}
    """

    def __init__(
        self,
        objects: Mapping[Any, Any] | None,
        value_names: Iterable[Any],
        prior: Sequence[float] = (1.0, 1.0),
    ) -> None:
        super().__init__(objects, Proportion, value_names)
        if not all(figure > 0 for figure in prior):
            raise ValueError(f"a Beta prior has two parameters above 0, not {prior}")
        self._prior = prior

    def posterior(self, name: Any) -> tuple[float, float]:
        """Parameters (a, b) of an arm's Beta posterior. :raises KeyError: no such arm."""
        state = self.base_list[name].value
        successes = state["p"] * state["n"]
        return successes + self._prior[0], max(state["n"] - successes, 0.0) + self._prior[1]

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

        Computed by numerical integration with an error below 1e-8, in time proportional to the arms.
        """
        return dict(zip(self.base_list, best.of_betas(*self._posteriors()).tolist(), strict=True))

    def rival(self, leader: Any) -> Any:
        """An arm as `thompson` draws it, given that it is not the leader.

        It is drawn from its exact distribution, as many draws may be needed until the leader loses one. Where
        the leader surely wins, it is drawn as if there were no leader.

        :raises ValueError: there is no other arm.
        """
        chances = self._rivals(leader)
        return _random.choices(list(chances), list(chances.values()))[0]

    def top_two_propensities(self, beta: float) -> dict[Any, float]:
        """The probability of each arm if the leader, drawn by `thompson`, is played with probability `beta`,
        and else its `rival` (Russo, "Simple Bayesian algorithms for best arm identification", COLT 2016).
        """
        leading = self.propensities()
        if len(leading) == 1:
            return leading
        result = {arm: beta * chance for arm, chance in leading.items()}
        # The rival of leader j is i with probability p_i / (1 - p_j): one sum serves all but sure leaders.
        sure = [arm for arm, chance in leading.items() if 1 - chance < _SURE]
        odds = {arm: 0.0 if arm in sure else chance / (1 - chance) for arm, chance in leading.items()}
        total = sum(odds.values())
        for arm, chance in leading.items():
            result[arm] += (1 - beta) * chance * (total - odds[arm])
        for leader in sure:
            for arm, chance in self._rivals(leader).items():
                result[arm] += (1 - beta) * leading[leader] * chance
        everything = sum(result.values())
        return {arm: chance / everything for arm, chance in result.items()}

    def _rivals(self, leader: Any) -> dict[Any, float]:
        others = self.propensities()
        if 1 - others.pop(leader) < _SURE:
            a, b = self._posteriors()
            kept = np.array([arm != leader for arm in self.base_list])
            return dict(zip(others, best.of_betas(a[kept], b[kept]).tolist(), strict=True))
        total = sum(others.values())
        return {arm: chance / total for arm, chance in others.items()}

    def _posteriors(self) -> tuple[Floats, Floats]:
        """The parameters of all posteriors."""
        a, b = np.array([self.posterior(name) for name in self.base_list]).T
        return a, b

    def propensity(self, value: Any, n: int = 1000) -> float:
        """The probability that `thompson` chooses the arm `value`.

        :param n: StreamingBandit estimated it from n draws; here it is exact, whatever n is.
        :raises KeyError: there is no such arm.
        """
        return self.propensities()[value]


ThompsonList = BBThompsonList


def best_of_betas(a: ArrayLike, b: ArrayLike) -> list[float]:
    """The probability that each of independent draws from Beta(a_i, b_i) is the greatest; error below 1e-8.

    >>> [round(chance, 6) for chance in best_of_betas([1, 2], [1, 1])]
    [0.333333, 0.666667]
    """
    result: list[float] = best.of_betas(np.asarray(a, np.float64), np.asarray(b, np.float64)).tolist()
    return result


def best_of_normals(mean: ArrayLike, sd: ArrayLike) -> list[float]:
    """The same for draws from N(mean_i, sd_i^2), every sd above 0.

    >>> [round(chance, 3) for chance in best_of_normals([0.0, 1.0], [1.0, 1.0])]
    [0.24, 0.76]
    """
    result: list[float] = best.of_normals(np.asarray(mean, np.float64), np.asarray(sd, np.float64)).tolist()
    return result


class ThompsonVarList(List):
    """Allocation that makes the comparison of the arms' means as precise as possible.

    Kaptein, "The use of Thompson sampling to increase estimation precision", Behavior Research Methods 47
    (2015). With a flat prior on (mean, log variance), an arm's variance given its sum of squares s over n
    observations is s / chi2(n - 1).

    :param objects: stored `Variance` dicts {n, x_bar, s, v} by arm.
    :param value_names: the arms.
    :param prior: what was known of each variance before, as degrees of freedom and sum of squares, which are
        added to those that were observed.
    :raises ValueError: as `List`, and for a prior of other numbers than two from 0 on.

    >>> known, new = {"n": 50, "x_bar": 1.0, "s": 49.0, "v": 1.0}, {"n": 1, "x_bar": 2.0, "s": 0.0, "v": 0.0}
    >>> ThompsonVarList({"a": known, "b": new}, ["a", "b"]).experimentThompson()
    'b'
    """

    def __init__(
        self,
        objects: Mapping[Any, Any] | None,
        value_names: Iterable[Any],
        prior: Sequence[float] = (0, 0),
    ) -> None:
        super().__init__(objects, Variance, value_names)
        if len(prior) != 2 or not all(figure >= 0 for figure in prior):
            raise ValueError(f"prior is two numbers from 0 on, not {prior}")
        self.prior = float(prior[0]), float(prior[1])

    def _gains(self) -> tuple[list[Any], list[Any], Floats, Floats]:
        """Arms without a known variance; the others, and the gain of each as scale / chi2(freedom)."""
        freedom, squares = self.prior
        states = {name: (one.value["n"], one.value["s"]) for name, one in self.base_list.items()}
        told = {name: n >= 1 and n - 1 + freedom >= 1 for name, (n, _) in states.items()}
        known = [name for name, is_known in told.items() if is_known]
        n, s = np.array([states[name] for name in known], dtype=float).reshape(-1, 2).T
        unknown = [name for name, is_known in told.items() if not is_known]
        return unknown, known, (s + squares) / (n * (n + 1)), n - 1 + freedom

    def probabilities(self) -> dict[Any, float]:
        """With which probability `experimentThompson` plays each arm, exactly.

        >>> ThompsonVarList({}, ["a", "b"]).probabilities()
        {'a': 0.5, 'b': 0.5}
        """
        unknown, known, scale, freedom = self._gains()
        chances = dict.fromkeys(self.base_list, 0.0)
        if unknown:
            return chances | dict.fromkeys(unknown, 1 / len(unknown))
        # A variance that is 0 gains nothing.
        used = np.flatnonzero(scale > 0)
        if not len(used):
            return dict.fromkeys(known, 1 / len(known))
        found = best.of_inverse_chi_squares(scale[used], freedom[used]).tolist()
        return chances | dict(zip([known[place] for place in used], found, strict=True))

    def experimentThompson(self) -> Any:  # noqa: N802 - StreamingBandit's name
        """The arm whose next observation shrinks the squared standard error most, for drawn variances.

        One more observation takes var / n to var / (n + 1). An arm observed less than twice has no variance
        yet and goes first, at random among several.
        """
        unknown, known, scale, freedom = self._gains()
        if unknown:
            return _random.choice(unknown)
        gains = dict(zip(known, (scale / np.random.chisquare(freedom)).tolist(), strict=True))
        greatest = max(gains.values())
        return _random.choice([name for name, gain in gains.items() if gain == greatest])
