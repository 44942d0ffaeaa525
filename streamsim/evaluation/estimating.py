"""An off-policy evaluation in a process of its own, seen from the server, which passes on what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec

from streamsim.errors import BadRequest, PolicyCrashed, TooLarge
from streamsim.evaluation.own_log import Logged
from streamsim.evaluation.wire import EstimatesLoad, Refused, Theta
from streamsim.evaluation.workers import BatchWorkers, Lane
from streamsim.sandbox.host.pool import Worker

MEMORY: Final = 4
"""So many times what other workers have: a log is in memory whole."""
_PART: Final = 1 << 20
T = TypeVar("T")

_nothing = msgspec.msgpack.Decoder(Refused | None)
_number = msgspec.msgpack.Decoder(Refused | int)
_text = msgspec.msgpack.Decoder(Refused | bytes)
_raws = msgspec.msgpack.Decoder(list[msgspec.Raw])


class Estimating:
    """The steps of one evaluation: each raises BadRequest or TooLarge where log or candidate are at fault."""

    def __init__(self, worker: Worker, frame_bytes: int) -> None:
        self._worker = worker
        self._budget = frame_bytes // 4
        self._turn = asyncio.Lock()

    async def _ask(self, decoder: msgspec.msgpack.Decoder[Refused | T], *request: object) -> T:
        async with self._turn:
            body = await self._worker.exchange(request)
        try:
            result = decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            raise PolicyCrashed("the process of the evaluation broke the protocol") from None
        if isinstance(result, Refused):
            kind = TooLarge if result.too_large else BadRequest
            raise kind(result.message, field=result.field, detail=result.detail)
        return result

    async def add_text(self, text: bytes) -> None:
        """Some more of an uploaded log."""
        for start in range(0, len(text), _PART):
            await self._ask(_nothing, "text", text[start : start + _PART])

    async def add_rows(self, kind: str, rows: Sequence[Logged]) -> None:
        """Some more rows of an own log, newest first."""
        some: list[Logged] = []
        left = self._budget
        for row in rows:
            left -= len(row[0]) + 32
            if some and left < 0:
                await self._ask(_nothing, "rows", kind, some)
                some, left = [], self._budget - len(row[0])
            some.append(row)
        await self._ask(_nothing, "rows", kind, some)

    async def read(self) -> int:
        """Read the log; how many decisions it has."""
        return await self._ask(_number, "read")

    async def split(self) -> int:
        """Judge the candidate on the second half; how many decisions the first one has."""
        return await self._ask(_number, "split")

    async def forget(self) -> None:
        """Forget what the candidate would do, and judge it on all decisions."""
        await self._ask(_nothing, "forget")

    async def records(self, first: int, most: int, *, replay: bool = False) -> list[msgspec.Raw]:
        """Decisions from `first` on, at least one and at most so many, each a `Record` as msgpack.

        :param replay: without the rewards that a replay does not count.
        """
        async with self._turn:
            return _raws.decode(await self._worker.exchange(("records", first, most, self._budget, replay)))

    async def add_probabilities(self, rows: object, exact: int) -> None:
        """What the candidate would do in the next contexts."""
        await self._ask(_nothing, "probabilities", rows, exact)

    async def keep(self, name: str, runs: int, theta: Theta, warnings: Sequence[str] = ()) -> None:
        """Go on to the next candidate, and keep what this one would do."""
        await self._ask(_nothing, "keep", name, runs, theta, warnings)

    async def answer(self, runs: int, theta: Theta, warnings: Sequence[str] = ()) -> dict[str, Any]:
        """The estimates, and what they rest on. :param warnings: about every one of them."""
        return await self._told("answer", runs, theta, warnings)

    async def answers(self) -> dict[str, Any]:
        """The estimates of all candidates that were kept, and their differences."""
        return await self._told("answers")

    async def ratio(self, shares: dict[str, float] | None) -> dict[str, Any]:
        """The sample ratio of an uploaded log. :param shares: of the arms; None: all the same."""
        return await self._told("ratio", shares)

    async def _told(self, *request: object) -> dict[str, Any]:
        text = await self._ask(_text, *request)
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise PolicyCrashed("the process of the evaluation broke the protocol") from None


@asynccontextmanager
async def estimating(
    workers: BatchWorkers,
    load: EstimatesLoad,
    *,
    identity: str,
    lane: Lane = "request",
    step_s: float | None = None,
) -> AsyncIterator[Estimating]:
    """A process for one evaluation, for the length of the context.

    :param step_s: time for each step; by default that of a request. There is no user code in it.
    """
    whole_ms = int(1000 * (step_s or workers.settings.request_s))
    limits = msgspec.structs.replace(
        workers.limits,
        cpu_ms=whole_ms,
        wall_ms=whole_ms,
        memory_bytes=MEMORY * workers.limits.memory_bytes,
    )
    async with workers.one("estimates", load, identity=identity, lane=lane, limits=limits) as worker:
        yield Estimating(worker, limits.frame_bytes)
