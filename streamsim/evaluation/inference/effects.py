"""The mean of every arm and every difference to a control, from decisions with all their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from streamsim.evaluation.adaptive import LEAST_SIZE, ill_posed
from streamsim.evaluation.few_events import effective_size
from streamsim.evaluation.inference import asymptotic, betting, fixed_time
from streamsim.evaluation.inference.report import Fixed, Levels, Value
from streamsim.evaluation.inference.scores import Scores, aipw
from streamsim.evaluation.intervals import Floats, Interval, Ints

BURN_IN: Final = 100
"""Without bounds, so many decisions, and until rewards differ, train predictions and are in no interval."""


@dataclass(frozen=True)
class Decisions:
    """n decisions in order: places of the arms taken, rewards, and n x K probabilities of all arms."""

    action: Ints
    reward: Floats
    chance: Floats
    arms: Sequence[str]

    def __len__(self) -> int:
        return len(self.action)

    def take(self, rows: Ints) -> Decisions:
        """Some of them, in order."""
        return Decisions(self.action[rows], self.reward[rows], self.chance[rows], self.arms)


def of_arms(
    data: Decisions,
    control: int,
    levels: Levels,
    bounds: tuple[float, float] | None,
    horizon: int,
    *,
    fixed: bool,
) -> tuple[list[Value], list[Value]]:
    """The arms' means, and the other arms' differences to the control's.

    :param levels: what each interval may err.
    :param bounds: declared ones of rewards: betting sequences; None: asymptotic ones.
    :param fixed: whether to give the intervals for one look as well.
    """
    effects = _Effects(data, bounds, horizon, fixed)
    arms = [effects.arm(place, levels.arm) for place in range(len(data.arms))]
    others = [place for place in range(len(data.arms)) if place != control]
    return arms, [effects.difference(place, control, levels.difference) for place in others]


class _Effects:
    def __init__(
        self, data: Decisions, bounds: tuple[float, float] | None, horizon: int, fixed: bool
    ) -> None:
        self._data, self._horizon, self._fixed = data, horizon, fixed
        self._bounded = bounds is not None
        self._low, self._unit = (0.0, 1.0) if bounds is None else (bounds[0], bounds[1] - bounds[0])
        self._reward = (data.reward - self._low) / self._unit
        self._first = 0 if self._bounded else _trained(data.reward)
        self._pilot = float(self._reward[: self._first].var()) if self._first else 0.0
        self._counts = np.bincount(data.action, minlength=len(data.arms))

    def arm(self, place: int, alpha: float) -> Value:
        """The mean of an arm."""
        name, draws = self._data.arms[place], int(self._counts[place])
        if (why := self._why_not(place)) is not None:
            return Value(name, draws, reason=why)
        scores = self._scores(place)
        weight = fixed_time.constant_allocation(scores.chance)
        if self._bounded:
            interval = betting.of_arm(scores, alpha, self._horizon)
            mean = float(scores.chance @ scores.score / scores.chance.sum())
        else:
            pilot = self._pilot / float(scores.chance[0])
            mean, interval = self._asymptotic(scores.score, pilot, alpha)
        found = self._value(name, draws, mean, interval, shift=True)
        if self._fixed:
            two = fixed_time.two_point_allocation(scores.chance)
            found.constant, found.two_point = (
                self._normal(*fixed_time.weighted(scores.score, one), alpha, shift=True)
                for one in (weight, two)
            )
        return found

    def difference(self, place: int, control: int, alpha: float) -> Value:
        """The mean of an arm less that of the control."""
        name, draws = self._data.arms[place], int(self._counts[place])
        for one in (place, control):
            if (why := self._why_not(one)) is not None:
                return Value(name, draws, reason=why)
        first, second = self._scores(place), self._scores(control)
        score = first.score - second.score
        each = 1 / first.chance + 1 / second.chance
        if self._bounded:
            interval = betting.of_difference(first, second, alpha, self._horizon)
            mean = float((score / each).sum() / (1 / each).sum())
        else:
            mean, interval = self._asymptotic(score, self._pilot * float(each[0]), alpha)
        found = self._value(name, draws, mean, interval, shift=False)
        if self._fixed:
            found.constant, found.two_point = (
                self._of_both(first, second, weights, alpha)
                for weights in (fixed_time.constant_allocation, fixed_time.two_point_allocation)
            )
        return found

    def _of_both(self, first: Scores, second: Scores, weights: fixed_time.Weights, alpha: float) -> Fixed:
        mean, variance = fixed_time.weighted(first.score, weights(first.chance))
        other, more = fixed_time.weighted(second.score, weights(second.chance))
        return self._normal(mean - other, variance + more, alpha, shift=False)

    def _scores(self, place: int) -> Scores:
        data = self._data
        start = 0.5 if self._bounded else 0.0
        found = aipw(data.action == place, self._reward, data.chance[:, place], start=start)
        return found.after(self._first)

    def _why_not(self, place: int) -> str | None:
        """Why nothing is told of an arm; None if it is."""
        arm, chance = self._data.arms[place], self._data.chance[:, place]
        if len(chance) <= self._first:
            return (
                f"There are {len(chance):,} decisions: without low and high, intervals are of those after "
                f"the first {BURN_IN} and after rewards differ."
            )
        if not self._counts[place]:
            return f"{arm} was never drawn."
        if (never := int((chance <= 0).sum())) > 0:
            return (
                f"{arm} had the probability 0 in {never:,} of {len(chance):,} decisions, of which nothing "
                "can be told: a policy needs a floor under every probability."
            )
        drawn = (self._data.action == place)[self._first :]
        weight = drawn / chance[self._first :]
        if ill_posed(weight):
            return (
                f"Too little stands behind {arm}: {int(drawn.sum()):,} draws, worth "
                f"{effective_size(weight):.0f} of equal weight, of which {LEAST_SIZE:.0f} are "
                "needed, and none may have a tenth of it all."
            )
        return None

    def _asymptotic(self, score: Floats, pilot: float, alpha: float) -> tuple[float, Interval]:
        return asymptotic.last(score, alpha, asymptotic.tuned(self._horizon * pilot, alpha))

    def _value(self, name: str, draws: int, mean: float, interval: Interval, *, shift: bool) -> Value:
        low = self._low if shift else 0.0
        # A weighted mean may lie outside of what was refused for ever.
        mean = min(max(mean, interval.low), interval.high)
        mean, *ends = (low + self._unit * one for one in (mean, interval.low, interval.high))
        return Value(name, draws, mean, ends[0], ends[1])

    def _normal(self, mean: float, variance: float, alpha: float, *, shift: bool) -> Fixed:
        low, interval = self._low if shift else 0.0, fixed_time.normal_interval(mean, variance, alpha)
        return Fixed(*(low + self._unit * one for one in (mean, interval.low, interval.high)))


def _trained(reward: Floats) -> int:
    """How many decisions train predictions: `BURN_IN`, or more until rewards differ."""
    different = np.flatnonzero(reward != reward[0]) if len(reward) else np.zeros(0, dtype=np.int64)
    return max(BURN_IN, int(different[0]) + 1 if len(different) else len(reward))
