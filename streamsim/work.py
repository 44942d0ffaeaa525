"""Work that takes longer than a request: started, looked at, cancelled.

It lives in the process that started it. After a restart of that process it is unknown.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from streamsim.dates import iso
from streamsim.errors import NotFound, StreamsimError, TooManyRequests

KEPT: Final = 100
"""Finished pieces of work of one tenant that are remembered."""
AT_ONCE: Final = 8
"""Pieces of work of one tenant that are under way."""

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is in all."""


class Piece:
    """One piece of work. `result` is there once its state is `done`, `error` if it failed."""

    def __init__(self, tenant: str, kind: str, now_ms: int) -> None:
        self.id = secrets.token_hex(16)
        self.tenant, self.kind = tenant, kind
        self.state: Literal["running", "done", "failed", "cancelled"] = "running"
        self.done = self.total = 0
        self.created_ms = now_ms
        self.result: Any = None
        self.error: str | None = None
        self.failure: Exception | None = None
        self.task: asyncio.Task[None] | None = None

    def shown(self) -> dict[str, Any]:
        """As the API answers it, without the result."""
        fields = {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "created": iso(self.created_ms),
        }
        return fields if self.error is None else {**fields, "error": self.error}


class Work:
    """All work of one server process."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._pieces: OrderedDict[str, Piece] = OrderedDict()

    def start(self, tenant: str, kind: str, work: Callable[[Progress], Awaitable[Any]]) -> Piece:
        """Begin something. :raises TooManyRequests: the tenant has enough under way."""
        own = self.list(tenant)
        if sum(piece.state == "running" for piece in own) >= AT_ONCE:
            raise TooManyRequests(f"at most {AT_ONCE} jobs at a time")
        finished = [piece for piece in own if piece.state != "running"]
        for piece in finished[KEPT - 1 :]:
            del self._pieces[piece.id]
        piece = Piece(tenant, kind, self._now_ms())
        self._pieces[piece.id] = piece
        piece.task = asyncio.get_running_loop().create_task(self._run(piece, work))
        return piece

    def get(self, tenant: str, piece: str) -> Piece:
        """:raises NotFound: unknown, or another tenant's."""
        found = self._pieces.get(piece)
        if found is None or found.tenant != tenant:
            raise NotFound("there is no such job")
        return found

    def list(self, tenant: str) -> list[Piece]:
        """The tenant's, newest first."""
        return [piece for piece in reversed(self._pieces.values()) if piece.tenant == tenant]

    def cancel(self, tenant: str, piece: str) -> Piece:
        """Stop it, if it is under way. :raises NotFound:"""
        found = self.get(tenant, piece)
        if found.task is not None and found.state == "running":
            found.state = "cancelled"
            found.task.cancel()
        return found

    async def result(self, piece: Piece) -> Any:
        """Wait for a piece that the caller started; it is not kept.

        :raises StreamsimError: as the work did.
        """
        assert piece.task is not None
        await asyncio.wait([piece.task])
        self._pieces.pop(piece.id, None)
        if piece.failure is not None:
            raise piece.failure
        return piece.result

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = [piece.task for piece in self._pieces.values() if piece.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, piece: Piece, work: Callable[[Progress], Awaitable[Any]]) -> None:
        def progress(done: int, total: int) -> None:
            piece.done, piece.total = done, total

        try:
            piece.result = await work(progress)
            piece.state = "done"
        except asyncio.CancelledError:
            piece.state = "cancelled"
            raise
        except StreamsimError as error:
            piece.state, piece.error, piece.failure = "failed", error.message, error
        except Exception as error:
            piece.state, piece.error, piece.failure = "failed", "an error of the server", error
            log.exception("bug in a job of kind %s", piece.kind)
