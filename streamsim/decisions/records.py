"""The JSON that a call leaves behind: its answer and its log rows, put together from parts encoded once."""

from __future__ import annotations

import os
import secrets
from itertools import count
from typing import Any, Final

from streamsim import values
from streamsim.decisions.calls import Reward
from streamsim.decisions.gathering import How
from streamsim.decisions.wire import Outcome
from streamsim.errors import PolicyError
from streamsim.storage.contract.decisions import NewAdvice

_SUCCESS: Final = b'{"status":"success"}'
_prefix: str
_numbers = count()


def _draw_prefix() -> None:
    global _prefix
    _prefix = secrets.token_hex(8)


_draw_prefix()
# A forked process would give the ids of its parent.
os.register_at_fork(after_in_child=_draw_prefix)


def row_id() -> str:
    """An id for a log row that no other process gives."""
    return f"{_prefix}{next(_numbers):012x}"


def decision(
    context: Any,
    outcome: Outcome,
    *,
    debug: bool,
    advice: tuple[str, str, int] | None,
    by: str | None = None,
    revision: int | None = None,
    shadow: Outcome | None = None,
) -> tuple[bytes, bytes, NewAdvice | None]:
    """Answer, log row and advice of a getaction call.

    :param advice: (experiment, new advice id, expiry in ms), if the experiment gives advice ids.
    :param by: what decided in place of the experiment's code. :param revision: of the experiment.
    :param shadow: what its code decided, where the caller's own action is served.
    """
    context_json = values.dump(outcome.context if outcome.context is not None else context)
    action_json = values.dump(outcome.action)
    answer = [b'{"action":', action_json]
    row = [b'{"context":', context_json, b',"action":', action_json]
    if outcome.propensity is not None:
        row += (b',"propensity":', values.dump(outcome.propensity))
    if outcome.runs is not None:
        row += (b',"propensity_runs":', values.dump(outcome.runs))
    if outcome.probabilities is not None:
        row += (b',"probabilities":', values.dump(outcome.probabilities))
    if by is not None:
        row += (b',"decided_by":', values.dump(by))
    if shadow is not None:
        told = {
            "action": shadow.action,
            "propensity": shadow.propensity,
            "probabilities": shadow.probabilities,
        }
        row += (b',"shadow":', values.dump({name: one for name, one in told.items() if one is not None}))
    if revision is not None:
        row.append(b',"revision":%d' % revision)
    if debug:
        answer += (b',"context":', context_json)
    issued = None
    if advice is not None:
        experiment_id, advice_id, expires_ms = advice
        part = b',"advice_id":"' + advice_id.encode() + b'"'
        answer.append(part)
        row.append(part)
        issued = NewAdvice(experiment_id, advice_id, expires_ms, context_json, action_json)
    answer.append(b"}")
    row.append(b"}")
    return b"".join(answer), b"".join(row), issued


def row(context: Any, rest: bytes) -> bytes:
    """Log row of a getaction call, from what one of the same outcome has behind its context."""
    return b'{"context":' + values.dump(context) + rest


def rest(row: bytes, context: Any) -> bytes:
    """What a log row of a getaction call has behind its context."""
    return row[len(b'{"context":') + len(values.dump(context)) :]


def failure(call: str, error: PolicyError) -> bytes:
    """Log row of a call that the policy code failed on."""
    return values.dump({"call": call, "code": error.code, "message": error.message, "detail": error.detail})


def reward(call: Reward, outcome: Outcome, how: How, *, debug: bool) -> tuple[bytes, bytes]:
    """Answer and log row of a setreward call."""
    context_json = values.dump(outcome.context if outcome.context is not None else call.context)
    parts = [
        b'{"context":',
        context_json,
        b',"action":',
        values.dump(call.action),
        b',"reward":',
        values.dump(call.reward),
    ]
    answer = _SUCCESS
    if debug:
        answer = b'{"status":"success",' + b"".join(parts)[1:] + b"}"
    if how == "late":
        answer = answer[:-1] + b',"late":true}'
    if call.metrics is not None:
        parts += (b',"metrics":', values.dump(call.metrics))
    if call.advice_id is not None:
        parts += (b',"advice_id":', values.dump(call.advice_id))
    if call.parts:
        parts.append(b',"parts":%d' % call.parts)
    elif call.by == "timeout":
        parts.append(b',"timeout":true')
    if how in ("part", "late"):
        parts.append(b',"%b":true' % how.encode())
    parts.append(b"}")
    return answer, b"".join(parts)
