"""Figures about much data, worked out by the program `figures`, in a worker that has no user code in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from streamsim.sandbox.host.channel import ProtocolViolation
from streamsim.sandbox.host.worker import Worker

_PART: Final = 1 << 20
_made = msgspec.msgpack.Decoder(int | list[Any])
_bytes = msgspec.msgpack.Decoder(bytes)

Given = tuple[str, bytes]
"""An item under a name; there may be many of one name, in order."""


class Declined(Exception):
    """Of such data there are no figures; `why` is what the program says."""

    def __init__(self, why: list[Any]) -> None:
        super().__init__("there are no figures of this")
        self.why = why


async def worked_out(
    worker: Worker, given: AsyncIterator[Given], word: str, *asked: object, frame_bytes: int
) -> bytes:
    """What the program makes of what it is given, of which one item is here at a time.

    :param word: what to make, and :param asked: with which settings; see `streamsim.programs.figures`.
    :raises Declined: :raises WorkerDied: :raises ProgramFailed: as `Worker.exchange`.
    """
    async for name, data in given:
        await give(worker, name, data, frame_bytes=frame_bytes)
    return await ask(worker, "make", word, *asked, frame_bytes=frame_bytes)


async def give(worker: Worker, name: str, data: bytes, *, frame_bytes: int) -> None:
    """Give the program an item. :raises WorkerDied: :raises ProgramFailed:"""
    size = min(_PART, frame_bytes // 2)
    for start in range(0, max(len(data), 1), size):
        last = start + size >= len(data)
        await worker.exchange(("add", name, data[start : start + size], last))


async def ask(worker: Worker, *request: object, frame_bytes: int) -> bytes:
    """What the program makes of a request. :raises Declined: :raises WorkerDied: :raises ProgramFailed:"""
    size = min(_PART, frame_bytes // 2)
    try:
        made = _made.decode(await worker.exchange(request))
        if isinstance(made, list):
            raise Declined(made)
        parts = [
            _bytes.decode(await worker.exchange(("part", start, size))) for start in range(0, made, size)
        ]
    except msgspec.MsgspecError:
        raise ProtocolViolation("broke the protocol", "process") from None
    return b"".join(parts)
