"""What a policy in the shadow of a present system would have earned, from rewards of that system's actions.

Scores of a policy: the sum over arms of `pi(a) m(a)`, and for the arm A that was served
`pi(A) / e(A) (R - m(A))`, with the present system's probability e(A) and predictions m from earlier rewards.
Their mean is what the policy would have earned, if the system may take every arm that the policy would.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from streamsim.decisions.arms import arm_of, labelled
from streamsim.evaluation.inference import asymptotic
from streamsim.evaluation.inference.guarding import HORIZON, Difference, Sums, Weights
from streamsim.evaluation.inference.running import BURN_IN
from streamsim.evaluation.logs import is_propensity


class Choice(NamedTuple):
    """A decision with one in its shadow: the arm that was served, its probability if it is known, the arm
    that the code took, and its probabilities."""

    served: str
    chance: float | None
    taken: str
    probabilities: Mapping[str, float]


def choice_of(action: Any, propensity: Any, shadow: Mapping[str, Any], field: str | None) -> Choice:
    """From the parts of a log row. :raises InvalidValue: an action names no arm."""
    told = shadow.get("probabilities")
    told = labelled(told, "probabilities") if isinstance(told, Mapping) and told else None
    taken = arm_of(shadow.get("action"), field, told)
    chance = float(propensity) if is_propensity(propensity) else None
    return Choice(arm_of(action, field), chance, taken, told or {taken: 1.0})


class Beside:
    """Decisions with one in their shadow, and their rewards, counted one by one."""

    def __init__(self) -> None:
        self.n = 0
        self.same = 0
        self.unknown = 0
        self._trained, self._rewards = Sums(), Sums()
        self._count: dict[str, int] = {}
        self._total: dict[str, float] = {}
        self._value, self._gain, self._weight = Sums(), Sums(), Sums()
        self._weights = Weights()

    @property
    def baseline(self) -> float | None:
        """The mean reward of what was served."""
        return self._rewards.mean if self._rewards.n else None

    def add(
        self, served: str, chance: float | None, taken: str, probabilities: Mapping[str, float], reward: float
    ) -> None:
        """Count a decision.

        :param served: the arm; :param chance: its probability, None if it is not known.
        :param taken: the arm that the policy took; :param probabilities: of its arms.
        """
        self.n += 1
        self.same += served == taken
        if chance is None:
            self.unknown += 1
            return
        if self._trained.n < BURN_IN or self._trained.deviations <= 0:
            self._trained.add(reward)
        else:
            overall = sum(self._total.values()) / sum(self._count.values())

            def predicted(arm: str) -> float:
                return (self._total.get(arm, 0.0) + overall) / (self._count.get(arm, 0) + 1)

            weight = probabilities.get(served, 0.0) / chance
            score = sum(p * predicted(arm) for arm, p in probabilities.items())
            score += weight * (reward - predicted(served))
            if not self._gain.n:
                pilot = self._trained.deviations / self._trained.n
                self._gain.variance = self._value.variance = pilot * (1 + 1 / chance)
                self._weight.variance = 1 / chance
            self._rewards.add(reward)
            self._value.add(score)
            self._gain.add(score - reward)
            self._weight.add(weight)
            if weight > 0:
                self._weights.add(1 / weight)
        self._count[served] = self._count.get(served, 0) + 1
        self._total[served] = self._total.get(served, 0.0) + reward

    def value(self, alpha: float) -> Difference | None:
        """What the policy would have earned for a decision; None while too little stands behind it."""
        return self._of(self._value, alpha)

    def difference(self, alpha: float) -> Difference | None:
        """That, less what was earned."""
        return self._of(self._gain, alpha)

    def uncovered(self, alpha: float) -> bool:
        """Whether the policy surely takes arms that the present system could not: weights do not average
        1."""
        if not self._weight.n:
            return False
        found = _interval(self._weight, alpha)
        return not found.low <= 1 <= found.high

    def why_not(self, alpha: float) -> str | None:
        """Why nothing is told; None if it is."""
        if self.unknown:
            return (
                f"{self.unknown:,} of {self.n:,} decisions came without the probability of the action that "
                "was served: send it as the field propensity of the action."
            )
        if not self._weight.n:
            return (
                f"The first {BURN_IN} decisions with rewards, until rewards differ, train predictions alone."
            )
        if not self._weights.enough:
            return "Too few of the served actions are ones that the code would have taken."
        if self.uncovered(alpha):
            return (
                f"The code takes actions that the present system could not: weights average "
                f"{self._weight.mean:.3g} in place of 1."
            )
        return None

    def _of(self, sums: Sums, alpha: float) -> Difference | None:
        return _interval(sums, alpha) if sums.n and self._weights.enough and not self.unknown else None


def _interval(sums: Sums, alpha: float) -> Difference:
    r = asymptotic.tuned(HORIZON * sums.variance, alpha)
    reach = float(asymptotic.radius(sums.n, sums.deviations, alpha, r))
    return Difference(sums.mean, sums.mean - reach, sums.mean + reach, sums.n)
