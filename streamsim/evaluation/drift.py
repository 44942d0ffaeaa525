"""Whether what a policy sees and earns has changed in the course of a log, and whether it tries all arms.

A change is sought in the order of decisions by ranks: the largest partial sum of centred ranks, which without
a change is that of a Brownian bridge (Pettitt, "A non-parametric approach to the change-point problem",
Applied Statistics 28, 1979; Kolmogorov's distribution). It needs no bounds, and is right for any distribution
and with ties. Rewards are looked at within an arm: that a policy learns to take
better arms is no drift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from streamsim import dates
from streamsim.decisions.arms import label
from streamsim.evaluation.health import ALPHA, Check
from streamsim.evaluation.intervals import Floats

LEAST: Final = 100
"""So many figures a series needs."""
MOST_FIELDS: Final = 50
_MOST_KINDS: Final = 20
_GROWS: Final = 0.9
_SURE: Final = 0.2
_NEWEST: Final = 500
_TRIED: Final = 1e-3


class Change(NamedTuple):
    """The likeliest change of a series: its place, means before and after, and the p-value of none."""

    place: int
    before: float
    after: float
    statistic: float
    p_value: float


def change(figures: Floats) -> Change | None:
    """The change of n figures in order; None where there are fewer than `LEAST`, or all are alike."""
    n = len(figures)
    if n < LEAST:
        return None
    ranks = mid_ranks(figures)
    spread = _spread(ranks)
    if spread == 0:
        return None
    sums = np.abs(np.cumsum(ranks - ranks.mean()))[:-1]
    place = int(sums.argmax()) + 1
    statistic = float(sums[place - 1]) / (spread * math.sqrt(n))
    before, after = float(figures[:place].mean()), float(figures[place:].mean())
    return Change(place, before, after, statistic, float(kolmogorov(statistic)))


def mid_ranks(figures: Floats) -> Floats:
    """Ranks from 1, of equal figures their mean."""
    _, places, counts = np.unique(figures, return_inverse=True, return_counts=True)
    ranks: Floats = (counts.cumsum() - (counts - 1) / 2)[places]
    return ranks


def kolmogorov(statistic: float) -> float:
    """The probability that a Brownian bridge goes further than this from 0."""
    if statistic < _SURE:
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * statistic) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def _spread(ranks: Floats) -> float:
    """The standard deviation of n ranks; larger where neighbours are alike, as in the course of a day.

    That is seen in means of blocks, of sqrt(n) to n / 8: half the mean square of the differences of
    neighbouring ones, which a single change hardly moves (von Neumann, Annals of Mathematical Statistics 12,
    1941).
    """
    largest, size = float(ranks.var()), math.isqrt(len(ranks))
    while size <= len(ranks) // 8:
        blocks = ranks[: len(ranks) // size * size].reshape(-1, size).mean(axis=1)
        largest = max(largest, size * float((np.diff(blocks) ** 2).mean()) / 2)
        size *= 2
    return math.sqrt(largest)


def of_series(name: str, what: str, series: Mapping[str, tuple[Floats, Sequence[int]]]) -> Check:
    """One check of several series, with the number of them accounted for.

    :param what: they are called in sentences. :param series: by name, figures and their dates in ms.
    """
    found = {one: told for one, (figures, _) in series.items() if (told := change(figures)) is not None}
    if not found:
        return Check(name, None, None, True, f"Changes of {what} cannot be checked yet: there are too few.")
    changed = []
    for one, told in found.items():
        p_value = min(1.0, told.p_value * len(found))
        if p_value < ALPHA:
            since = dates.iso(series[one][1][told.place])
            changed.append({"name": one, "since": since, "before": told.before, "after": told.after})
    least = min(told.p_value for told in found.values())
    largest = max(told.statistic for told in found.values())
    p_value = min(1.0, least * len(found))
    if not changed:
        sentence = f"No change of {what} is seen in {len(found)} series."
        return Check(name, largest, p_value, True, sentence, {"series": len(found)})
    first = changed[0]
    sentence = (
        f"{what[:1].upper()}{what[1:]} changed: {first['name']} from {first['before']:.4g} to "
        f"{first['after']:.4g} on average, around {first['since']}"
    )
    sentence += f", and {len(changed) - 1} more." if len(changed) > 1 else "."
    return Check(name, largest, p_value, False, sentence, {"series": len(found), "changed": changed})


def context_series(contexts: Sequence[Any], when: Sequence[int]) -> dict[str, tuple[Floats, Sequence[int]]]:
    """Series of the fields of contexts: numbers as they are, and of fields with few values, whether each
    value is there. A number that only ever grows, such as a time or a running id, is none."""
    fields: dict[str, dict[int, Any]] = {}
    for place, context in enumerate(contexts):
        if isinstance(context, dict):
            for name, value in context.items():
                if name in fields or len(fields) < MOST_FIELDS:
                    fields.setdefault(name, {})[place] = value
    found: dict[str, tuple[Floats, Sequence[int]]] = {}
    for name, by_place in fields.items():
        places, given = list(by_place), list(by_place.values())
        days = [when[place] for place in places]
        numeric = all(isinstance(one, int | float) and not isinstance(one, bool) for one in given)
        if numeric:
            figures = np.array(given, dtype=np.float64)
            if len(figures) > 1 and float((np.diff(figures) > 0).mean()) < _GROWS:
                found[f"context.{name}"] = figures, days
            continue
        labels = [label(one) for one in given]
        kinds = set(labels)
        if 1 < len(kinds) <= _MOST_KINDS:
            for kind in sorted(kinds):
                figures = np.array([float(one == kind) for one in labels])
                found[f"context.{name}={kind[:50]}"] = figures, days
    return found


def collapse(labels: Sequence[str], told: Sequence[Mapping[str, float]]) -> Check:
    """Whether the newest decisions all took one arm, though earlier ones did not.

    :param labels: n arms in order of decision. :param told: their probabilities of all arms, {} if unknown.
    """
    name, newest = "shares", labels[-_NEWEST:]
    if len(labels) < 2 * _NEWEST or len(set(labels)) < 2:
        return Check(name, None, None, True, "Whether all arms are still tried cannot be checked yet.")
    share = max(newest.count(arm) for arm in set(newest)) / len(newest)
    known = [max(row.values()) for row in told[-_NEWEST:] if row]
    tried = 1 - float(np.mean(known)) if known else 0.0
    if share < 1 or tried > _TRIED:
        sentence = f"Of the newest {len(newest)} decisions {share:.0%} took one arm; the others are tried."
        return Check(name, share, None, True, sentence)
    sentence = (
        f"The newest {len(newest)} decisions all took {newest[0]!r}, and the other arms have hardly any "
        "probability: what they earn now is not learnt any more. A floor (traffic.floor) keeps them in."
    )
    return Check(name, share, None, False, sentence)
