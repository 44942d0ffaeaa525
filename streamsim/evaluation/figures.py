"""Figures about much data, worked out in a process that has no user code in it and can be ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from streamsim.errors import BadRequest, PolicyMemory, PolicyTimeout, TooLarge
from streamsim.evaluation.own_log import Logged
from streamsim.evaluation.simulation import Curve
from streamsim.evaluation.wire import Refused
from streamsim.evaluation.workers import BatchWorkers, Lane
from streamsim.sandbox.host.aside import Declined, Given, worked_out
from streamsim.sandbox.host.worker import Worker

MEMORY: Final = 4
"""So many times what other workers have."""


async def figures(
    workers: BatchWorkers,
    given: AsyncIterator[Given],
    word: str,
    *asked: object,
    identity: str,
    lane: Lane,
) -> bytes:
    """What the program `figures` makes of what it is given, of which one item is here at a time.

    :param word: what to make, and :param asked: with which settings; see `streamsim.programs.figures`.
    :raises BadRequest: of such data there are no figures, or they take too long.
    :raises TooLarge: they take too much memory. :raises PolicyCrashed: the process broke.
    :raises TooManyRequests: :raises Unavailable: as `BatchWorkers.one`.
    """
    async with figuring(workers, identity=identity, lane=lane) as worker:
        try:
            return await worked_out(worker, given, word, *asked, frame_bytes=workers.limits.frame_bytes)
        except Declined as declined:
            raise refusal(declined) from None


@asynccontextmanager
async def figuring(workers: BatchWorkers, *, identity: str, lane: Lane) -> AsyncIterator[Worker]:
    """A process of the program `figures`; what goes wrong with it is told as `figures` says."""
    whole_ms = int(1000 * workers.settings.request_s)
    limits = msgspec.structs.replace(
        workers.limits, cpu_ms=whole_ms, wall_ms=whole_ms, memory_bytes=MEMORY * workers.limits.memory_bytes
    )
    async with (
        _refusing(),
        workers.one("figures", None, identity=identity, lane=lane, limits=limits) as worker,
    ):
        yield worker


def refusal(declined: Declined) -> BadRequest:
    """Why there are no figures, as the program says it."""
    refused = msgspec.convert(declined.why, Refused)
    return BadRequest(refused.message, field=refused.field, detail=refused.detail)


@asynccontextmanager
async def _refusing() -> AsyncIterator[None]:
    try:
        yield
    except PolicyMemory:
        raise TooLarge("figures about so much data need too much memory") from None
    except PolicyTimeout:
        raise BadRequest("figures about so much data take too long (evaluation.request_s)") from None


async def of_curves(curves: Mapping[str, Iterable[Curve]]) -> AsyncIterator[Given]:
    """Replications of each policy in order of their number, as the program takes them."""
    for name, some in curves.items():
        for curve in some:
            yield name, msgspec.msgpack.encode(curve)


async def of_comparison(text: bytes) -> AsyncIterator[Given]:
    """A finished comparison, as JSON, as the program takes it."""
    yield "comparison", text


async def of_rows(rows: AsyncIterator[tuple[str, Sequence[Logged]]]) -> AsyncIterator[Given]:
    """Pages of rows (JSON text, date in ms) by kind, as the program takes them."""
    async for kind, page in rows:
        yield kind, msgspec.msgpack.encode(page)
