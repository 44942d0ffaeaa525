"""Which calls of a batch the experiment's code is run for, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeGuard

import msgspec

from streamsim.decisions import declared, gathering, mechanism
from streamsim.decisions.calls import Decision, Pending, Reward
from streamsim.decisions.gathering import How, Rule
from streamsim.decisions.mechanism import Mechanism, Served
from streamsim.decisions.wire import Done, Outcome
from streamsim.errors import BadRequest, Conflict, StreamsimError
from streamsim.storage.contract.decisions import Amendment, DecisionStore, Experiment, Redemption

_NO_SERVED: Mapping[str, Served] = {}


class Rewarded(NamedTuple):
    """What a reward does, and what it does to its advice."""

    how: How
    effect: Redemption | Amendment | None


_LEARNT: Final = Rewarded("learn", None)
"""Of a reward that came without an advice id."""


class Routed(NamedTuple):
    """The calls of a batch that are left. `served`: decisions that have their action without code.
    `rewarded`: what each reward does.

    `refused`: the others, and why. `before`: the batch may be committed while the action log has at most so
    many rows; None for any number.
    """

    calls: list[Pending]
    served: Mapping[Pending, Served]
    rewarded: Mapping[Pending, Rewarded]
    refused: Sequence[tuple[Pending, StreamsimError]] = ()
    before: int | None = None

    def runs(self, call: Pending) -> bool:
        """Whether the code is run for a call."""
        if isinstance(call, Decision):
            return call not in self.served
        return self.rewarded[call].how == "learn"

    def together(self, done: Done) -> Done:
        """The outcomes of all calls, in order, from those of the calls that the code was run for."""
        if len(done.outcomes) == len(self.calls):
            return done
        outcomes, places, ran = [], [], iter(done.outcomes)
        for place, call in enumerate(self.calls):
            if self.runs(call):
                places.append(place)
                outcomes.append(next(ran))
            elif (one := self.served.get(call)) is not None:
                outcomes.append(Outcome(None, one.action, None, one.propensity, one.probabilities))
            else:
                outcomes.append(Outcome(None))
        logs = [(places[call], experiment_id, row) for call, experiment_id, row in done.logs]
        return msgspec.structs.replace(done, outcomes=outcomes, logs=logs)


class Around(NamedTuple):
    """What one revision of an experiment declares around its code. `mechanism` is None if that is nothing.
    `logged_revision`: the revision, for log rows of an experiment that declares anything. `guarded`: whether
    it has guardrails, or is promoted by itself. `shadow`: whether callers decide, and the code beside them.
    """

    experiment: Experiment
    mechanism: Mechanism | None
    rule: Rule
    logged_revision: int | None = None
    guarded: bool = False
    shadow: bool = False

    @property
    def plain(self) -> bool:
        """Whether every decision is what the code says, and it runs for every reward without an advice id."""
        return self.mechanism is None and not self.shadow

    def shadows(self, call: Pending) -> TypeGuard[Decision]:
        """Whether it is a decision that its caller has made."""
        return self.shadow and isinstance(call, Decision) and call.present is not None

    async def route(self, store: DecisionStore, calls: Sequence[Pending], now_ms: int) -> Routed:
        """What becomes of each call of a batch."""
        around, rule = self.mechanism, self.rule
        count, kept = 0, _NO_SERVED
        if around is not None:
            count, kept = await around.look(store, calls, now_ms)
        left: list[Pending] = []
        served: dict[Pending, Served] = {}
        rewarded: dict[Pending, Rewarded] = {}
        refused: list[tuple[Pending, StreamsimError]] = []
        decided = 0
        for call in calls:
            try:
                if isinstance(call, Reward):
                    if around is not None and not around.takes_rewards and call.by == "reward":
                        raise Conflict("the experiment is archived and takes no rewards", field="state")
                    if call.advice is None:
                        rewarded[call] = _LEARNT
                    else:
                        how = rule.sort(call, call.advice, now_ms)
                        rewarded[call] = Rewarded(how, rule.effect(call, call.advice, how))
                elif self.shadow:
                    assert isinstance(call, Decision)
                    if call.present is None:
                        raise BadRequest(
                            "action is missing: this experiment is a shadow, and serves what your present "
                            "system does",
                            field="action",
                        )
                    if call.without_code or (around is not None and around.resting(count, now_ms)):
                        served[call] = Served(call.present, None, None)
                    count += 1
                elif around is not None:
                    assert isinstance(call, Decision)
                    found = around.serve(call, count, kept, now_ms)
                    if found is not None:
                        served[call] = found
                    decided += found is None or found.by != "fallback"
                    count += 1
            except StreamsimError as error:
                refused.append((call, error))
                continue
            left.append(call)
        before = around.most - decided if around is not None and around.most is not None and decided else None
        return Routed(left, served, rewarded, refused, before)


def around(experiment: Experiment) -> Around:
    """What is around the code of an experiment."""
    properties = experiment.properties
    revision = experiment.revision if declared.DECLARED & properties.keys() else None
    shadow = properties.get("shadow")
    guarded = bool(properties.get("guardrails")) or (type(shadow) is dict and bool(shadow["auto_promote"]))
    rule, around = gathering.rule(properties), mechanism.of(experiment)
    return Around(experiment, around, rule, revision, guarded, bool(shadow))
