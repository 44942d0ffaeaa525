"""What a candidate policy would have earned on logged decisions: estimates, intervals and their trust.

The estimators are in `value_estimators`, their input is made by `sample.prepare`, what speaks against an
estimate is in `doubts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np

from streamsim.errors import BadRequest
from streamsim.evaluation import adaptive, distributions, doubts, few_events, units
from streamsim.evaluation.intervals import Floats, Interval, bootstrap_means, percentile_interval
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.sample import Overlap, Sample, overlap, prepare
from streamsim.evaluation.scale import TOO_LARGE, in_rewards
from streamsim.evaluation.value_estimators import ESTIMATORS, Estimator, Terms

Method = Literal["asymptotic", "wilson", "doubly robust"]
_BIASED = ("dm", "switch-dr", "dros")
"""Estimators that trade a bias for variance."""


class Gain(msgspec.Struct, frozen=True):
    """What a candidate earns more per decision than the log did: paired, decision by decision."""

    value: float
    low: float
    high: float


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """One estimator's answer. What is None could not be computed, and a warning says why.

    `interval`: the one to use, by `method`; None where no method holds. `asymptotic`: the value and Student's
    t times the standard error that its influence function gives. `bootstrap`: percentiles over seeded
    resamplings of the decisions. `events`: decisions behind the estimate whose reward is not the usual one;
    None where no reward is usual. `bounds`: between which the value lies whatever the missing rewards are;
    None where none is missing. `hyperparameter`: the one chosen; None also for "none". `gain`: over the mean
    reward of the log; None where the normal distribution does not hold. No `warnings`: nothing in the data
    gave a reason for doubt.
    """

    estimator: str
    value: float | None = None
    standard_error: float | None = None
    interval: Interval | None = None
    method: Method | None = None
    asymptotic: Interval | None = None
    bootstrap: Interval | None = None
    events: int | None = None
    bounds: Interval | None = None
    hyperparameter: float | None = None
    gain: Gain | None = None
    warnings: tuple[str, ...] = ()


class Evaluation(msgspec.Struct, frozen=True):
    """All estimates of one candidate's expected reward per decision on one log."""

    estimates: tuple[Estimate, ...]
    overlap: Overlap
    level: float


