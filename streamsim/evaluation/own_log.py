"""The rows of an experiment's own logs as decisions with rewards, and what becomes of those without one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from streamsim import values
from streamsim.dates import HOUR_MS
from streamsim.decisions.arms import reward_of
from streamsim.decisions.gathering import added
from streamsim.errors import BadRequest
from streamsim.evaluation.logs import ASIDE, NO_REWARD, DecisionLog, Rows, is_propensity, own_propensity

ENOUGH: Final = 100
"""So many decisions whose time is up are worth leaving out those whose time is not."""

Row = Mapping[str, Any]
Logged = tuple[bytes, int]
"""A row of an experiment's own log as JSON text, and its date in ms."""


def oldest_first(rows: Sequence[Logged]) -> list[dict[str, Any]]:
    """Rows that come newest first, decoded and turned round, each with its `date_ms`."""
    return [msgspec.json.decode(data) | {"date_ms": date_ms} for data, date_ms in reversed(rows)]


@dataclass(frozen=True)
class Window:
    """How long decisions wait for their reward: `hours`, 0 for ever; `default`: what counts after that."""

    hours: int = 0
    default: Mapping[str, Any] | None = None
    now_ms: int = 0

    def closed(self, decision: Row) -> bool:
        """Whether the time of a decision is up."""
        return self.hours > 0 and decision.get("date_ms", 0) + self.hours * HOUR_MS <= self.now_ms


@dataclass(frozen=True)
class Before:
    """Of decisions before those that are read: how many, and whether any had several rewards."""

    decisions: int = 0
    several: bool = False


class _Alike:
    """Decisions without advice id, waiting for the reward of a call like theirs, oldest first."""

    def __init__(self, decisions: Iterable[Row]) -> None:
        self._waiting: dict[bytes, deque[Row]] = {}
        for decision in decisions:
            self._waiting.setdefault(self._call(decision), deque()).append(decision)

    def take(self, reward: Row) -> Row | None:
        """The oldest decision before the reward with its context and action, which is then taken."""
        waiting = self._waiting.get(self._call(reward))
        if waiting and waiting[0].get("date_ms", 0) <= reward.get("date_ms", math.inf):
            return waiting.popleft()
        return None

    @property
    def rest(self) -> list[Row]:
        """Those that no reward took."""
        return [decision for waiting in self._waiting.values() for decision in waiting]

    @staticmethod
    def _call(row: Row) -> bytes:
        return values.dump_sorted([row.get("context"), row.get("action")])


def _propensity(row: Row) -> object:
    """The propensity of a log row, or the one in its action; None unless it is a probability."""
    return next(
        (p for p in (row.get("propensity"), own_propensity(row.get("action"))) if is_propensity(p)), None
    )


