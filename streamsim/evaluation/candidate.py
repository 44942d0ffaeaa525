"""With which probability a candidate policy would have taken each arm, for every logged context."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from streamsim import values
from streamsim.decisions.transaction import policy_error
from streamsim.errors import BadRequest, PolicyCrashed
from streamsim.evaluation.intervals import Floats
from streamsim.evaluation.logs import MAX_ARMS, DecisionLog
from streamsim.evaluation.pools import Nest
from streamsim.evaluation.simulation import Broken, nested_answer
from streamsim.evaluation.wire import Propensities, PropensityLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.jobs.jobs import together

_EXCHANGE_S: Final = 0.3
_MOST_AT_ONCE: Final = 2000
_FRAME_SHARE: Final = 4
_answer = msgspec.msgpack.Decoder(Propensities)


class Candidate(NamedTuple):
    """`target`: n x K probabilities of the arms `arms`; `exact`: rows whose probabilities the code told."""

    arms: list[str]
    target: Floats
    exact: int


async def candidate(
    workers: BatchWorkers, load: PropensityLoad, nest: Nest, data: DecisionLog, *, identity: str
) -> Candidate:
    """Probabilities of the arms that the log or the candidate has, on the theta of the load.

    :raises Broken: the candidate's code failed on a context. :raises BadRequest: too many arms.
    """
    n = len(data)
    parts = min(workers.settings.workers, n)
    edges = [n * part // parts for part in range(parts + 1)]
    found = await together(
        _some(workers, load, nest, data.contexts, first, last, identity)
        for first, last in itertools.pairwise(edges)
    )
    rows = [row for part in found for row in part.rows]
    arms = sorted(set(data.actions).union(*rows))
    if len(arms) > MAX_ARMS:
        raise BadRequest(
            f"log and candidate have {len(arms)} different actions; off-policy evaluation takes at most "
            f"{MAX_ARMS}: choose the field of the action that names the arm",
            field="action_field",
        )
    places = {arm: place for place, arm in enumerate(arms)}
    target = np.zeros((n, len(arms)))
    for number, row in enumerate(rows):
        for arm, probability in row.items():
            target[number, places[arm]] = probability
    return Candidate(arms, target, sum(sum(part.exact) for part in found))


async def _some(
    workers: BatchWorkers,
    load: PropensityLoad,
    nest: Nest,
    contexts: Sequence[dict[str, Any]],
    first: int,
    last: int,
    identity: str,
) -> Propensities:
    """Those of the contexts `first` to `last`."""
    result = Propensities()
    budget = workers.limits.frame_bytes // _FRAME_SHARE
    async with workers.one("propensity", load, identity=identity) as worker:
        at_once = 1
        while first < last:
            some = _fitting(contexts, first, min(last, first + at_once), budget)
            began = time.monotonic()
            body = await worker.exchange((first, some), calls=len(some) * load.runs, ask=nested_answer(nest))
            seconds = time.monotonic() - began
            answer = _checked(body, len(some))
            result.rows += answer.rows
            result.exact += answer.exact
            first += len(answer.rows)
            if answer.failure is not None:
                raise Broken(policy_error(answer.failure), first, "logged decision")
            growth = min(4.0, _EXCHANGE_S / max(seconds, 1e-6))
            at_once = max(1, min(int(len(some) * growth), _MOST_AT_ONCE))
    return result


def _fitting(contexts: Sequence[dict[str, Any]], first: int, last: int, budget: int) -> list[dict[str, Any]]:
    some: list[dict[str, Any]] = []
    for context in contexts[first:last]:
        budget -= len(values.dump(context)) + 64
        if some and budget < 0:
            break
        some.append(context)
    return some


def _checked(body: msgspec.Raw, size: int) -> Propensities:
    try:
        answer = _answer.decode(body)
        whole = len(answer.rows) == len(answer.exact) == size
        if whole or (answer.failure is not None and len(answer.rows) == len(answer.exact) < size):
            return answer
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        pass  # told below, as any other form
    raise PolicyCrashed("the policy process broke the protocol")
