"""One batch on the host: the frame that its calls make, and the transaction that their outcomes make."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from streamsim import values
from streamsim.config import LaneSettings
from streamsim.dates import HOUR_MS
from streamsim.decisions import records
from streamsim.decisions.calls import Decision, Pending, Reward
from streamsim.decisions.counting import Arms, Counting
from streamsim.decisions.gathering import window_hours
from streamsim.decisions.mechanism import KEPT
from streamsim.decisions.repeated import Repeated, Told
from streamsim.decisions.routing import Around, Routed
from streamsim.decisions.transaction import Untrustworthy, check_outcome, theta_effects
from streamsim.decisions.wire import ACTION, REWARD, Call, Done, Outcome
from streamsim.errors import PolicyError, StreamsimError
from streamsim.storage.contract.decisions import (
    Experiment,
    IdempotencyRecord,
    Redemption,
    Transaction,
)
from streamsim.storage.contract.logs import LogRow


class Prepared(msgspec.Struct):
    """A transaction, and how each call of the batch ends once it is committed: its answer or its error.
    `ran`: whether the worker ran any of it."""

    transaction: Transaction
    ends: list[tuple[Pending, bytes | StreamsimError]]
    ran: bool = True

    @property
    def leaves_theta(self) -> bool:
        """Whether every call succeeded and the batch does no more than to log and to give advice ids: what
        runs after it finds the same theta and advices whether it is committed or not."""
        changed = self.transaction
        parts = changed.writes, changed.deletes, changed.redemptions, changed.amendments
        changes = any(parts) or changed.idempotency or changed.at_most
        return not changes and all(isinstance(end, bytes) for _, end in self.ends)


def frame(call: Pending) -> Call:
    """A call as the policy program gets it."""
    if isinstance(call, Decision):
        return Call(ACTION, call.context)
    assert isinstance(call, Reward)
    return Call(REWARD, call.context, call.action, call.reward)


def prepare(
    around: Around,
    routed: Routed,
    done: Done,
    opened: dict[str, int],
    settings: LaneSettings,
    now_ms: int,
    arms: Arms,
    repeated: Repeated,
    *,
    debug: bool = False,
) -> Prepared:
    """Check everything that the worker answered, and put together what the batch does to the store.

    :raises Untrustworthy: it answered what no honest worker would.
    """
    experiment, mechanism = around.experiment, around.mechanism
    ran = bool(done.outcomes)
    done = routed.together(done)
    reads, deletes, writes = theta_effects(done, opened)
    if not set(done.used) <= opened.keys():
        raise Untrustworthy("it used an experiment it was not given")
    logs: list[LogRow] = []
    transaction = Transaction(
        experiment.tenant,
        {experiment.id: experiment.revision} | {used: opened[used] for used in done.used},
        reads,
        deletes,
        writes,
        logs,
        now_ms=now_ms,
    )
    counting = Counting(transaction, experiment, now_ms, arms)
    expires_ms = advice_expiry(experiment, now_ms)
    ends: list[tuple[Pending, bytes | StreamsimError]] = []
    if routed.before is not None:
        transaction.at_most[experiment.id] = routed.before
    kept: dict[str, Outcome] = {}
    plain = around.plain and not expires_ms and not debug
    for call, outcome in zip(routed.calls, done.outcomes, strict=True):
        if plain and isinstance(call, Decision) and (told := repeated.told(outcome)) is not None:
            row = records.row(call.context, told.rest)
            logs.append(LogRow(experiment.id, "action", records.row_id(), now_ms, row))
            counting.decided(told.arm)
            ends.append((call, told.answer))
            continue
        error = check_outcome(outcome, action=isinstance(call, Decision))
        shadow = None
        if around.shadows(call):
            if error is not None:  # which is no reason not to answer
                logs.append(_failure(experiment, call, error, now_ms))
                counting.errors()
            elif routed.runs(call):
                shadow = outcome
            own = call.present.get("propensity") if isinstance(call.present, dict) else None
            chance = own if isinstance(own, float | int) and not isinstance(own, bool) else None
            chance = chance if chance is not None and 0 < chance <= 1 else None
            changed = outcome.context if shadow is not None else None
            outcome, error = Outcome(None, call.present, changed, chance), None
        if error is not None:
            ends.append((call, error))
            logs.append(_failure(experiment, call, error, now_ms))
            counting.errors()
            continue
        if isinstance(call, Decision):
            by = None
            if mechanism is not None and not around.shadow:
                served = routed.served.get(call)
                by = served.by if served is not None else None
                if served is None:
                    outcome = mechanism.mixed(outcome)
                if (key := mechanism.keeps(call, served)) is not None:
                    if key in kept:  # the same unit, earlier in this batch
                        outcome, by = kept[key], KEPT
                    else:
                        kept[key] = msgspec.structs.replace(outcome, context=None)
                        transaction.idempotency.append(mechanism.record(key, outcome, now_ms))
            advice = (experiment.id, secrets.token_hex(16), expires_ms) if expires_ms else None
            answer, row, issued = records.decision(
                call.context,
                outcome,
                debug=debug,
                advice=advice,
                by=by,
                revision=around.logged_revision,
                shadow=shadow,
            )
            logs.append(LogRow(experiment.id, "action", records.row_id(), now_ms, row))
            arm = counting.decision(outcome.action, outcome.probabilities)
            if plain and outcome.context is None:
                repeated.keep(Told(outcome, answer, records.rest(row, call.context), arm))
            if issued is not None:
                transaction.advices.append(issued)
        else:
            assert isinstance(call, Reward)
            how, effect = routed.rewarded[call]
            answer, row = records.reward(call, outcome, how, debug=debug)
            if how != "close":
                logs.append(LogRow(experiment.id, "reward", records.row_id(), now_ms, row))
                counting.reward(call.action, call.reward, once=how == "learn")
            if isinstance(effect, Redemption):
                transaction.redemptions.append(effect)
            elif effect is not None:
                transaction.amendments.append(effect)
            if call.idempotency_key is not None:
                transaction.idempotency.append(
                    IdempotencyRecord(
                        experiment.id,
                        call.idempotency_key,
                        call.fingerprint(),
                        answer,
                        now_ms + settings.idempotency_hours * HOUR_MS,
                    )
                )
        ends.append((call, answer))
    for index, logged, data in done.logs:
        if logged not in opened:
            raise Untrustworthy("a log row for an experiment it was not given")
        if isinstance(ends[index][1], bytes):
            try:
                values.check(data, "log_data")
            except values.InvalidValue as invalid:
                raise Untrustworthy(str(invalid)) from None
            logs.append(LogRow(logged, "manual", records.row_id(), now_ms, values.dump(data)))
    return Prepared(transaction, ends, ran)


def advice_expiry(experiment: Experiment, now_ms: int) -> int:
    """When an advice id given now expires, in ms; 0 if the experiment gives none."""
    if not experiment.properties.get("advice_id"):
        return 0
    return now_ms + (window_hours(experiment.properties) or 0) * HOUR_MS


def failures(
    experiment: Experiment, calls: Sequence[Pending], error: PolicyError, now_ms: int
) -> Transaction:
    """What a batch without any result does: it is in the experiment's log of errors."""
    transaction = Transaction(
        experiment.tenant,
        {experiment.id: experiment.revision},
        logs=[_failure(experiment, call, error, now_ms) for call in calls],
    )
    Counting(transaction, experiment, now_ms, Arms()).errors(len(calls))
    return transaction


def _failure(experiment: Experiment, call: Pending, error: PolicyError, now_ms: int) -> LogRow:
    row = records.failure("getaction" if isinstance(call, Decision) else "setreward", error)
    return LogRow(experiment.id, "error", records.row_id(), now_ms, row)


def without_effect(experiment: Experiment, call: Reward, error: PolicyError, now_ms: int) -> Transaction:
    """Redeem the advice of a default reward that the code failed on, and say so in the experiment's log."""
    assert call.advice_id is not None
    row = values.dump({"advice_id": call.advice_id, "default_reward": call.reward, "error": error.message})
    return Transaction(
        experiment.tenant,
        {experiment.id: experiment.revision},
        logs=[LogRow(experiment.id, "manual", records.row_id(), now_ms, row)],
        redemptions=[Redemption(experiment.id, call.advice_id, "timeout")],
    )
