"""The mean of every arm and every difference to a control, from decisions with all their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamsim.evaluation.inference import fixed_time
from streamsim.evaluation.inference.report import Fixed, Levels, Value
from streamsim.evaluation.inference.running import Running
from streamsim.evaluation.inference.scores import Scores, aipw
from streamsim.evaluation.intervals import Floats, Ints


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
    running = Running(data.arms, control, levels, bounds, horizon)
    running.add(data.action, data.reward, data.chance)
    arms = [running.mean(place) for place in range(len(data.arms))]
    others = [place for place in range(len(data.arms)) if place != control]
    differences = [running.difference(place) for place in others]
    if fixed:
        looks = _OneLook(data, running)
        for place, value in enumerate(arms):
            if value.reason is None:
                looks.mean(value, place, levels.arm)
        for place, value in zip(others, differences, strict=True):
            if value.reason is None:
                looks.difference(value, place, levels.difference)
    return arms, differences


class _OneLook:
    """Intervals for one look, beside those of every look."""

    def __init__(self, data: Decisions, running: Running) -> None:
        self._data, self._running = data, running
        self._reward = (data.reward - running.low) / running.unit

    def mean(self, value: Value, place: int, alpha: float) -> None:
        """Those of the mean of an arm."""
        scores = self._scores(place)
        value.constant, value.two_point, value.uniform = (
            self._normal(*fixed_time.weighted(scores.score, weights(scores.chance)), alpha, shift=True)
            for weights in fixed_time.WEIGHTS
        )

    def difference(self, value: Value, place: int, alpha: float) -> None:
        """Those of the mean of an arm less that of the control."""
        first, second = self._scores(place), self._scores(self._running.control)
        value.constant, value.two_point, value.uniform = (
            self._of_both(first, second, weights, alpha) for weights in fixed_time.WEIGHTS
        )

    def _of_both(self, first: Scores, second: Scores, weights: fixed_time.Weights, alpha: float) -> Fixed:
        mean, variance = fixed_time.weighted(first.score, weights(first.chance))
        other, more = fixed_time.weighted(second.score, weights(second.chance))
        return self._normal(mean - other, variance + more, alpha, shift=False)

    def _scores(self, place: int) -> Scores:
        data = self._data
        start = 0.5 if self._running.bounded else 0.0
        found = aipw(data.action == place, self._reward, data.chance[:, place], start=start)
        return found.after(self._running.first or 0)

    def _normal(self, mean: float, variance: float, alpha: float, *, shift: bool) -> Fixed:
        low = self._running.low if shift else 0.0
        interval = fixed_time.normal_interval(mean, variance, alpha)
        return Fixed(*(low + self._running.unit * one for one in (mean, interval.low, interval.high)))
