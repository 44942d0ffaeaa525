"""What is put around a policy: the state of its experiment, ramp, holdout and units that keep their action
before it; the least share of each arm after it.

The code of an experiment sees nothing of this. What is logged is the probability of what was served, given
the unit's place, which a salted hash has fixed before: 1 for what holdout, ramp or a fallback serve.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from streamsim import dates, values
from streamsim.dates import HOUR_MS
from streamsim.decisions.arms import arm_of, label
from streamsim.decisions.calls import Decision, Pending
from streamsim.decisions.declared import STICKY_HOURS, Traffic, action_of
from streamsim.decisions.wire import Outcome
from streamsim.errors import BadRequest, Conflict
from streamsim.storage.contract.decisions import DecisionStore, Experiment, IdempotencyRecord

Reason = Literal["fallback", "ramp", "holdout", "sticky"]
KEPT: Final = "sticky"
"""In place of the fingerprint of a record that keeps the action of a unit."""
_TOLERANCE: Final = 1e-3
_ACTS: Final = frozenset(("state", "starts", "ends", "max_decisions", "traffic", "sticky", "off"))
_parse = msgspec.json.Decoder(tuple[Any, float | None, dict[str, float] | None]).decode


class Served(NamedTuple):
    """What a decision gets without its code. `by`: why, as the log row says; None for an even draw."""

    action: Any
    propensity: float | None
    probabilities: dict[str, float] | None
    by: Reason | None = None

    def arm(self, field: str | None) -> str | None:
        """The label of its arm, if it names one."""
        try:
            return arm_of(self.action, field)
        except values.InvalidValue:
            return None


class Mechanism:
    """What one revision of an experiment declares."""

    def __init__(self, experiment: Experiment) -> None:
        declared: Mapping[str, Any] = experiment.properties
        self._id = experiment.id
        self._state = declared.get("state") or "running"
        self._starts, self._ends = (
            None if declared.get(name) is None else dates.parse_iso(declared[name])
            for name in ("starts", "ends")
        )
        self.most: int | None = declared.get("max_decisions")
        self._field: str | None = declared.get("arm_field")
        self._traffic = msgspec.convert(declared.get("traffic") or {}, Traffic)
        self._actions = {
            arm_of(action, self._field): action
            for action in (action_of(arm, self._field or "") for arm in declared.get("arms") or ())
        }
        off = frozenset(declared.get("off") or ())
        self._arms = [arm for arm in self._actions if arm not in off]
        self._off = off
        self._declared = len(self._actions)
        self._control = self._certain(declared.get("control"), "holdout")
        self._outside = self._certain(declared.get("fallback"), "ramp")
        self._fallback = self._certain(declared.get("fallback"), "fallback")
        if off and self._fallback is not None and self._fallback.arm(self._field) in off:
            self._outside = self._certain(declared.get("control"), "ramp")
            self._fallback = self._certain(declared.get("control"), "fallback")
        self._unit: str | None = declared.get("unit")
        self._salt = str(declared.get("salt", "")).encode()
        sticky = declared.get("sticky")
        hours = sticky.get("hours", STICKY_HOURS) if isinstance(sticky, dict) else STICKY_HOURS
        self._keep_ms = hours * HOUR_MS if sticky else 0
        self._hashes = self._traffic.holdout > 0 or self._traffic.ramp < 1 or self._keep_ms > 0
        self._burning = self._traffic.burn_in > 0

    # ---- before the policy

    async def look(
        self, store: DecisionStore, calls: Sequence[Pending], now_ms: int
    ) -> tuple[int, Mapping[str, Served]]:
        """How many decisions there were, as far as that matters, and the actions that units of calls keep."""
        count = 0
        if self._burning or self.most is not None:
            count = (await store.summary(self._id)).action_calls
            self._burning = count < self._traffic.burn_in
        return count, await self._kept(store, calls, now_ms) if self._keep_ms else {}

    @property
    def takes_rewards(self) -> bool:
        return self._state != "archived"

    def serve(self, call: Decision, count: int, kept: Mapping[str, Served], now_ms: int) -> Served | None:
        """What a decision gets; None: its code decides. :raises Conflict: :raises BadRequest:"""
        if (why := self.resting(count, now_ms)) is not None:
            if self._fallback is None or self._state == "archived":
                raise Conflict(f"{why}, and has no fallback" if self._fallback is None else why)
            return self._fallback
        if self._hashes:
            unit = self._unit_of(call.context)
            if self._traffic.ramp < 1 and self._place("ramp", unit) >= self._traffic.ramp:
                return self._outside
            if self._place("holdout", unit) < self._traffic.holdout:
                return self._control
            if (before := kept.get(self._key(unit))) is not None:
                return before if before.arm(self._field) not in self._off else self._in_place_of(before)
        if self._burning and count < self._traffic.burn_in:
            arm = random.choice(self._arms)
            share = 1 / len(self._arms)
            return Served(self._actions[arm], share, dict.fromkeys(self._arms, share))
        return None

    def _in_place_of(self, before: Served) -> Served:
        """The control, for a unit whose action is that of an arm that was switched off since."""
        assert self._control is not None
        told = self._without_off(before.probabilities)
        chance = None if told is None else told[self._control.arm(self._field) or ""]
        return Served(self._control.action, chance, None if told is None else dict(told), KEPT)

    def resting(self, count: int, now_ms: int) -> str | None:
        """Why no decisions are made now, if they are not."""
        if self._state == "draft":
            return "the experiment is a draft"
        if self._state != "running":
            return f"the experiment is {self._state}"
        if self._starts is not None and now_ms < self._starts:
            return f"the experiment starts at {dates.iso(self._starts)}"
        if self._ends is not None and now_ms >= self._ends:
            return f"the experiment ended at {dates.iso(self._ends)}"
        if self.most is not None and count >= self.most:
            return f"the experiment has made its {self.most:,} decisions (max_decisions)"
        return None

    def _certain(self, arm: Any, by: Reason) -> Served | None:
        """What is served with certainty."""
        if arm is None:
            return None
        action = arm if isinstance(arm, dict) else self._actions[label(arm)]
        try:
            return Served(action, 1.0, {arm_of(action, self._field): 1.0}, by)
        except values.InvalidValue:
            return Served(action, 1.0, None, by)

    # ---- units

    def _unit_of(self, context: Any) -> str:
        if type(context) is not dict or context.get(self._unit) is None:
            raise BadRequest(
                f"context must be an object with the field {self._unit}, the unit of this experiment",
                field=f"context.{self._unit}",
            )
        return label(context[self._unit])

    def _place(self, purpose: str, unit: str) -> float:
        """Where a unit stands, from 0 to 1: the same in every process and for ever."""
        return int.from_bytes(self._hash(purpose, unit)[:7]) / 2**56

    def _hash(self, purpose: str, unit: str) -> bytes:
        return hashlib.sha256(b"\0".join((self._salt, purpose.encode(), unit.encode()))).digest()

    def _key(self, unit: str) -> str:
        """Under which the action of a unit is kept."""
        return f"{KEPT}:{self._hash(KEPT, unit).hex()}"

    async def _kept(self, store: DecisionStore, calls: Sequence[Pending], now_ms: int) -> dict[str, Served]:
        """The actions that units of these calls keep."""
        keys = set[str]()
        for call in calls:
            if isinstance(call, Decision):
                try:
                    keys.add(self._key(self._unit_of(call.context)))
                except BadRequest:
                    continue
        if not keys:
            return {}
        _, records = await store.peek(self._id, [], keys, now_ms)
        return {
            key: Served(*_parse(record.answer), KEPT)
            for key, record in records.items()
            if record.fingerprint == KEPT
        }

    # ---- after the policy

    def mixed(self, outcome: Outcome) -> Outcome:
        """A decision of the policy with the least share of each arm: with probability K * floor one of the K
        arms is drawn evenly, else it stays. Its probabilities are then floor + (1 - K * floor) p.

        Without the policy's probability of every arm that of the whole is not known, and none is told: it
        would be known for some arms and not for others.
        """
        floor, arms = self._traffic.floor, self._arms
        if not floor and not self._off:
            return outcome
        try:
            taken = arm_of(outcome.action, self._field)
        except values.InvalidValue:
            taken = None
        told = self._probabilities(outcome, taken)
        action = outcome.action
        if self._off:
            told = self._without_off(told)
            if taken in self._off:
                assert self._control is not None
                action = self._control.action
                taken = arm_of(action, self._field)
        rest = max(0.0, 1 - len(arms) * floor)
        arm = taken
        if floor and random.random() >= rest:
            arm = random.choice(arms)
            action = action if arm == taken else self._actions[arm]
        whole, chance = None, None
        if told is not None and arm is not None:
            whole = {one: rest * p for one, p in told.items()}
            for one in arms:
                whole[one] = whole.get(one, 0.0) + floor
            chance = whole[arm]
        if isinstance(action, dict) and "propensity" in action:
            # The policy's own, of the arm before the mixture.
            action = {name: value for name, value in action.items() if name != "propensity"}
            if chance is not None:
                action["propensity"] = chance
        return Outcome(None, action, outcome.context, chance, whole, outcome.runs if whole else None)

    def _probabilities(self, outcome: Outcome, taken: str | None) -> Mapping[str, float] | None:
        """The policy's probability of every arm, if it is known."""
        told, own = outcome.probabilities, outcome.propensity
        if taken is None:
            return None
        if told:
            right = abs(math.fsum(told.values()) - 1) <= _TOLERANCE and min(told.values()) >= 0
            return told if right and told.get(taken, 0) > 0 else None
        if own is None or not 0 < own <= 1 or taken not in self._actions or self._declared > 2:
            return None
        if self._declared == 1:
            return {taken: 1.0} if own == 1 else None
        return {arm: own if arm == taken else 1 - own for arm in self._actions}

    def _without_off(self, told: Mapping[str, float] | None) -> Mapping[str, float] | None:
        """The probabilities when the control is served in place of arms that are off."""
        if told is None:
            return None
        assert self._control is not None
        control = arm_of(self._control.action, self._field)
        moved = {arm: p for arm, p in told.items() if arm not in self._off}
        moved[control] = moved.get(control, 0.0) + sum(told.get(arm, 0.0) for arm in self._off)
        return moved

    def keeps(self, call: Decision, served: Served | None) -> str | None:
        """The key under which the action of a decision is kept from now on; None if it is not."""
        if not self._keep_ms or (served is not None and served.by is not None):
            return None
        return self._key(self._unit_of(call.context))

    def record(self, key: str, outcome: Outcome, now_ms: int) -> IdempotencyRecord:
        """What keeps the action of a unit: refused if another process was first."""
        kept = values.dump([outcome.action, outcome.propensity, outcome.probabilities])
        return IdempotencyRecord(self._id, key, KEPT, kept, now_ms + self._keep_ms)


def of(experiment: Experiment) -> Mechanism | None:
    """What is around the policy of an experiment; None if that is nothing."""
    return Mechanism(experiment) if _ACTS & experiment.properties.keys() else None
