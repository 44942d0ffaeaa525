"""Means of arms and differences to a control at every look, from decisions as they come.

What is kept of them is as large after a million decisions as after some, and gives the same figures as all
decisions at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from streamsim.evaluation.adaptive import LARGEST_SHARE, LEAST_SIZE
from streamsim.evaluation.inference import asymptotic
from streamsim.evaluation.inference.betting import ArmEnds, DifferenceEnds
from streamsim.evaluation.inference.moments import Moments, Weight
from streamsim.evaluation.inference.report import Levels, Value
from streamsim.evaluation.inference.scores import Scorer, Scores
from streamsim.evaluation.intervals import Floats, Interval, Ints

BURN_IN: Final = 100
"""Without bounds, so many decisions, and until rewards differ, train predictions and are in no interval."""


class _Figure:
    """One mean or difference: its sequence, and its estimate."""

    def __init__(self) -> None:
        self.begun: tuple[float, ...] | None = None  # probabilities in the first decision
        self.ends: ArmEnds | DifferenceEnds | None = None
        self.scores = Moments()
        self.weighted = [0.0, 0.0]


class Running:
    """K arms, as decisions come.

    :param control: the place of the control among `arms`. :param levels: what each interval may err.
    :param bounds: declared ones of rewards: betting sequences; None: asymptotic ones.
    """

    def __init__(
        self,
        arms: Sequence[str],
        control: int,
        levels: Levels,
        bounds: tuple[float, float] | None,
        horizon: int,
    ) -> None:
        self.arms, self.control = arms, control
        self._levels, self._horizon = levels, horizon
        self.bounded = bounds is not None
        self.low, self.unit = (0.0, 1.0) if bounds is None else (bounds[0], bounds[1] - bounds[0])
        places = range(len(arms))
        self.n = 0
        # How many decisions train predictions; None while rewards do not differ.
        self.first: int | None = 0 if self.bounded else None
        self._one: float | None = None
        self._pilot = Moments()
        self.counts = [0] * len(arms)
        self.never = [0] * len(arms)
        self.weights = [Weight() for _ in places]
        self._scorers = [Scorer(0.5 if self.bounded else 0.0) for _ in places]
        self._means = [_Figure() for _ in places]
        self._differences = {place: _Figure() for place in places if place != control}

    def add(self, action: Ints, reward: Floats, chance: Floats) -> None:
        """Go on with more decisions: places of the arms taken, rewards, and n x K probabilities."""
        if not len(action):
            return
        scaled = (reward - self.low) / self.unit
        cut = self._train(reward, scaled)
        self.n += len(action)
        scored: dict[int, Scores] = {}
        for place in range(len(self.arms)):
            drawn, own = action == place, chance[:, place]
            self.counts[place] += int(drawn.sum())
            self.never[place] += int((own <= 0).sum())
            if self.never[place]:
                continue  # nothing is told of it any more
            found = scored[place] = self._scorers[place].add(drawn, scaled, own).after(cut)
            self.weights[place].add(1 / found.chance[found.drawn])
            if len(found):
                self._add_mean(self._means[place], found)
        control = scored.get(self.control)
        if control is not None and len(control):
            for place, figure in self._differences.items():
                if place in scored:
                    self._add_difference(figure, scored[place], control)

    def mean(self, place: int) -> Value:
        """The mean of an arm."""
        name, draws, figure = self.arms[place], self.counts[place], self._means[place]
        if (why := self.why_not(place)) is not None:
            return Value(name, draws, reason=why)
        return self._value(name, draws, figure, self._levels.arm, shift=True)

    def difference(self, place: int) -> Value:
        """The mean of an arm less that of the control."""
        name, draws = self.arms[place], self.counts[place]
        for one in (place, self.control):
            if (why := self.why_not(one)) is not None:
                return Value(name, draws, reason=why)
        return self._value(name, draws, self._differences[place], self._levels.difference, shift=False)

    def why_not(self, place: int) -> str | None:
        """Why nothing is told of an arm; None if it is."""
        arm, never, weight = self.arms[place], self.never[place], self.weights[place]
        if self.first is None or self.n <= self.first:
            return (
                f"There are {self.n:,} decisions: without low and high, intervals are of those after "
                f"the first {BURN_IN} and after rewards differ."
            )
        if not self.counts[place]:
            return f"{arm} was never drawn."
        if never > 0:
            return (
                f"{arm} had the probability 0 in {never:,} of {self.n:,} decisions, of which nothing "
                "can be told: a policy needs a floor under every probability."
            )
        if weight.size < LEAST_SIZE or weight.largest > LARGEST_SHARE * weight.sum:
            return (
                f"Too little stands behind {arm}: {weight.draws:,} draws, worth "
                f"{weight.size:.0f} of equal weight, of which {LEAST_SIZE:.0f} are "
                "needed, and none may have a tenth of it all."
            )
        return None

    def kept(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {
            "n": self.n,
            "first": self.first,
            "one": self._one,
            "pilot": self._pilot.kept(),
            "counts": self.counts,
            "never": self.never,
            "weights": [one.kept() for one in self.weights],
            "scorers": [one.kept() for one in self._scorers],
            "figures": [_kept(one) for one in (*self._means, *self._differences.values())],
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from there."""
        self.n, self.first, self._one = kept["n"], kept["first"], kept["one"]
        self._pilot.restore(kept["pilot"])
        self.counts, self.never = kept["counts"], kept["never"]
        for weight, sums in zip(self.weights, kept["weights"], strict=True):
            weight.restore(sums)
        for scorer, sums in zip(self._scorers, kept["scorers"], strict=True):
            scorer.restore(sums)
        figures = (*self._means, *self._differences.values())
        for figure, told in zip(figures, kept["figures"], strict=True):
            figure.scores.restore(told["scores"])
            figure.weighted = told["weighted"]
            if told["begun"] is not None:
                self._begin(figure, tuple(told["begun"]))
                for end, state in zip(_ends(figure), told["ends"], strict=True):
                    end.restore(state)

    # ---- inside

    def _train(self, reward: Floats, scaled: Floats) -> int:
        """Count what trains predictions; how many of the decisions do that and are in no interval."""
        if self.bounded:
            return 0
        if self._one is None:
            self._one = float(reward[0])
        if self.first is None:
            different = np.flatnonzero(reward != self._one)
            if len(different):
                self.first = max(BURN_IN, self.n + int(different[0]) + 1)
        cut = len(reward) if self.first is None else min(max(self.first - self.n, 0), len(reward))
        self._pilot.add(scaled[:cut])
        return cut

    def _begin(self, figure: _Figure, chances: tuple[float, ...]) -> None:
        figure.begun = chances
        if not self.bounded:
            return
        if len(chances) == 1:
            figure.ends = ArmEnds(self._levels.arm, self._horizon, chances[0])
        else:
            figure.ends = DifferenceEnds(self._levels.difference, self._horizon, (chances[0], chances[1]))

    def _add_mean(self, figure: _Figure, found: Scores) -> None:
        if figure.begun is None:
            self._begin(figure, (float(found.chance[0]),))
        if isinstance(figure.ends, ArmEnds):
            figure.ends.add(found)
            figure.weighted[0] += float(found.chance @ found.score)
            figure.weighted[1] += float(found.chance.sum())
        else:
            figure.scores.add(found.score)

    def _add_difference(self, figure: _Figure, first: Scores, second: Scores) -> None:
        if figure.begun is None:
            self._begin(figure, (float(first.chance[0]), float(second.chance[0])))
        score = first.score - second.score
        if isinstance(figure.ends, DifferenceEnds):
            figure.ends.add(first, second)
            each = 1 / first.chance + 1 / second.chance
            figure.weighted[0] += float((score / each).sum())
            figure.weighted[1] += float((1 / each).sum())
        else:
            figure.scores.add(score)

    def _value(self, name: str, draws: int, figure: _Figure, alpha: float, *, shift: bool) -> Value:
        if figure.ends is not None:
            interval = figure.ends.interval()
            mean = figure.weighted[0] / figure.weighted[1]
        else:
            assert figure.begun is not None
            pilot = self._pilot.deviations / self._pilot.n * sum(1 / one for one in figure.begun)
            scores = figure.scores
            r = asymptotic.tuned(self._horizon * pilot, alpha)
            reach = float(asymptotic.radius(scores.n, scores.deviations, alpha, r))
            mean, interval = scores.mean, Interval(scores.mean - reach, scores.mean + reach)
        low = self.low if shift else 0.0
        # A weighted mean may lie outside of what was refused for ever.
        mean = min(max(mean, interval.low), interval.high)
        mean, *ends = (low + self.unit * one for one in (mean, interval.low, interval.high))
        return Value(name, draws, mean, ends[0], ends[1])


def _ends(figure: _Figure) -> tuple[Any, ...]:
    return () if figure.ends is None else figure.ends.both


def _kept(figure: _Figure) -> dict[str, Any]:
    return {
        "begun": figure.begun,
        "scores": figure.scores.kept(),
        "weighted": figure.weighted,
        "ends": [end.kept() for end in _ends(figure)],
    }
