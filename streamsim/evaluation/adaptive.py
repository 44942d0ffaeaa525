"""Logs of a policy that learned while it logged: whether one is, and an estimator with weights made for it.

Where the probabilities of arms follow the rewards that came before, an estimate of an arm that was given up
rests on few and very heavy decisions, and is not normal (Hadad, Hirshberg, Zhan, Wager, Athey, "Confidence
intervals for policy evaluation in adaptive experiments", PNAS 118, 2021).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from streamsim import values
from streamsim.evaluation.few_events import effective_size
from streamsim.evaluation.intervals import Floats
from streamsim.evaluation.logs import DecisionLog

LEAST_SIZE: Final = 30.0
LARGEST_SHARE: Final = 0.1
"""With a smaller effective number of decisions, or a larger share of all weight on one of them, no interval
of an adaptive log holds."""
_FEW = 20
_SPREAD, _CORRELATION, _SURE = 0.02, 0.2, 4.0


def moves(data: DecisionLog) -> bool:
    """Whether propensities change in the course of the log: whether neighbours in time have like ones.

    They are compared within an arm, and within a context where contexts are repeated. The estimated
    propensities of a policy that stands still scatter as well, but without order in time.
    """
    p = data.propensities
    known = np.flatnonzero(~np.isnan(p))
    if len(known) < _FEW:
        return False
    contexts = [values.dump_sorted(data.contexts[i]) for i in known]
    often = Counter(contexts)
    repeated = sum(count for count in often.values() if count > 1) > len(known) / 2
    groups: dict[tuple[bytes, str], list[int]] = {}
    for place, context in zip(known.tolist(), contexts, strict=True):
        groups.setdefault((context if repeated else b"", data.actions[place]), []).append(place)
    products = squares = total = 0.0
    pairs = 0
    for rows in groups.values():
        if len(rows) < 2:
            continue
        off = p[rows] - p[rows].mean()
        products += float((off[1:] * off[:-1]).sum())
        squares += float((off**2).sum())
        total += float((p[rows] ** 2).sum())
        pairs += len(rows) - 1
    if pairs < _FEW or squares <= _SPREAD**2 * total:
        return False
    return bool(products / squares > max(_CORRELATION, _SURE / pairs**0.5))


def ill_posed(weight: Floats) -> bool:
    """Whether too few decisions carry these weights."""
    whole = float(weight.sum())
    return effective_size(weight) < LEAST_SIZE or whole == 0 or float(weight.max()) > LARGEST_SHARE * whole


def running_means(action: np.ndarray, reward: Floats, arms: int) -> Floats:
    """For each decision the mean reward of every arm before it, n x K; of all arms where it has none yet."""
    n = len(action)
    taken = np.zeros((n, arms))
    taken[np.arange(n), action] = 1.0
    count = taken.cumsum(axis=0) - taken
    total = (taken * reward[:, None]).cumsum(axis=0) - taken * reward[:, None]
    every = np.arange(n)
    overall = np.divide(reward.cumsum() - reward, every, out=np.zeros(n), where=every > 0)
    result: Floats = np.where(count > 0, total / np.maximum(count, 1.0), overall[:, None])
    return result
