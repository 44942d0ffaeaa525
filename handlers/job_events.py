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

    async def follow(self, find: Callable[[], Awaitable[Job]]) -> None:
        """Its state and progress: an event `progress` at every change, at last `end`."""
        jobs = self.services.jobs
        job = await find()
        with jobs.following(job.tenant):
            await self._tell(job, find)

    async def _tell(self, job: Job, find: Callable[[], Awaitable[Job]]) -> None:
        jobs = self.services.jobs
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("X-Accel-Buffering", "no")
        last_event = b""
        try:
            while not self._left and not self.services.draining:
                shown = jobs.shown(job)
                event = values.dump({name: shown[name] for name in ("id", "state", "progress")})
                if event != last_event:
                    kind = b"end" if jobs.finished(job) else b"progress"
                    self.write(b"event: %s\ndata: %s\n\n" % (kind, event))
                    await self.flush()
                    last_event = event
                if jobs.finished(job):
                    return
                await asyncio.sleep(EVENT_S)
                job = await find()
        except tornado.iostream.StreamClosedError:
            return