def evaluate(
    sample: Sample,
    estimators: Iterable[str] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Estimates of a candidate's expected reward per decision.

    :param estimators: names in `ESTIMATORS`; by default all, `aw-dr` only on adaptive logs.
    :param level: of the intervals, between 0 and 1.
    :param resamples: of the bootstrap, the same ones for every estimator.
    :raises BadRequest: for an unknown estimator.
    """
    if estimators is None:
        estimators = [name for name in ESTIMATORS if name != "aw-dr" or sample.adaptive]
    names = list(dict.fromkeys(estimators))
    for name in names:
        if name not in ESTIMATORS:
            raise BadRequest(f"no estimator {name!r}; there are {', '.join(ESTIMATORS)}", field="estimators")
    seen = overlap(sample)
    lacking = {name: doubts.lacking(sample, ESTIMATORS[name]) for name in names}
    terms = {name: ESTIMATORS[name].terms(sample) for name in names if lacking[name] is None}
    replicates = _replicates(sample, terms, resamples, seed)
    unbiased = _unbiased(sample, terms, level)
    estimates = []
    for name in names:
        if name in terms:
            estimates.append(
                _estimate(sample, ESTIMATORS[name], terms[name], replicates[name], seen, level, unbiased)
            )
        else:
            estimates.append(Estimate(estimator=name, warnings=(str(lacking[name]),)))
    return Evaluation(tuple(estimates), seen, level)


def values(
    data: DecisionLog, arms: Sequence[str], target: Floats, names: Sequence[str], *, seed: int
) -> list[float | None]:
    """The values alone, of estimators by name; None where there is none. The rest is as for `prepare`."""
    sample = prepare(data, arms, target, seed=seed)
    return [
        None
        if doubts.lacking(sample, ESTIMATORS[name]) is not None
        else in_rewards(ESTIMATORS[name].terms(sample).value, sample.unit)
        for name in names
    ]


def _replicates(sample: Sample, terms: dict[str, Terms], resamples: int, seed: int) -> dict[str, Floats]:
    """Each estimator's value on resampled decisions, or units; NaN where its denominator is 0."""
    if not terms:
        return {}
    columns = [
        column
        for each in terms.values()
        for column in (each.base, each.numerator, each.denominator)
        if column is not None
    ]
    if sample.units is not None:
        columns = [units.sums(column, sample.units) for column in (*columns, np.ones(len(sample)))]
    resampled = bootstrap_means(np.stack(columns, axis=1), resamples=resamples, seed=seed).T
    if sample.units is not None:
        # A resampling has as many decisions as its units have.
        resampled = resampled[:-1] / resampled[-1]
    means = iter(resampled)
    result = {}
    for name, each in terms.items():
        value, top = next(means), next(means)
        if each.denominator is not None:
            bottom = next(means)
            top = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
        result[name] = value + top
    return result


def _estimate(
    sample: Sample,
    estimator: Estimator,
    terms: Terms,
    replicates: Floats,
    seen: Overlap,
    level: float,
    unbiased: Interval | None,
) -> Estimate:
    """All of it in the rewards' own unit."""
    unit = sample.unit
    value = in_rewards(terms.value, unit)
    if value is None:
        return Estimate(estimator=estimator.name, warnings=(TOO_LARGE if terms.value else doubts.NOTHING,))
    weight = weight_of(sample, terms)
    single = np.count_nonzero(weight) < 2 or (
        sample.units is not None and few_events.effective_size(units.sums(weight, sample.units)) < 2
    )
    events = None if single else few_events.behind(weight, sample.reward)
    warnings = [*doubts.warnings(sample, estimator, terms, seen, events)]
    error: float | None = None
    interval = asymptotic = bootstrap = None
    method: Method | None = None
    if single:
        warnings.append(
            f"One {'decision' if sample.units is None else 'unit'} alone speaks of the candidate: it has "
            "neither a standard error nor an interval."
        )
    elif estimator.needs_propensity and sample.unseen_share > few_events.UNSEEN:
        error = in_rewards(spread_of(sample, terms.influence, weight)[0], unit)
    elif sample.adaptive and adaptive.ill_posed(weight):
        error = in_rewards(spread_of(sample, terms.influence, weight)[0], unit)
        warnings.append("So few decisions of an adaptive log speak of the candidate that no interval holds.")
    else:
        spread, size = spread_of(sample, terms.influence, weight)
        reach = distributions.student_t(size - 1, (1 + level) / 2) * spread
        normal = Interval(terms.value - reach, terms.value + reach)
        error = in_rewards(spread, unit)
        if events is not None and events.few:
            interval, method = _scaled(events.interval(terms.value, normal, level), unit), "wilson"
            if interval is None:
                method = None
                warnings.append("All rewards are alike, and their range is not known: there is no interval.")
            else:
                warnings.append("The interval is Wilson's, for the effective number of decisions.")
        else:
            interval, method = _scaled(normal, unit), "asymptotic"
            asymptotic = interval
            if estimator.name in _BIASED and unbiased is not None and interval is not None:
                other = _scaled(unbiased, unit)
                method = "doubly robust"
                if other is not None:
                    interval = Interval(min(interval.low, other.low), max(interval.high, other.high))
            if np.isnan(replicates).any():
                warnings.append(
                    "Some resamplings hold no decision that speaks of the candidate: no bootstrap interval."
                )
            else:
                bootstrap = _scaled(percentile_interval(replicates, level), unit)
            if interval is None or error is None:
                method = None
                warnings.append(TOO_LARGE)
    return Estimate(
        estimator=estimator.name,
        gain=_gain(sample, terms, level) if method == "asymptotic" else None,
        value=value,
        standard_error=error,
        interval=interval,
        method=method,
        asymptotic=asymptotic,
        bootstrap=bootstrap,
        events=None if events is None else events.count,
        hyperparameter=terms.hyperparameter,
        warnings=tuple(warnings),
    )


def _gain(sample: Sample, terms: Terms, level: float) -> Gain | None:
    """The paired difference to what was earned: both are means over the same decisions."""
    mean = float(sample.reward.mean())
    spread, size = spread_of(sample, terms.influence - (sample.reward - mean), weight_of(sample, terms))
    reach = distributions.student_t(size - 1, (1 + level) / 2) * spread
    value = terms.value - mean
    ends = [in_rewards(figure, sample.unit) for figure in (value, value - reach, value + reach)]
    return None if None in ends else Gain(*[float(end) for end in ends if end is not None])


def _unbiased(sample: Sample, terms: dict[str, Terms], level: float) -> Interval | None:
    """The doubly robust interval, in the sample's unit; None if none needs it or it cannot be made."""
    dr = ESTIMATORS["dr"]
    if not any(name in terms for name in _BIASED) or doubts.lacking(sample, dr) is not None:
        return None
    found = terms.get("dr") or dr.terms(sample)
    spread, size = spread_of(sample, found.influence, weight_of(sample, found))
    if size < 2:
        return None
    reach = distributions.student_t(size - 1, (1 + level) / 2) * spread
    return Interval(found.value - reach, found.value + reach)


def spread_of(sample: Sample, influence: Floats, weight: Floats | None = None) -> tuple[float, float]:
    """The standard error, and on how many independent decisions or units it rests.

    Within units decisions may depend on each other in any way: their influences are added first. Units are
    few, so that the effective number of those that speak of the candidate counts.

    :param weight: how much each decision says of the candidate; None: all alike.
    """
    n = len(influence)
    parts = influence if sample.units is None else units.sums(influence, sample.units)
    size = float(len(parts))
    if sample.units is not None and weight is not None:
        size = min(size, few_events.effective_size(units.sums(weight, sample.units)))
    return float(np.sqrt((parts**2).sum() * size / max(size - 1, 1))) / n, max(size, 1.0)


def weight_of(sample: Sample, terms: Terms) -> Floats:
    """How much each decision says of the candidate."""
    if sample.weighed and terms.weight is not sample.match:
        return sample.weight
    return sample.match


def _scaled(interval: Interval | None, unit: float) -> Interval | None:
    """An interval in the rewards' own unit; None where an end is no finite number."""
    if interval is None:
        return None
    low, high = in_rewards(interval.low, unit), in_rewards(interval.high, unit)
    return None if low is None or high is None else Interval(low, high)
