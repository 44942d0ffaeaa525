"""What must hold in the store for a reward to count: its advice is known, its idempotency key unused."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from streamsim import values
from streamsim.decisions.calls import Pending, Reward
from streamsim.errors import NotFound, Unauthorized, Unprocessable
from streamsim.storage.contract.decisions import Advice, DecisionStore, IdempotencyRecord


def with_key(calls: list[Pending], key: str) -> list[Pending]:
    """The calls that were made with the experiment's key; others, from before it changed, are refused."""
    if all(call.key is None or call.key == key for call in calls):
        return calls
    left = []
    for call in calls:
        if call.key is None or hmac.compare_digest(call.key.encode(), key.encode()):
            left.append(call)
        else:
            call.fail(Unauthorized("key or experiment id is not valid"))
    return left


async def admit(
    store: DecisionStore, experiment_id: str, calls: Sequence[Pending], now_ms: int
) -> list[Pending]:
    """The calls that may run now; the others have their answer or error."""
    advices = [call.advice_id for call in calls if isinstance(call, Reward) and call.advice_id is not None]
    keys = [
        call.idempotency_key
        for call in calls
        if isinstance(call, Reward) and call.idempotency_key is not None
    ]
    if not advices and not keys:
        return list(calls)
    known_advices, known_keys = await store.peek(experiment_id, advices, keys, now_ms)
    return [call for call in calls if _admitted(call, known_advices, known_keys)]


def refuse(
    calls: Iterable[Pending],
    advices: dict[str, Advice | None],
    keys: dict[str, IdempotencyRecord],
) -> list[Pending]:
    """After a refused commit: the calls that may run again; the others have their end."""
    left = []
    for call in calls:
        if isinstance(call, Reward) and (call.advice_id in advices or call.idempotency_key in keys):
            known = {advice_id: advice for advice_id, advice in advices.items() if advice is not None}
            if call.advice_id not in advices and call.advice is not None:
                known[call.advice.id] = call.advice
            if not _admitted(call, known, keys):
                continue
        left.append(call)
    return left


def _admitted(call: Pending, advices: dict[str, Advice], keys: dict[str, IdempotencyRecord]) -> bool:
    if not isinstance(call, Reward):
        return True
    # First the key: a repeated request is answered as before, though its advice is redeemed by now.
    record = keys.get(call.idempotency_key) if call.idempotency_key is not None else None
    if record is not None:
        if record.fingerprint == call.fingerprint():
            call.resolve(record.answer)
        else:
            call.fail(
                Unprocessable(
                    "this idempotency_key was used for another reward; use a new key for a new reward",
                    field="idempotency_key",
                )
            )
        return False
    if call.advice_id is None:
        return True
    advice = advices.get(call.advice_id)
    if advice is None:
        call.fail(NotFound("the experiment gave no such advice id, or forgot it", field="advice_id"))
    else:
        if call.advice is None:
            call.context = values.parse(advice.context, "context")
            call.action = values.parse(advice.action, "action")
        call.advice = advice
        return True
    return False
