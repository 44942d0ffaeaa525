"""Off-policy estimators of the value of a candidate policy, from logged decisions.

Notation, for n logged decisions over K arms: arm a_i taken in context x_i with logged propensity p_i, reward
r_i; the candidate's probabilities pi(a | x_i); weights w_i = pi(a_i | x_i) / p_i; a reward model q(x, a), and
q_pi(x) = sum_a pi(a | x) q(x, a). E is the mean over the n rows.

Every estimator here is E[base] + E[numerator] / E[denominator], which gives its value, its influence function
(the delta method) and its bootstrap from the same three columns. With a `RewardModel`, base also holds the
influence of the fit, of mean 0, so that the intervals cover the model's estimation error (not a wrong form).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from streamsim.evaluation.adaptive import running_means
from streamsim.evaluation.intervals import Floats
from streamsim.evaluation.sample import Sample
from streamsim.evaluation.scale import LEAST_PROPENSITY

_GRID = 30


class Terms(NamedTuple):
    """An estimator's columns, n each: E[base] + E[numerator] / E[denominator], 1 where there is none."""

    base: Floats
    numerator: Floats
    denominator: Floats | None = None
    hyperparameter: float | None = None
    weight: Floats | None = None

    @property
    def value(self) -> float:
        """The estimate; NaN if the denominator is 0: nothing in the log speaks of the candidate."""
        bottom = 1.0 if self.denominator is None else float(self.denominator.mean())
        return float(self.base.mean() + self.numerator.mean() / bottom) if bottom else np.nan

    @property
    def influence(self) -> Floats:
        """Influence of each row on the value, of mean 0; the value's variance is its mean square over n."""
        if self.denominator is None:
            total = self.base + self.numerator
            return total - float(total.mean())
        bottom = float(self.denominator.mean())
        ratio = float(self.numerator.mean()) / bottom
        return self.base - float(self.base.mean()) + (self.numerator - ratio * self.denominator) / bottom


class Estimator(msgspec.Struct, frozen=True):
    """An entry of the registry; `formula` says what it computes, when it is right, and how it is tuned."""

    name: str
    title: str
    paper: str
    formula: str
    needs_propensity: bool
    needs_model: bool
    terms: Callable[[Sample], Terms]


ESTIMATORS: dict[str, Estimator] = {}


def _register(
    name: str, title: str, paper: str, *, propensity: bool = True, model: bool = False
) -> Callable[[Callable[..., Terms]], Callable[..., Terms]]:
    def add(terms: Callable[..., Terms]) -> Callable[..., Terms]:
        formula = " ".join((terms.__doc__ or "").split())
        ESTIMATORS[name] = Estimator(name, title, paper, formula, propensity, model, terms)
        return terms

    return add


@_register(
    "replay",
    "Replay",
    "Li, Chu, Langford, Wang, Unbiased offline evaluation of contextual-bandit-based news article "
    "recommendation algorithms, WSDM 2011",
    propensity=False,
)
def replay(sample: Sample) -> Terms:
    """E[pi(a|x) r] / E[pi(a|x)]: the mean reward of the decisions whose arm the candidate takes too.
    If the candidate draws its arm, its draws are averaged. Right if arms were logged uniformly at random.
    """
    return Terms(np.zeros(len(sample)), sample.match * sample.reward, sample.match, weight=sample.match)


@_register(
    "dm",
    "Direct method",
    "Beygelzimer, Langford, The offset tree for learning with partial labels, KDD 2009",
    propensity=False,
    model=True,
)
def direct_method(sample: Sample) -> Terms:
    """E[q_pi(x)]. Right if the reward model is."""
    return Terms(sample.modelled + sample.fit_influence(), np.zeros(len(sample)))


@_register(
    "ips",
    "Inverse propensity scoring",
    "Horvitz, Thompson, A generalization of sampling without replacement from a finite universe, JASA 47, "
    "1952",
)
def ips(sample: Sample) -> Terms:
    """E[w r]. Unbiased if the propensities are right and positive wherever pi is."""
    return Terms(np.zeros(len(sample)), sample.weight * sample.reward, weight=sample.weight)


@_register(
    "snips",
    "Self-normalised inverse propensity scoring",
    "Swaminathan, Joachims, The self-normalized estimator for counterfactual learning, NIPS 2015",
)
def snips(sample: Sample) -> Terms:
    """E[w r] / E[w]. Right under the conditions of IPS as n grows; stays within the range of the rewards."""
    return Terms(np.zeros(len(sample)), sample.weight * sample.reward, sample.weight, weight=sample.weight)


@_register(
    "dr",
    "Doubly robust",
    "Dudik, Erhan, Langford, Li, Doubly robust policy evaluation and optimization, Statistical Science 29, "
    "2014",
    model=True,
)
def doubly_robust(sample: Sample) -> Terms:
    """E[q_pi(x) + w (r - q(x, a))]. Right if either the propensities or the reward model are."""
    return _corrected(sample, sample.weight)


