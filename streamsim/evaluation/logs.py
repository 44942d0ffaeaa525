"""Logged bandit data as arrays, from an experiment's own log rows or an uploaded log (`uploads`).

A row is one decision: context, action, reward and, where it is known, propensity: the probability with which
the logging policy chose that action. An action is reduced to its arm, a text; a reward to one number.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsim import values
from streamsim.decisions.arms import arm_of, reward_of
from streamsim.errors import BadRequest
from streamsim.evaluation.intervals import Floats, Ints

MAX_ROWS = 1_000_000
MAX_ARMS = 1_000


@dataclass(frozen=True)
class DecisionLog:
    """n logged decisions.

    `contexts`: n dicts; `actions`: n arm labels; `rewards`: n finite numbers; `propensities`: n numbers in
    (0, 1], NaN where unknown. `unrewarded` counts decisions left out for want of a reward, `unusable` those
    whose action or reward has none of the accepted forms, `ignored` names columns that were not read;
    `matched` counts rewards without advice id whose propensity is that of a decision like theirs.
    """

    contexts: list[dict[str, Any]]
    actions: list[str]
    rewards: Floats
    propensities: Floats
    unrewarded: int = 0
    unusable: int = 0
    ignored: tuple[str, ...] = ()
    matched: int = 0

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

    def take(self, rows: Sequence[int] | Ints) -> DecisionLog:
        """Some of the rows."""
        return DecisionLog(
            [self.contexts[i] for i in rows],
            [self.actions[i] for i in rows],
            self.rewards[rows],
            self.propensities[rows],
            self.unrewarded,
            self.unusable,
            self.ignored,
            self.matched,
        )


def _is_propensity(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def propensity_of(propensity: object) -> float:
    """A propensity, NaN for None. :raises InvalidValue: unless it is a number in (0, 1]."""
    if propensity is None:
        return math.nan
    if not _is_propensity(propensity):
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

    def add(
        self,
        context: object,
        action: object,
        reward: object,
        propensity: object,
        probabilities: object = None,
    ) -> None:
        if context is None:
            context = {}
        if not isinstance(context, dict):
            raise values.InvalidValue("context", "must be an object")
        told = probabilities if isinstance(probabilities, dict) else None
        arm, figure = arm_of(action, self.fields[0], told), reward_of(reward, self.fields[1])
        chance = propensity_of(propensity)
        self.contexts.append(context)
        self.actions.append(arm)
        self.rewards.append(figure)
        self.propensities.append(chance)

    def data(
        self, *, unrewarded: int = 0, unusable: int = 0, ignored: tuple[str, ...] = (), matched: int = 0
    ) -> DecisionLog:
        figures = np.array(self.rewards), np.array(self.propensities)
        return DecisionLog(self.contexts, self.actions, *figures, unrewarded, unusable, ignored, matched)


class _Alike:
    """Decisions without advice id, waiting for the reward of a call like theirs, oldest first."""

    def __init__(self, decisions: Iterable[Mapping[str, Any]]) -> None:
        self._waiting: dict[bytes, deque[Mapping[str, Any]]] = {}
        for decision in decisions:
            self._waiting.setdefault(self._call(decision), deque()).append(decision)

    def take(self, reward: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The oldest decision before the reward with its context and action, which is then taken."""
        waiting = self._waiting.get(self._call(reward))
        if waiting and waiting[0].get("date_ms", 0) <= reward.get("date_ms", math.inf):
            return waiting.popleft()
        return None

    @staticmethod
    def _call(row: Mapping[str, Any]) -> bytes:
        return values.dump_sorted([row.get("context"), row.get("action")])


def own_propensity(action: object) -> object:
    """The propensity that an action itself carries, if it is one."""
    return action.get("propensity") if isinstance(action, Mapping) else None


def _propensity(row: Mapping[str, Any]) -> object:
    """The propensity of a log row, or the one in its action; None unless it is a probability."""
    return next(
        (p for p in (row.get("propensity"), own_propensity(row.get("action"))) if _is_propensity(p)), None
    )


def from_logs(
    decisions: Iterable[Mapping[str, Any]],
    rewards: Iterable[Mapping[str, Any]],
    *,
    action_field: str | None = None,
    reward_field: str | None = None,
) -> DecisionLog:
    """The rows of an experiment's reward log, with propensities from its action log by advice id.

    Without advice id a reward row's own propensity counts, or the one in its action; else that of the oldest
    decision before it with the same context and action. What is not a probability counts as unknown. Rows
    without a usable action or reward are left out and counted.

    :raises BadRequest: if there are reward rows and none can be used, with the reason of the first.
    """
    decisions = list(decisions)
    logged = {row["advice_id"]: row for row in decisions if row.get("advice_id") is not None}
    alike = _Alike(row for row in decisions if row.get("advice_id") is None)
    rows, reason, unusable, matched, rewarded = Rows(action_field, reward_field), None, 0, 0, set()
    for row in rewards:
        advice = row.get("advice_id")
        rewarded.add(advice)
        if advice is None:
            decision, propensity = alike.take(row) or row, _propensity(row)
            if propensity is None:
                propensity = _propensity(decision)
                matched += propensity is not None
        else:
            decision = logged.get(advice, row)
            propensity = _propensity(decision) or _propensity(row)
        try:
            rows.add(
                row.get("context"),
                row.get("action"),
                row.get("reward"),
                propensity,
                decision.get("probabilities"),
            )
        except values.InvalidValue as error:
            reason, unusable = reason or error, unusable + 1
    if reason is not None and not rows.actions:
        raise BadRequest(f"no reward row of the log can be used; the first: {reason}", field=reason.where)
    return rows.data(unrewarded=len(logged.keys() - rewarded), unusable=unusable, matched=matched)
