"""Two equal arms, Thompson sampling, and an analyst who looks every day for 30 days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from streamsim.evaluation.intervals import Floats

DAYS, PER_DAY = 30, 100


@dataclass(frozen=True)
class Run:
    """n decisions: whether the first arm was taken, rewards, its probability; and whether a z-test of the
    means at 5 % ever was significant at the end of a day."""

    first: NDArray[np.bool_]
    reward: Floats
    chance: Floats
    naive: bool


def thompson(
    seed: int, floor: float, means: tuple[float, float], drift: float = 0.0, late: float = 0.0
) -> Run:
    """Bernoulli rewards; the posterior is updated at the end of a day, as where rewards come late.

    :param drift: what both means gain in the course of the run.
    :param late: so many days later a reward comes on average, each by a time of its own; 0: on its day.
    """
    rng = np.random.default_rng(seed)
    delays = np.random.default_rng((seed, 1))
    won, lost = np.zeros(2), np.zeros(2)
    # By day, how many rewards of each arm came, and how many of them were 1.
    won_on, come_on = np.zeros((2, DAYS, 2))
    naive = False
    some: list[tuple[NDArray[np.bool_], Floats, Floats]] = []
    for day in range(DAYS):
        mean = (won + 1) / (won + lost + 2)
        variance = mean * (1 - mean) / (won + lost + 3)
        chance = float(ndtr((mean[0] - mean[1]) / np.sqrt(variance.sum())))
        chance = floor + (1 - 2 * floor) * min(max(chance, 1e-9), 1 - 1e-9)
        first = rng.random(PER_DAY) < chance
        now = np.where(first, means[0], means[1]) + drift * day / DAYS
        reward = (rng.random(PER_DAY) < now).astype(np.float64)
        some.append((first, reward, np.full(PER_DAY, chance)))
        days = day + delays.geometric(1 / (1 + late), PER_DAY) - 1 if late else np.full(PER_DAY, day)
        for arm, taken in enumerate((first, ~first)):
            when = np.minimum(days[taken], DAYS)  # one that comes later never does
            come_on[:, arm] += np.bincount(when, minlength=DAYS + 1)[:DAYS]
            won_on[:, arm] += np.bincount(when, reward[taken], DAYS + 1)[:DAYS]
        won += won_on[day]
        lost += come_on[day] - won_on[day]
        n = won + lost
        if n.min() > 0:
            share = won / n
            error = float((share * (1 - share) / n).sum()) ** 0.5
            naive |= bool(abs(share[0] - share[1]) > 1.96 * error > 0)
    firsts, rewards, chances = zip(*some, strict=True)
    return Run(np.concatenate(firsts), np.concatenate(rewards), np.concatenate(chances), naive)
