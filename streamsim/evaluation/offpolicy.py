"""What a candidate policy would have earned on logged decisions: estimates, intervals and their trust.

The estimators are in `value_estimators`, their input is made by `sample.prepare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from streamsim.errors import BadRequest
from streamsim.evaluation import distributions
from streamsim.evaluation.intervals import Floats, Interval, bootstrap_means, percentile_interval
from streamsim.evaluation.sample import Overlap, Sample, effective_size, overlap
from streamsim.evaluation.value_estimators import ESTIMATORS, Estimator, Terms

_FEW = 100
_DOMINANT = 0.1
_UNSEEN = 0.01
_HALF = 0.5
_UNLIKELY = 4.0
_ROUNDING = 1e-9


class Estimate(msgspec.Struct, frozen=True):
    """One estimator's answer. What is None could not be computed, and a warning says why.

    `asymptotic`: the value and Student's t times the standard error that its influence function gives.
    `bootstrap`: percentiles over seeded resamplings of the decisions. `hyperparameter`: the one chosen; None
    also for "none". No `warnings`: nothing in the data gave a reason for doubt.
    """

    estimator: str
    value: float | None = None
    standard_error: float | None = None
    asymptotic: Interval | None = None
    bootstrap: Interval | None = None
    hyperparameter: float | None = None
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

    :param estimators: names in `ESTIMATORS`; by default all.
    :param level: of the intervals, between 0 and 1.
    :param resamples: of the bootstrap, the same ones for every estimator.
    :raises BadRequest: for an unknown estimator.
    """
    names = list(ESTIMATORS if estimators is None else dict.fromkeys(estimators))
    for name in names:
        if name not in ESTIMATORS:
            raise BadRequest(f"no estimator {name!r}; there are {', '.join(ESTIMATORS)}", field="estimators")
    seen = overlap(sample)
    terms = {
        name: ESTIMATORS[name].terms(sample) for name in names if _lacks(sample, ESTIMATORS[name]) is None
    }
    replicates = _replicates(terms, resamples, seed)
    estimates = []
    for name in names:
        if name in terms:
            estimates.append(_estimate(sample, ESTIMATORS[name], terms[name], replicates[name], seen, level))
        else:
            estimates.append(Estimate(name, warnings=(str(_lacks(sample, ESTIMATORS[name])),)))
    return Evaluation(tuple(estimates), seen, level)


def _lacks(sample: Sample, estimator: Estimator) -> str | None:
    if estimator.needs_propensity and sample.propensity is None:
        return "The log has no propensities, and this estimator needs them."
    if estimator.needs_model and sample.model is None:
        return "There is no reward model, and this estimator needs one."
    return None


def _replicates(terms: dict[str, Terms], resamples: int, seed: int) -> dict[str, Floats]:
    """Each estimator's value on resampled decisions; NaN where its denominator is 0."""
    if not terms:
        return {}
    columns = [
        column
        for each in terms.values()
        for column in (each.base, each.numerator, each.denominator)
        if column is not None
    ]
    means = iter(bootstrap_means(np.stack(columns, axis=1), resamples=resamples, seed=seed).T)
    result = {}
    for name, each in terms.items():
        value, top = next(means), next(means)
        if each.denominator is not None:
            bottom = next(means)
            top = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
        result[name] = value + top
    return result


def _estimate(
    sample: Sample, estimator: Estimator, terms: Terms, replicates: Floats, seen: Overlap, level: float
) -> Estimate:
    n = len(sample)
    warnings = tuple(_warnings(sample, estimator, terms, seen))
    value = terms.value
    if np.isnan(value):
        return Estimate(estimator.name, warnings=warnings)
    error = asymptotic = bootstrap = None
    if n > 1:
        error = float(np.sqrt((terms.influence**2).sum() / (n - 1) / n))
        reach = distributions.student_t(n - 1, (1 + level) / 2) * error
        asymptotic = Interval(value - reach, value + reach)
        if not np.isnan(replicates).any():
            bootstrap = percentile_interval(replicates, level)
        else:
            warnings += (
                "Some resamplings hold no decision that speaks of the candidate: no bootstrap interval.",
            )
    return Estimate(estimator.name, value, error, asymptotic, bootstrap, terms.hyperparameter, warnings)