@_register(
    "sndr",
    "Self-normalised doubly robust",
    "Thomas, Brunskill, Data-efficient off-policy policy evaluation for reinforcement learning, ICML 2016",
    model=True,
)
def self_normalised_doubly_robust(sample: Sample) -> Terms:
    """E[q_pi(x)] + E[w (r - q(x, a))] / E[w]. As DR, less sensitive to a few large weights."""
    w = sample.weight
    mean = w.mean()
    base = sample.modelled + sample.fit_influence(w / mean if mean else None)
    return Terms(base, w * sample.error, w, weight=w)


@_register(
    "switch-dr",
    "Switch doubly robust",
    "Wang, Agarwal, Dudik, Optimal and adaptive off-policy evaluation in contextual bandits, ICML 2017",
    model=True,
)
def switch_doubly_robust(sample: Sample, tau: float | None = None) -> Terms:
    """E[q_pi(x) + w 1{w <= tau} (r - q(x, a))]: where a weight exceeds tau, the model alone.

    tau: the one of least estimated mean squared error among 30, spaced geometrically from the
    5 % to the 95 % quantile of the positive weights, and none (null).
    """
    w = sample.weight

    def kept(tau: float) -> Floats:
        return np.where(w <= tau, w, 0.0)

    if tau is None:
        tau = _choose(sample, kept, _grid(w))
    return _corrected(sample, kept(tau), tau)


@_register(
    "dros",
    "Doubly robust with optimistic shrinkage",
    "Su, Dimakopoulou, Krishnamurthy, Dudik, Doubly robust off-policy evaluation with shrinkage, ICML 2020",
    model=True,
)
def shrunk_doubly_robust(sample: Sample, lam: float | None = None) -> Terms:
    """E[q_pi(x) + v (r - q(x, a))] with v = lambda w / (w^2 + lambda): from DM (lambda = 0) to DR (infinite).

    lambda: the one of least estimated mean squared error among 30, spaced geometrically from 0.01 times the
    squared 5 % quantile of the positive weights to 100 times the squared 95 % quantile, and infinity (null).
    """
    w = sample.weight

    def shrunk(lam: float) -> Floats:
        return w if np.isinf(lam) else np.divide(lam * w, w**2 + lam, out=np.zeros_like(w), where=w > 0)

    if lam is None:
        grid = _grid(w)
        low, high = grid[0], grid[-1]
        lam = _choose(sample, shrunk, np.geomspace(0.01 * low**2, 100 * high**2, _GRID, dtype=np.float64))
    return _corrected(sample, shrunk(lam), lam)


@_register(
    "aw-dr",
    "Adaptively weighted doubly robust",
    "Zhan, Hadad, Hirshberg, Athey, Off-policy evaluation via adaptive weighting with data from contextual "
    "bandits, KDD 2021",
)
def adaptively_weighted(sample: Sample) -> Terms:
    """E[h g] / E[h] in each context, then the mean over contexts, with scores g = sum_a pi(a|x) m(a) +
    w (r - m(a)), m the arm's mean reward before the decision, and h = 1 / sqrt(sum_a pi(a|x)^2 / e(a|x)) for
    the logging policy's probabilities e of all arms: decisions whose weight could be large count less. For
    logs of a policy that learned meanwhile.
    """
    assert sample.logging is not None
    assert sample.groups is not None
    means = running_means(sample.action, sample.reward, sample.target.shape[1])
    taken = means[np.arange(len(sample)), sample.action]
    scores = (sample.target * means).sum(axis=1) + sample.weight * (sample.reward - taken)
    chances = np.maximum(sample.logging, LEAST_PROPENSITY)
    h = 1 / np.sqrt((sample.target**2 / chances).sum(axis=1))
    whole = np.bincount(sample.groups, weights=h)
    ratio = (np.bincount(sample.groups, weights=h * scores) / whole)[sample.groups]
    share = (np.bincount(sample.groups) / whole)[sample.groups]
    return Terms(ratio + share * h * (scores - ratio), np.zeros(len(sample)), weight=sample.weight)


def _corrected(sample: Sample, weight: Floats, hyperparameter: float | None = None) -> Terms:
    if hyperparameter is not None and np.isinf(hyperparameter):
        hyperparameter = None
    base = sample.modelled + sample.fit_influence(weight)
    return Terms(base, weight * sample.error, None, hyperparameter, weight)


def _grid(weight: Floats) -> Floats:
    positive = weight[weight > 0]
    if not len(positive):
        return np.ones(1)
    low, high = np.quantile(positive, [0.05, 0.95]).tolist()
    return np.geomspace(low, high, _GRID, dtype=np.float64)


def _choose(sample: Sample, weight_of: Callable[[float], Floats], grid: Floats) -> float:
    """The hyperparameter of least estimated mean squared error; infinity leaves the weights as they are.

    That is the variance plus the squared bias, whose direct estimate is E[(w - v) (r - q)] for weights v in
    place of w (Su et al. 2020, model selection). Plain DR, which has no bias, is always among the choices.
    """

    def squared_error(hyperparameter: float) -> float:
        weight = weight_of(hyperparameter)
        variance = (_corrected(sample, weight).influence ** 2).mean() / len(sample)
        return float(variance + ((sample.weight - weight) * sample.error).mean() ** 2)

    choices: list[float] = [np.inf, *grid[::-1].tolist()]
    return min(choices, key=squared_error)
