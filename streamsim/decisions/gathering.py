"""What the rewards of one decision come to: the first, the last, each, or their sum, within a window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from streamsim import values
from streamsim.decisions.calls import Reward
from streamsim.errors import BadRequest, Conflict
from streamsim.storage.contract.decisions import Advice, Amendment, Redemption

Mode = Literal["first", "last", "each", "sum"]
How = Literal["learn", "part", "late", "close"]
"""What a reward does: the code learns from it; it is one of several that count when the window closes; it
came after that and is logged alone; or it says that the window closes on what was learnt before."""


class Gathered(msgspec.Struct, array_like=True):
    """What an advice has so far: how many rewards, their last or sum, and so of their metrics."""

    count: int = 0
    reward: Any = None
    metrics: dict[str, float] | None = None


_parse = msgspec.json.Decoder(Gathered).decode


def of(advice: Advice) -> Gathered:
    return _parse(advice.gathered) if advice.gathered else Gathered()


class Rule(NamedTuple):
    """How the rewards of an experiment's decisions count. `logs_late`: late ones are logged, not refused."""

    mode: Mode = "first"
    logs_late: bool = False

    def sort(self, call: Reward, advice: Advice, now_ms: int) -> How:
        """What a reward does; the reward that its advice closes with is put into the call.

        :raises Conflict: the advice was redeemed, or its time is up.
        """
        if call.by == "timeout":
            return self._closing(call, advice)
        if advice.redeemed_by == "reward" and self.mode == "first":
            raise Conflict("this advice id was redeemed before; each counts once", field="advice_id")
        if advice.redeemed_by is not None or advice.expires_ms <= now_ms:
            if self.logs_late:
                return "late"
            raise Conflict(
                "this advice id is past its delta_hours; its default_reward counts instead", field="advice_id"
            )
        return "part" if self.mode in ("last", "sum") else "learn"

    def _closing(self, call: Reward, advice: Advice) -> How:
        if advice.redeemed_by is not None:
            raise Conflict("this advice id was closed before", field="advice_id")
        gathered = of(advice)
        if not gathered.count:
            return "learn"
        if self.mode not in ("last", "sum"):
            return "close"
        call.reward, call.parts, call.metrics = gathered.reward, gathered.count, gathered.metrics
        return "learn"

    def effect(self, call: Reward, advice: Advice, how: How) -> Redemption | Amendment | None:
        """What a reward does to its advice. :raises BadRequest: it cannot be added to those before."""
        if how == "late":
            return None
        if call.by == "timeout":
            by: Literal["reward", "timeout"] = "reward" if call.parts or how == "close" else "timeout"
            return Redemption(advice.experiment_id, advice.id, by, advice.gathered)
        if self.mode == "first":
            return Redemption(advice.experiment_id, advice.id, call.by)
        so_far = of(advice)
        more: list[Any] = [None]
        if self.mode == "last" or (self.mode == "sum" and not so_far.count):
            more = [call.reward, call.metrics]
        elif self.mode == "sum":
            more = [
                added(so_far.reward, call.reward),
                added(so_far.metrics or {}, call.metrics or {}) or None,
            ]
        if more[-1] is None:
            more = more[:1]
        fresh = values.dump([so_far.count + 1, *more])
        return Amendment(advice.experiment_id, advice.id, advice.gathered, fresh)


FIRST = Rule()


def rule(properties: Mapping[str, Any]) -> Rule:
    """How the rewards of an experiment with these properties count."""
    mode, hours = properties.get("reward_mode"), properties.get("reward_window_hours")
    return FIRST if mode is None and hours is None else Rule(mode or "first", True)


def window_hours(properties: Mapping[str, Any]) -> int | None:
    """How long rewards of a decision count, and when its default reward does if none came; None: for ever."""
    hours = properties.get("reward_window_hours")
    if hours is None:
        hours = properties.get("delta_hours")
    return hours if isinstance(hours, int) else None


def added(one: Any, other: Any) -> Any:
    """The sum of two rewards: numbers, or objects field by field; true counts 1. Of what is no number in an
    object the later stays.

    :raises BadRequest: one is a number and the other is not, or the sum is out of range.

    >>> added({"value": 1, "kind": "view"}, {"value": 2.5, "more": 1})
    {'value': 3.5, 'kind': 'view', 'more': 1}
    """
    if isinstance(one, dict) and isinstance(other, dict):
        numbers = {name for name in one.keys() & other.keys() if _number(one[name]) and _number(other[name])}
        return _checked(one | other | {name: one[name] + other[name] for name in numbers})
    if not _number(one) or not _number(other):
        raise BadRequest(
            "the rewards of one advice id are added: all must be numbers, or all objects", field="reward"
        )
    return _checked(one + other)


def _checked(total: Any) -> Any:
    try:
        values.check(total, "reward")
    except values.InvalidValue as error:
        raise BadRequest(f"the sum of this advice id's rewards: {error.why}", field="reward") from None
    return total


def _number(value: object) -> bool:
    return isinstance(value, int | float)