def from_logs(
    decisions: Iterable[Row],
    rewards: Iterable[Row],
    *,
    action_field: str | None = None,
    reward_field: str | None = None,
    window: Window | None = None,
    before: Before | None = None,
) -> DecisionLog:
    """The rows of an experiment's reward log, with propensities from its action log by advice id; then the
    decisions without a reward.

    Without advice id a reward row's own propensity counts, or the one in its action; else that of the oldest
    decision before it with the same context and action. What is not a probability counts as unknown. Rows
    without a usable action or reward are left out and counted.

    A decision whose time is up counts with the default reward, if there is one; else its reward is NaN.
    Decisions of `ASIDE` are left out. So are those whose time is not up, also those that have a reward: what
    came early says little of what will come. Where too few others would be left they are all kept, without
    reward if none came.

    :param before: the rows are a part of a log, after these. That none can be used is no fault then.
    :raises BadRequest: if there are reward rows and none can be used, with the reason of the first.
    """
    window, part, before = window or Window(), before is not None, before or Before()
    decisions = list(decisions)
    rewards, several, apart = _counted(rewards)
    logged = {row["advice_id"]: row for row in decisions if row.get("advice_id") is not None}
    alike = _Alike(row for row in decisions if row.get("advice_id") is None)
    rewarded = {row.get("advice_id") for row in rewards}
    without = [row for advice, row in logged.items() if advice not in rewarded]
    several = several or before.several
    early = _early(logged, without, window, before.decisions, several=several)
    rows, reason, unusable, matched = Rows(action_field, reward_field), None, apart, 0
    aside = sum(row.get("decided_by") in ASIDE for row in decisions)
    dates: list[int] = []
    numbers = {id(row): place for place, row in enumerate(decisions)}
    places: list[int] = []
    for row in rewards:
        advice = row.get("advice_id")
        if advice in early:
            continue
        if advice is None:
            decision, propensity = alike.take(row) or row, _propensity(row)
            if propensity is None:
                propensity = _propensity(decision)
                matched += propensity is not None
        else:
            decision = logged.get(advice, row)
            propensity = _propensity(decision) or _propensity(row)
        if decision.get("decided_by") in ASIDE:
            continue
        told = decision.get("probabilities"), decision.get("propensity_runs")
        try:
            rows.add(row.get("context"), row.get("action"), row.get("reward"), propensity, *told)
            dates.append(row.get("date_ms", 0))
            places.append(numbers.get(id(decision), -1))
        except values.InvalidValue as error:
            reason, unusable = reason or error, unusable + 1
    if reason is not None and not rows.actions and not part:
        raise unusable_rewards(str(reason), reason.where)
    # Rewards that are like no decision may belong to any of them.
    rest = alike.rest
    if len(rest) + sum(row.get("advice_id") is None for row in rewards) > len(decisions) - len(logged):
        rest = []
    defaulted = unrewarded = 0
    for decision in (*without, *rest):
        if decision.get("advice_id") in early or decision.get("decided_by") in ASIDE:
            continue
        counts = window.default is not None and window.closed(decision)
        reward = window.default if counts else NO_REWARD
        told = decision.get("probabilities"), decision.get("propensity_runs")
        try:
            rows.add(decision.get("context"), decision.get("action"), reward, _propensity(decision), *told)
        except values.InvalidValue:
            unusable += 1
            continue
        dates.append(decision.get("date_ms", 0))
        places.append(numbers[id(decision)])
        defaulted += counts
        unrewarded += not counts
    data = rows.data(
        unrewarded=unrewarded,
        unusable=unusable,
        matched=matched,
        waiting=len(early),
        defaulted=defaulted,
        default=_figure(window, reward_field),
        places=places,
        aside=aside,
        several=several,
        fault=None if reason is None else (str(reason), reason.where),
    )
    # A reward counts when it came, as for a policy that learns; the others from their decision on.
    return data.take(np.argsort(dates, kind="stable")) if defaulted + unrewarded else data


def unusable_rewards(why: str, field: str) -> BadRequest:
    """That no reward can be used. :param why: the first cannot."""
    return BadRequest(f"no reward row of the log can be used; the first: {why}", field=field)


def with_rewards(decisions: list[dict[str, Any]], rewards: Sequence[Row], most: int) -> list[dict[str, Any]]:
    """The decisions whose rewards are here, of logs of which the newest `most` rows were read."""
    if len(rewards) < most:
        return decisions
    return [row for row in decisions if row["date_ms"] >= rewards[0]["date_ms"]]


def _counted(rewards: Iterable[Row]) -> tuple[list[Row], bool, int]:
    """The rewards that count, one of each advice id: of several, that were learnt from one by one, their sum.

    And whether there are several of one, and how many advice ids have some that cannot be added.
    """
    found: dict[object, Row | None] = {}
    several = False
    for number, row in enumerate(rewards):
        if row.get("part") or row.get("late"):
            continue
        advice = row.get("advice_id")
        key = ("", number) if advice is None else advice
        before = found.get(key, row)
        if key in found and before is not None:
            several = True
            try:
                found[key] = {**row, "reward": added(before.get("reward"), row.get("reward"))}
            except BadRequest:
                found[key] = None
        elif key not in found:
            found[key] = row
    counted = [row for row in found.values() if row is not None]
    return counted, several, len(found) - len(counted)


def _early(
    logged: Mapping[object, Row], without: Sequence[Row], window: Window, before: int, *, several: bool
) -> set[object]:
    """Advice ids of the decisions that are left out as their reward may still come, or another one of
    several."""
    early = {advice for advice, row in logged.items() if window.hours > 0 and not window.closed(row)}
    if not several and not any(row["advice_id"] in early for row in without):
        return set()
    closed = before + len(logged) - len(early)
    return early if closed >= min(ENOUGH, len(early)) else set()


def _figure(window: Window, reward_field: str | None) -> float:
    try:
        return math.nan if window.default is None else reward_of(window.default, reward_field)
    except values.InvalidValue:
        return math.nan
