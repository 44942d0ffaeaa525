"""Logged bandit data as arrays, from an experiment's own log rows or an uploaded log (`uploads`).

A row is one decision: context, action, reward and, where it is known, propensity: the probability with which
the logging policy chose that action. An action is reduced to its arm, a text; a reward to one number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamsim import values
from streamsim.decisions.arms import arm_of, labelled, reward_of
from streamsim.errors import BadRequest
from streamsim.evaluation.intervals import Floats, Ints

MAX_ROWS = 1_000_000
MAX_ARMS = 1_000
_TWICE: Final = 40
ASIDE: Final = frozenset(("fallback", "ramp", "holdout"))
"""Decisions that one of these took (`decided_by`) could not have been others: nothing can be estimated from
them of what another arm would have earned."""
NO_REWARD: Final = object()
"""In the place of a reward that is missing."""


@dataclass(frozen=True)
class DecisionLog:
    """n logged decisions.

    `contexts`: n dicts; `actions`: n arm labels; `rewards`: n finite numbers; `propensities`: n numbers in
    (0, 1], NaN where unknown. The reward is NaN where there is none, which `rewarded` leaves out.
    `unrewarded` counts decisions without a reward; `waiting` those left out as their reward may still come;
    `defaulted` those that have the default reward because their time is up; `unusable` those whose action or
    reward has none of the accepted forms; `ignored` names columns that were not read; `matched` counts
    rewards without advice id whose propensity is that of a decision like theirs. `default`: the default
    reward, NaN for none. `given`: n actions and rewards as they were logged, or nothing. `told`: for each
    decision arm -> probability, None where only that of the taken arm is known, or nothing. `runs`: from how
    many runs each propensity was estimated, 0 where it was told; or nothing. `predictions`: for each decision
    arm -> predicted reward, None where there is none, or nothing. `copies`: how many rows of an upload are
    exact copies of others though rows have something of their own that tells them apart. `places`: of each
    row's decision among those of the own log, -1 where it is not known; or nothing. `aside`: how many were
    left out for what `ASIDE` says. `several`: whether a decision has several rewards. `fault`: why the
    first of the unusable rewards is, and the field at fault.
    """

    contexts: list[dict[str, Any]]
    actions: list[str]
    rewards: Floats
    propensities: Floats
    unrewarded: int = 0
    unusable: int = 0
    ignored: tuple[str, ...] = ()
    matched: int = 0
    waiting: int = 0
    defaulted: int = 0
    default: float = math.nan
    given: Sequence[tuple[Any, Any]] = ()
    told: Sequence[Mapping[str, float] | None] = ()
    runs: Sequence[int] = ()
    predictions: Sequence[Mapping[str, float] | None] = ()
    copies: int = 0
    places: Sequence[int] = ()
    aside: int = 0
    several: bool = False
    fault: tuple[str, str] | None = None

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def arms(self) -> tuple[str, ...]:
        """The different arms, in order of their labels.

        :raises BadRequest: for more than `MAX_ARMS`, as when an action holds a continuous number.
        """
        arms = sorted(set(self.actions))
        if len(arms) > MAX_ARMS:
            raise BadRequest(
                f"the log has {len(arms)} different actions; off-policy evaluation takes at most {MAX_ARMS}: "
                "choose the field of the action that names the arm",
                field="action_field",
            )
        return tuple(arms)

    def index(self, arms: Sequence[str]) -> Ints:
        """The place of each row's arm in `arms`. :raises KeyError: for a logged arm that is not there."""
        places = {arm: place for place, arm in enumerate(arms)}
        return np.array([places[action] for action in self.actions], dtype=np.int64)

    @property
    def rewarded(self) -> NDArray[np.bool_]:
        """Which rows have a reward."""
        return ~np.isnan(self.rewards)

    def take(self, rows: Sequence[int] | Ints) -> DecisionLog:
        """Some of the rows."""
        return replace(
            self,
            contexts=[self.contexts[i] for i in rows],
            actions=[self.actions[i] for i in rows],
            rewards=self.rewards[rows],
            propensities=self.propensities[rows],
            given=[self.given[i] for i in rows] if self.given else (),
            told=[self.told[i] for i in rows] if self.told else (),
            runs=[self.runs[i] for i in rows] if self.runs else (),
            predictions=[self.predictions[i] for i in rows] if self.predictions else (),
            places=[self.places[i] for i in rows] if self.places else (),
        )


