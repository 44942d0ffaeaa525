"""How much one candidate earns more than another, or than the log did: paired, decision by decision."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from streamsim.evaluation import distributions, doubts
from streamsim.evaluation.intervals import Floats, Interval
from streamsim.evaluation.offpolicy import spread_of, weight_of
from streamsim.evaluation.sample import Sample
from streamsim.evaluation.scale import in_rewards
from streamsim.evaluation.value_estimators import ESTIMATORS

LOG: Final = "log"
LEVEL: Final = 0.95


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What `first` earns more per decision than `second`, by one estimator.

    `interval` holds for this difference alone, `simultaneous` for all differences of the estimator together
    (Bonferroni). Both are None where the estimates have no intervals that their decisions can be paired in.
    """

    estimator: str
    first: str
    second: str
    value: float
    interval: Interval | None = None
    simultaneous: Interval | None = None


def between(
    samples: Mapping[str, Sample], estimates: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Difference]:
    """Of all pairs of candidates, and of each and the mean reward of the log, by each estimator.

    :param samples: of each candidate, all of the same decisions.
    :param estimates: of each, as in the answer.
    """
    names = list(dict.fromkeys(one["estimator"] for found in estimates.values() for one in found))
    pairs = [*itertools.combinations(samples, 2), *((name, LOG) for name in samples)]
    shown = {(who, one["estimator"]): one for who, found in estimates.items() for one in found}
    result = []
    for name in names:
        parts = {who: _parts(sample, name) for who, sample in samples.items()}
        some = next(iter(samples.values()))
        mean = float(some.reward.mean())
        parts[LOG] = (mean, some.reward - mean, np.ones(len(some)))
        for first, second in pairs:
            one, other = parts[first], parts[second]
            if one is None or other is None:
                continue
            value = in_rewards(one[0] - other[0], some.unit)
            if value is None:
                continue
            holds = all(
                who == LOG or shown[who, name].get("method") == "asymptotic" for who in (first, second)
            )
            ends = [
                _interval(some, one, other, level) if holds else None
                for level in (LEVEL, 1 - (1 - LEVEL) / len(pairs))
            ]
            result.append(
                Difference(
                    estimator=name,
                    first=first,
                    second=second,
                    value=value,
                    interval=ends[0],
                    simultaneous=ends[1],
                )
            )
    return result


_Parts = tuple[float, Floats, Floats]
"""The value of an estimate, and the influence and the weight of every decision."""


def _parts(sample: Sample, name: str) -> _Parts | None:
    """None if there is no value."""
    if doubts.lacking(sample, ESTIMATORS[name]) is not None:
        return None
    terms = ESTIMATORS[name].terms(sample)
    return (terms.value, terms.influence, weight_of(sample, terms)) if np.isfinite(terms.value) else None


def _interval(sample: Sample, one: _Parts, other: _Parts, level: float) -> Interval | None:
    value = one[0] - other[0]
    # Of the two the one that fewer units speak of.
    spread, size = max(spread_of(sample, one[1] - other[1], weight) for weight in (one[2], other[2]))
    if size < 2:
        return None
    reach = distributions.student_t(size - 1, (1 + level) / 2) * spread
    low, high = in_rewards(value - reach, sample.unit), in_rewards(value + reach, sample.unit)
    return None if low is None or high is None else Interval(low, high)