def _warnings(sample: Sample, estimator: Estimator, terms: Terms, seen: Overlap) -> Iterator[str]:
    n = len(sample)
    if sample.left_out:
        yield f"{sample.left_out:,} decisions were left out because their propensity is not known."
    few = False
    if terms.weight is not None:
        size = effective_size(terms.weight)
        if size == 0:
            yield "The candidate never takes a logged action, so the log says nothing about it."
            return
        few = size < _FEW
        if few:
            yield f"The estimate rests on the equivalent of {size:,.0f} of the {n:,} decisions."
        share = float(terms.weight.max() / terms.weight.sum())
        if share > _DOMINANT:
            yield f"A single decision carries {share:.0%} of all weight."
    elif few := n < _FEW:
        yield f"There are only {n:,} decisions."
    alike = seen.effective_sample_size
    if estimator.needs_model and not few and alike is not None and alike < _FEW:
        yield (
            f"What the candidate does was logged the equivalent of {alike:,.0f} times in {n:,} decisions: "
            "elsewhere the reward model guesses, and the intervals leave that out."
        )
    if seen.never_logged > _UNSEEN:
        yield _unseen(estimator, seen)
    if sample.propensity is not None:
        yield from _doubts(sample, estimator, terms, seen)
    elif estimator.name == "replay":
        yield "Replay is right if arms were logged uniformly at random; that is not known here."


def _unseen(estimator: Estimator, seen: Overlap) -> str:
    some = ", ".join(seen.never_logged_arms[:5]) + (", ..." if len(seen.never_logged_arms) > 5 else "")
    start = f"{seen.never_logged:.0%} of the candidate's choices are arms that were never logged ({some})"
    if estimator.needs_model:
        return f"{start}: about these the reward model only guesses from the other arms."
    if estimator.name == "ips":
        return f"{start}: they count as if their reward were 0."
    return f"{start}: the estimate is about the others only."


def _doubts(sample: Sample, estimator: Estimator, terms: Terms, seen: Overlap) -> Iterator[str]:
    """What the propensities tell against an estimate."""
    p, w = sample.propensity, sample.weight
    assert p is not None
    if estimator.name == "replay" and p.max() - p.min() > 0.01 * p.max():
        yield (
            f"Replay is right if arms were logged uniformly at random, but propensities go from "
            f"{p.min():.3g} to {p.max():.3g}: the estimate leans towards what was logged often."
        )
    if estimator.needs_propensity:
        # An arm that was never logged may have had a small probability or none.
        if _differs(w - 1) and _differs(w - 1 + seen.never_logged):
            yield (
                f"The weights have a mean of {w.mean():.3g}, not 1: the logged propensities are wrong, or in "
                "some contexts the candidate takes arms that the logging policy could not."
            )
        if estimator.needs_model and terms.weight is not None:
            yield from _bounded(sample, terms, terms.weight)
    if estimator.name == "dm" and _differs(w * sample.error):
        yield (
            "The reward model is off: on the logged decisions, weighted as the candidate would take them, "
            f"rewards differ from its predictions by {(w * sample.error).mean():+.3g} on average."
        )


def _bounded(sample: Sample, terms: Terms, weight: Floats) -> Iterator[str]:
    if weight.sum() < _HALF * sample.weight.sum():
        yield "More than half of the weight was taken away: the estimate is mostly the reward model's."
    shift = float(((sample.weight - weight) * sample.error).mean())
    if abs(shift) > np.sqrt((terms.influence**2).mean() / len(sample)):
        yield (
            f"With its weights bounded the estimate is {abs(shift):.3g} {'lower' if shift > 0 else 'higher'} "
            "than the doubly robust one; the intervals leave out such a bias."
        )


def _differs(figures: Floats) -> bool:
    """Whether their mean is further from 0 than chance explains."""
    chance = max(_UNLIKELY * figures.std() / np.sqrt(len(figures)), _ROUNDING)
    return bool(len(figures) >= _FEW and abs(figures.mean()) > chance)
