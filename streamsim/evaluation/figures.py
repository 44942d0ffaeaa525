"""Figures about much data, worked out in a process that has no user code in it and can be ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from streamsim.errors import BadRequest, PolicyCrashed, PolicyMemory, PolicyTimeout, TooLarge
from streamsim.evaluation.simulation import Curve
from streamsim.evaluation.wire import Refused
from streamsim.evaluation.workers import BatchWorkers, Lane

MEMORY: Final = 4
"""So many times what other workers have."""
_PART: Final = 1 << 20
_made = msgspec.msgpack.Decoder(Refused | int)
_bytes = msgspec.msgpack.Decoder(bytes)

Given = tuple[str, bytes]
"""An item under a name; there may be many of one name, in order."""


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
    whole_ms = int(1000 * workers.settings.request_s)
    limits = msgspec.structs.replace(
        workers.limits, cpu_ms=whole_ms, wall_ms=whole_ms, memory_bytes=MEMORY * workers.limits.memory_bytes
    )
    size = min(_PART, limits.frame_bytes // 2)
    async with (
        _refusing(),
        workers.one("figures", None, identity=identity, lane=lane, limits=limits) as worker,
    ):
        async for name, data in given:
            for start in range(0, len(data), size):
                last = start + size >= len(data)
                await worker.exchange(("add", name, data[start : start + size], last))
        try:
            made = _made.decode(await worker.exchange(("make", word, *asked)))
            if isinstance(made, Refused):
                raise BadRequest(made.message, field=made.field, detail=made.detail)
            parts = [
                _bytes.decode(await worker.exchange(("part", start, size))) for start in range(0, made, size)
            ]
        except msgspec.MsgspecError:
            raise PolicyCrashed("the process of the figures broke the protocol") from None
    return b"".join(parts)


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


async def of_rows(rows: AsyncIterator[tuple[str, Sequence[tuple[bytes, int]]]]) -> AsyncIterator[Given]:
    """Pages of rows (JSON text, date in ms) by kind, as the program takes them."""
    async for kind, page in rows:
        yield kind, msgspec.msgpack.encode(page)
