"""Plain sentences about why an off-policy estimate cannot be trusted, or is not given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from streamsim.evaluation.few_events import Events, effective_size
from streamsim.evaluation.intervals import Floats
from streamsim.evaluation.sample import Overlap, Sample
from streamsim.evaluation.scale import LEAST_PROPENSITY
from streamsim.evaluation.value_estimators import Estimator, Terms

FEW: Final = 100
_DOMINANT = 0.1
_UNSEEN = 0.01
_HALF = 0.5
_UNLIKELY = 4.0
_ROUNDING = 1e-9
_SKEWED = 0.15
NOTHING: Final = "The candidate never takes a logged action, so the log says nothing about it."


def lacking(sample: Sample, estimator: Estimator) -> str | None:
    """What an estimator needs and the sample does not have, as a sentence."""
    if estimator.needs_propensity and sample.propensity is None:
        return (
            "The log has no propensities, and this estimator needs them: the policy can tell them in "
            "self.action_probabilities, or the experiment have log_propensity."
        )
    if estimator.needs_propensity and sample.tiny:
        return (
            f"{sample.tiny:,} decisions have a propensity under {LEAST_PROPENSITY:g}: no weight can be made "
            "of those, and this estimator needs weights."
        )
    if estimator.name == "aw-dr" and sample.logging is None:
        return (
            "This estimator needs the logging policy's probability of every arm in each decision "
            "(probabilities), not only that of the arm that was taken."
        )
    if estimator.name == "aw-dr" and sample.groups is None:
        return "This estimator needs contexts that repeat, 20 decisions each on average."
    if estimator.needs_model and sample.model is None:
        return "There is no reward model, and this estimator needs one."
    if not (sample.match > 0).any() and (estimator.name != "dm" or _unseen_alone(sample)):
        return NOTHING
    return None


def _unseen_alone(sample: Sample) -> bool:
    """Whether the candidate takes nothing but arms that were never logged."""
    seen = np.zeros(sample.target.shape[1], dtype=bool)
    seen[sample.action] = True
    return not (sample.target[:, seen] > 0).any()


def warnings(
    sample: Sample, estimator: Estimator, terms: Terms, seen: Overlap, events: Events | None
) -> Iterator[str]:
    """What speaks against an estimate that has a value."""
    n = len(sample)
    if sample.left_out:
        yield f"{sample.left_out:,} decisions were left out because their propensity is not known."
    few = False
    if terms.weight is not None:
        size = effective_size(terms.weight)
        few = size < FEW
        if few:
            yield f"The estimate rests on the equivalent of {size:,.0f} of the {n:,} decisions."
        share = float(terms.weight.max() / terms.weight.sum()) if size else 0.0
        if share > _DOMINANT:
            yield f"A single decision carries {share:.0%} of all weight."
    elif few := n < FEW:
        yield f"There are only {n:,} decisions."
    if events is not None and events.few:
        yield (
            f"Only {events.count:,} of the decisions behind the estimate have another reward than "
            f"{events.usual * sample.unit:g}: neither the asymptotic nor the bootstrap interval holds for so "
            "few."
        )
    if (events is None or not events.few) and not few and _skewness(terms.influence) > _SKEWED:
        yield (
            "A few decisions with large weighted rewards shape the estimate: it is skewed, and its interval "
            "may be too short on one side."
        )
    if sample.unseen_share > _UNSEEN and estimator.needs_propensity:
        assert sample.propensity_runs is not None
        runs = sample.propensity_runs[sample.propensity_runs > 0]
        yield (
            f"{sample.unseen_share:.0%} of the weight rests on propensities of a few out of {runs.min():,} "
            f"to {runs.max():,} runs: weights of arms that are rarer than that are too small, and no "
            "interval holds. A policy that tells its probabilities has no such limit."
        )
    if sample.adaptive:
        yield (
            "The log was collected adaptively, its propensities move: an arm that was given up leaves few "
            "and heavy decisions. aw-dr has weights made for that; a floor under the logging policy's "
            "probabilities keeps intervals right."
        )
    alike = seen.effective_sample_size
    if estimator.needs_model and not few and alike is not None and alike < FEW:
        yield (
            f"What the candidate does was logged the equivalent of {alike:,.0f} times in {n:,} decisions: "
            "elsewhere the reward model guesses, and the intervals leave that out."
        )
    if seen.never_logged > _UNSEEN:
        yield _unseen(estimator, seen)
    if sample.weighed:
        yield from _of_propensities(sample, estimator, terms, seen)
    elif sample.tiny:
        yield "Some propensities are too small to make weights of: what they would say was not checked."
    if sample.propensity is None and estimator.name == "replay":
        yield "Replay is right if arms were logged uniformly at random; that is not known here."


def _unseen(estimator: Estimator, seen: Overlap) -> str:
    some = ", ".join(seen.never_logged_arms[:5]) + (", ..." if len(seen.never_logged_arms) > 5 else "")
    start = f"{seen.never_logged:.0%} of the candidate's choices are arms that were never logged ({some})"
    if estimator.needs_model:
        return f"{start}: about these the reward model only guesses from the other arms."
    if estimator.name == "ips":
        return f"{start}: they count as if their reward were 0."
    return f"{start}: the estimate is about the others only."


def _of_propensities(sample: Sample, estimator: Estimator, terms: Terms, seen: Overlap) -> Iterator[str]:
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
            f"rewards differ from its predictions by {(w * sample.error).mean() * sample.unit:+.3g} on "
            "average."
        )


def _bounded(sample: Sample, terms: Terms, weight: Floats) -> Iterator[str]:
    if weight.sum() < _HALF * sample.weight.sum():
        yield "More than half of the weight was taken away: the estimate is mostly the reward model's."
    shift = float(((sample.weight - weight) * sample.error).mean())
    if abs(shift) > np.sqrt((terms.influence**2).mean() / len(sample)):
        yield (
            f"With its weights bounded the estimate is {abs(shift) * sample.unit:.3g} "
            f"{'lower' if shift > 0 else 'higher'} than the doubly robust one; the intervals leave out such "
            "a bias."
        )


def _skewness(influence: Floats) -> float:
    """How skewed the estimate is, by the skewness of its parts: about the error of normal intervals."""
    spread = float(np.sqrt((influence**2).mean()))
    return abs(float(((influence / spread) ** 3).mean())) / len(influence) ** 0.5 if spread else 0.0


def _differs(figures: Floats) -> bool:
    """Whether their mean is further from 0 than chance explains."""
    chance = max(_UNLIKELY * figures.std() / np.sqrt(len(figures)), _ROUNDING)
    return bool(len(figures) >= FEW and abs(figures.mean()) > chance)
