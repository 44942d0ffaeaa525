"""From what a worker says a batch did to what the store commits. Nothing is taken on trust."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from streamsim import values
from streamsim.decisions.repeated import Repeated
from streamsim.decisions.wire import MAX_ADDRESS, Done, Outcome, Results
from streamsim.errors import (
    PolicyError,
    PolicyMemory,
    PolicyRejected,
    PolicyTimeout,
)
from streamsim.sandbox.wire import Failure, TextDecoder, cleaned
from streamsim.storage.contract.decisions import ThetaAddress

MAX_EFFECTS = 10_000

# What policy code refused by a function of `inputs` is a field of the call.
_FIELD = re.compile(r"(context|action|reward)(\.[\w.]{1,100})?(\[\d{1,9}\])?(?=: )")
# Its outcomes are decoded as far as they were not told before.
_decoder = TextDecoder[Results[msgspec.Raw]](Results[msgspec.Raw])
_KINDS: dict[str, tuple[type[PolicyError], str]] = {
    "exception": (PolicyError, "the policy code raised an exception"),
    "syntax": (PolicyError, "the policy code does not compile"),
    "rejected": (PolicyRejected, "what the policy code answered is not allowed"),
    "timeout": (PolicyTimeout, "the policy code ran longer than its time limit"),
    "memory": (PolicyMemory, "the policy code used more memory than its limit"),
}


class Untrustworthy(Exception):
    """A worker's result that no honest worker sends; the worker has to go."""


def policy_error(failure: Failure) -> PolicyError:
    """The error for a failed piece of code: its piece, line, exception type and message, and nothing else."""
    failure = cleaned(failure)
    kind, sentence = _KINDS[failure.kind]
    detail: dict[str, Any] = {"type": failure.type, "message": failure.message}
    if failure.piece:
        detail |= {"piece": failure.piece, "line": failure.line or None}
        sentence = f"{sentence} ({failure.piece}, line {failure.line})"
    named = _FIELD.match(failure.message) if failure.type == "InvalidValue" else None
    return kind(
        f"{sentence}: {failure.type}: {failure.message}", detail=detail, field=named[0] if named else None
    )


def parse_done(body: msgspec.Raw, calls: int, repeated: Repeated) -> Done:
    """:raises Untrustworthy: not a result of the agreed form for this many calls."""
    try:
        text = _decoder.decode(body)
        if len(text.outcomes) != calls:
            raise Untrustworthy("another number of results than calls")
        done = Done(repeated.decoded(text.outcomes), text.used, text.reads, text.writes, text.logs)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise Untrustworthy(f"a result of another form ({type(error).__name__})") from None
    if max(len(done.reads), len(done.writes), len(done.logs)) > MAX_EFFECTS:
        raise Untrustworthy("too many effects")
    if any(not 0 <= call < calls for call, _, _ in done.logs):
        raise Untrustworthy("a log row of no call")
    return done


def check_outcome(outcome: Outcome, *, action: bool) -> PolicyError | None:
    """The error of a call, or None if it succeeded with allowed values."""
    if outcome.failure is not None:
        return policy_error(outcome.failure)
    try:
        if action:
            if outcome.action is None:
                raise values.InvalidValue("action", "must not be None")
            values.check(outcome.action, "action")
            if outcome.probabilities is not None:
                values.check(outcome.probabilities, "action_probabilities")
            if outcome.propensity is not None:
                values.check(outcome.propensity, "propensity")
        if outcome.context is not None:
            values.check(outcome.context, "context")
    except values.InvalidValue as error:
        return PolicyRejected(str(error), field=error.where)
    return None


def theta_effects(
    done: Done, opened: dict[str, int]
) -> tuple[dict[ThetaAddress, int], list[ThetaAddress], dict[ThetaAddress, bytes]]:
    """Reads, deletes and writes of a batch.

    :param opened: revision of each experiment that this worker was given.
    :raises Untrustworthy: an experiment it was not given, or a malformed address, version or dict.
    """
    reads: dict[ThetaAddress, int] = {}
    deletes: list[ThetaAddress] = []
    writes: dict[ThetaAddress, bytes] = {}
    for experiment_id, name, key, value, version in done.reads:
        if experiment_id not in opened or version < 0 or (key is None and value is not None):
            raise Untrustworthy("a read of something it was not given")
        reads[_scope(experiment_id, name, key, value)] = version
    for experiment_id, name, key, value, data in done.writes:
        if experiment_id not in opened:
            raise Untrustworthy("a write to an experiment it was not given")
        scope = _scope(experiment_id, name, key, value)
        if data is None:
            deletes.append(scope)
        else:
            try:
                values.check(data, "theta")
            except values.InvalidValue as error:
                raise Untrustworthy(str(error)) from None
            writes[scope] = values.dump(data)
    return reads, deletes, writes


def _scope(experiment_id: str, name: str, key: str | None, value: str | None) -> ThetaAddress:
    for part in (name, key, value):
        if part is not None and (len(part) > MAX_ADDRESS or "\0" in part):
            raise Untrustworthy("a malformed theta address")
    return ThetaAddress(experiment_id, name, key, value)