def is_propensity(value: object) -> bool:
    """Whether it is a number above 0 and at most 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def propensity_of(propensity: object) -> float:
    """A propensity, NaN for None. :raises InvalidValue: unless it is a number in (0, 1]."""
    if propensity is None:
        return math.nan
    if not is_propensity(propensity):
        raise values.InvalidValue("propensity", "must be a number above 0 and at most 1")
    return float(propensity)  # type: ignore[arg-type]


class Rows:
    """Rows as they are gathered."""

    def __init__(self, action_field: str | None, reward_field: str | None) -> None:
        self.fields = action_field, reward_field
        self.contexts: list[dict[str, Any]] = []
        self.actions: list[str] = []
        self.rewards: list[float] = []
        self.propensities: list[float] = []
        self.given: list[tuple[Any, Any]] = []
        self.told: list[Mapping[str, float] | None] = []
        self.runs: list[int] = []
        self.predictions: list[Mapping[str, float] | None] = []
        self._seen: list[int] = []
        self._rest: set[int] = set()

    def add(
        self,
        context: object,
        action: object,
        reward: object,
        propensity: object,
        probabilities: object = None,
        runs: object = None,
        predictions: object = None,
    ) -> None:
        if context is None:
            context = {}
        if not isinstance(context, dict):
            raise values.InvalidValue("context", "must be an object")
        told = probabilities if isinstance(probabilities, dict) else None
        arm = arm_of(action, self.fields[0], told)
        figure = math.nan if reward is NO_REWARD else reward_of(reward, self.fields[1])
        chance = propensity_of(propensity)
        self.predictions.append(None if predictions is None else predicted(predictions))
        self.given.append((action, reward))
        self.told.append(told)
        self.runs.append(runs if type(runs) is int and runs > 0 else 0)
        self.contexts.append(context)
        self.actions.append(arm)
        self.rewards.append(figure)
        self.propensities.append(chance)

    def seen(self, whole: object, rest: object) -> None:
        """Remember a row, to tell copies from rows that are alike by chance.

        :param rest: the row without its action, reward and propensity.
        """
        self._seen.append(hash(whole))
        self._rest.add(hash(rest))

    def _copies(self) -> int:
        """How many rows are copies of others. Rows that are alike by chance, as those of few segments, are
        none: where the rest of a row tells it from most others, only copies have the rest and all else alike;
        and a log whose second half repeats the first, row by row, is there twice.
        """
        n, whole, rest = len(self._seen), len(set(self._seen)), len(self._rest)
        half = n // 2
        if n >= _TWICE and whole > 1 and self._seen[:half] == self._seen[half:]:
            return half
        return n - whole if whole == rest and rest > 1 and rest >= n / 2 - 1 else 0

    def data(self, **counts: Any) -> DecisionLog:
        figures = np.array(self.rewards), np.array(self.propensities)
        counts["told"] = self.told if any(self.told) else ()
        counts["runs"] = self.runs if any(self.runs) else ()
        counts["predictions"] = self.predictions if any(self.predictions) else ()
        counts["copies"] = self._copies()
        return DecisionLog(self.contexts, self.actions, *figures, given=self.given, **counts)


def predicted(value: object) -> dict[str, float]:
    """Predicted rewards by arm. :raises InvalidValue: unless it is an object of finite numbers."""
    if not isinstance(value, Mapping):
        raise values.InvalidValue("predictions", "must be an object of arm -> predicted reward")
    try:
        return {arm: reward_of(figure) for arm, figure in labelled(value, "predictions").items()}
    except values.InvalidValue:
        raise values.InvalidValue("predictions", "must be an object of arm -> predicted reward") from None


def own_propensity(action: object) -> object:
    """The propensity that an action itself carries, if it is one."""
    return action.get("propensity") if isinstance(action, Mapping) else None
