"""Jobs as server-sent events, for every path that shows one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import tornado.iostream

from handlers.base import BaseHandler
from streamsim import values
from streamsim.storage.contract.jobs import Job

EVENT_S = 0.3


class JobEventsHandler(BaseHandler):
    """What tells of a job while it goes on."""

    _gone = False

    def on_connection_close(self) -> None:
        self._gone = True

    async def follow(self, find: Callable[[], Awaitable[Job]]) -> None:
        """Its state and progress: an event `progress` at every change, at last `end`."""
        jobs = self.services.jobs
        found = await find()
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")
        told = b""
        try:
            while not self._gone and not self.services.draining:
                shown = jobs.shown(found)
                event = values.dump({name: shown[name] for name in ("id", "state", "progress")})
                if event != told:
                    kind = b"end" if jobs.finished(found) else b"progress"
                    self.write(b"event: %s\ndata: %s\n\n" % (kind, event))
                    await self.flush()
                    told = event
                if jobs.finished(found):
                    return
                await asyncio.sleep(EVENT_S)
                found = await find()
        except tornado.iostream.StreamClosedError:
            return
