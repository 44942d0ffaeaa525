"""With which probability a candidate policy would have taken each arm, for every logged context."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Final

import msgspec

from streamsim.decisions.transaction import policy_error
from streamsim.errors import PolicyCrashed
from streamsim.evaluation.estimating import Estimating
from streamsim.evaluation.pools import Nest
from streamsim.evaluation.simulation import Broken, nested_answer
from streamsim.evaluation.wire import Propensities, PropensityLoad
from streamsim.evaluation.workers import PARTS, BatchWorkers
from streamsim.jobs.jobs import together

_EXCHANGE_S: Final = 0.3
_MOST_AT_ONCE: Final = 2000
_answer = msgspec.msgpack.Decoder(Propensities)
_contexts = msgspec.msgpack.Decoder(list[msgspec.Raw])


async def candidate(
    workers: BatchWorkers,
    load: PropensityLoad,
    nest: Nest,
    estimating: Estimating,
    decisions: int,
    *,
    identity: str,
) -> None:
    """Tell an evaluation the candidate's probabilities in the contexts of its decisions, on the theta of the
    load.

    :raises Broken: the candidate's code failed on a context.
    """
    parts = min(PARTS, decisions)
    edges = [decisions * part // parts for part in range(parts + 1)]
    ready = [asyncio.Event() for _ in range(parts + 1)]
    ready[0].set()

    async def part(number: int, first: int, last: int) -> None:
        rows, exact = await _some(workers, load, nest, estimating, first, last, identity)
        # The parts are told in their order.
        await ready[number].wait()
        for some, told in zip(rows, exact, strict=True):
            await estimating.add_probabilities(some, told)
        ready[number + 1].set()

    await together(part(number, *ends) for number, ends in enumerate(itertools.pairwise(edges)))


async def _some(
    workers: BatchWorkers,
    load: PropensityLoad,
    nest: Nest,
    estimating: Estimating,
    first: int,
    last: int,
    identity: str,
) -> tuple[list[list[dict[str, float]]], list[int]]:
    """In the contexts `first` to `last`: probabilities, some at a time, and how many of those were told."""
    rows: list[list[dict[str, float]]] = []
    exact: list[int] = []
    async with workers.one("propensity", load, identity=identity, lane="candidate") as worker:
        at_once = 1
        while first < last:
            some = _contexts.decode(await estimating.contexts(first, min(at_once, last - first)))
            began = time.monotonic()
            body = await worker.exchange((first, some), calls=len(some) * load.runs, ask=nested_answer(nest))
            seconds = time.monotonic() - began
            answer = _checked(body, len(some))
            rows.append(answer.rows)
            exact.append(sum(answer.exact))
            first += len(answer.rows)
            if answer.failure is not None:
                raise Broken(policy_error(answer.failure), first, "logged decision")
            growth = min(4.0, _EXCHANGE_S / max(seconds, 1e-6))
            at_once = max(1, min(int(len(some) * growth), _MOST_AT_ONCE))
    return rows, exact


def _checked(body: msgspec.Raw, size: int) -> Propensities:
    try:
        answer = _answer.decode(body)
        whole = len(answer.rows) == len(answer.exact) == size
        if whole or (answer.failure is not None and len(answer.rows) == len(answer.exact) < size):
            return answer
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        pass  # told below, as any other form
    raise PolicyCrashed("the policy process broke the protocol")
