"""Work that takes longer than a request: jobs, made by one process, worked on by whichever is free.

What is finished of a job is stored as its parts, so that when a process dies another goes on with what is
missing. Every kind of job gives the same result however often it was interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

import msgspec

from streamsim import values
from streamsim.config import JobSettings
from streamsim.dates import iso
from streamsim.errors import Conflict, NotFound, StreamsimError, TooLarge, TooManyRequests, Unavailable
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.jobs import UNFINISHED, Job, JobStore
from streamsim.waiting import on_behalf_of, until

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS: Final = 3
RESULT_BYTES: Final = 12_000_000
"""A result is one record of the store, which in MongoDB has at most 16 MiB."""


class JobDesk:
    """What a kind of job works with: the parts that are stored, and how much of the total is `done`."""

    def __init__(
        self, jobs: JobStore | None = None, job: str = "", parts: dict[int, bytes] | None = None
    ) -> None:
        """:param jobs: None: nothing is stored, for work that is done while its caller waits."""
        self._jobs = jobs
        self._job = job
        self.parts = {} if parts is None else parts
        self.done = 0

    def add(self, more: int) -> None:
        """So much more is done."""
        self.done += more

    async def keep(self, number: int, data: bytes) -> None:
        """Store a finished part."""
        if self._jobs is not None:
            await self._jobs.put_part(self._job, number, data)


class JobKind(Protocol):
    """One kind of job: what is done for it, and what clients see of what they asked for."""

    @property
    def name(self) -> str:
        """As jobs are stored with."""

    @property
    def at_once(self) -> int:
        """How many jobs of the kind a process works on for one tenant; one more for others."""

    async def work(self, job: Job, desk: JobDesk) -> bytes:
        """The result as JSON text. :raises StreamsimError: the job has failed."""

    def asked(self, spec: bytes) -> dict[str, Any]:
        """Fields of the request that clients see."""


class Jobs:
    """The jobs of all tenants, and this process's share of the work on them.

    :param kinds: every kind that the installation has.
    """

    def __init__(
        self,
        jobs: JobStore,
        settings: JobSettings,
        now_ms: Callable[[], int],
        kinds: Iterable[JobKind] = (),
    ) -> None:
        self._jobs = jobs
        self._settings = settings
        self._now_ms = now_ms
        self.kinds: dict[str, JobKind] = {}
        for kind in kinds:
            self.add(kind)
        self._owner = secrets.token_hex(8)
        self._followers = Counter[str]()
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        # Its kind and tenant.
        self._tasks: dict[asyncio.Task[None], tuple[str, str]] = {}

    def add(self, kind: JobKind) -> None:
        """A kind that this process can work on."""
        self.kinds[kind.name] = kind

    # ---- what clients do

    async def create(
        self,
        tenant: str,
        kind: str,
        spec: object,
        total: int,
        *,
        experiment_id: str = "",
        parts: Sequence[bytes] = (),
    ) -> Job:
        """A new job, which waits for a free process. :raises TooManyRequests: the user has too many.

        :raises TooLarge: `spec` is more than a record of the store takes.
        :param parts: stored with it, from 0 on. While they are, the job is this process's: should that end,
            the kind finds some of them missing.
        """
        if await self._jobs.count_jobs(tenant) >= self._settings.per_user:
            raise TooManyRequests(
                f"you have {self._settings.per_user} unfinished jobs (jobs.per_user): wait, or cancel one",
                retry_after_s=10,
            )
        encoded = msgspec.json.encode(spec)
        if len(encoded) > RESULT_BYTES:
            raise TooLarge(
                f"code and theta of the job have {len(encoded)} bytes; at most {RESULT_BYTES} are stored"
            )
        now_ms = self._now_ms()
        job = Job(
            id=secrets.token_hex(16),
            kind=kind,
            tenant=tenant,
            experiment_id=experiment_id,
            total=total,
            created_ms=now_ms,
            modified_ms=now_ms,
            spec=encoded,
            state="running" if parts else "waiting",
            owner=self._owner if parts else "",
            lease_ms=now_ms + self._lease_ms if parts else 0,
        )
        await self._jobs.create_job(job)
        if parts:
            for number, part in enumerate(parts):
                await self._jobs.put_part(job.id, number, part)
                now_ms = self._now_ms()
                await self._jobs.report(job.id, self._owner, 0, now_ms, now_ms + self._lease_ms)
            await self._jobs.release_job(job.id, self._owner, self._now_ms())
            job = msgspec.structs.replace(job, state="waiting", owner="", lease_ms=0)
        self.wake()
        return job

    async def get(self, tenant: str, job: str, experiment_id: str | None = None) -> Job:
        """A job; of this experiment, if one is given. :raises NotFound:"""
        found = await self._jobs.get_job(job)
        if found is None or found.tenant != tenant or experiment_id not in (None, found.experiment_id):
            raise NotFound(f"you have no job {job[:64]} here")
        return found

    async def page(self, tenant: str, experiment_id: str | None, *, limit: int, before: str) -> list[Job]:
        """Jobs of an experiment, or all of a tenant; newest first."""
        return await self._jobs.list_jobs(tenant, experiment_id, limit=limit, before=before)

    async def cancel(self, job: Job) -> str:
        """End an unfinished job, or remove a finished one; which of the two happened."""
        if await self._jobs.finish_job(job.id, None, "cancelled", self._now_ms()):
            return "cancelled"
        if await self._jobs.delete_job(job.tenant, job.id):
            return "removed"
        raise Conflict("the job has just been removed")

    def shown(self, job: Job) -> dict[str, Any]:
        """A job as clients see it. A running job that nobody has reported on in time is interrupted."""
        interrupted = job.state == "running" and job.lease_ms <= self._now_ms()
        answer: dict[str, Any] = {
            "id": job.id,
            "kind": job.kind,
            "state": "interrupted" if interrupted else job.state,
            "progress": {"done": job.done, "total": job.total},
            "attempts": job.attempts,
            "created": iso(job.created_ms),
            "modified": iso(job.modified_ms),
        }
        if job.experiment_id:
            answer["experiment"] = job.experiment_id
        if job.spec:
            answer |= self.kinds[job.kind].asked(job.spec)
        if job.result is not None:
            answer["result"] = msgspec.Raw(job.result)
        if job.error is not None:
            answer["error"] = msgspec.Raw(job.error)
        return answer

    @contextmanager
    def following(self, tenant: str) -> Iterator[None]:
        """What a follower of a job is inside of. :raises TooManyRequests: its user has too many."""
        if self._followers[tenant] >= self._settings.followers:
            raise TooManyRequests(
                f"you follow {self._settings.followers} jobs at once (jobs.followers): end one first"
            )
        self._followers[tenant] += 1
        try:
            yield
        finally:
            self._followers[tenant] -= 1
            if not self._followers[tenant]:
                del self._followers[tenant]

    @staticmethod
    def finished(job: Job) -> bool:
        """Whether its state is its last."""
        return job.state not in UNFINISHED

    # ---- the work

    def start(self, pause_s: float) -> None:
        """Take on jobs until `close`."""
        self._loop = asyncio.create_task(self._work(pause_s))

    def wake(self) -> None:
        """Look for jobs now."""
        self._woken.set()

    async def close(self) -> None:
        """Let go of this process's jobs: another process, or this one's successor, goes on with them."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def busy(self) -> bool:
        """Whether this process works on a job."""
        return bool(self._tasks)

    async def _work(self, pause_s: float) -> None:
        while True:
            self._woken.clear()
            try:
                for kind in self.kinds.values():
                    await self._claim(kind)
            except StoreUnavailable as error:
                log.warning("jobs: the store is away: %s", error)
            except Exception:
                log.exception("bug in the work on jobs")
            await until(self._woken, pause_s)

    async def _claim(self, kind: JobKind) -> None:
        while True:
            under_way = Counter(tenant for name, tenant in self._tasks.values() if name == kind.name)
            if under_way.total() > kind.at_once:
                return
            now_ms = self._now_ms()
            at_share = [tenant for tenant, jobs in under_way.items() if jobs >= kind.at_once]
            job = await self._jobs.claim_job(
                self._owner, now_ms, now_ms + self._lease_ms, kind=kind.name, but=at_share
            )
            if job is None:
                return
            task = asyncio.create_task(self._run(kind, job))
            self._tasks[task] = kind.name, job.tenant
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task)
        self.wake()

    @property
    def _lease_ms(self) -> int:
        return int(self._settings.lease_s * 1000)

    async def _run(self, kind: JobKind, job: Job) -> None:
        """Work on a job that is ours until it is finished, or taken from us."""
        on_behalf_of.set(job.tenant)
        try:
            await self._finish(kind, job)
        except asyncio.CancelledError:
            await self._jobs.release_job(job.id, self._owner, self._now_ms())
            raise
        except StoreUnavailable as error:
            log.warning("job %s: the store is away: %s", job.id, error)
        except Exception:
            log.exception("bug in job %s of kind %s", job.id, job.kind)
            await self._fail(job, "internal", "an error of the server")

    async def _finish(self, kind: JobKind, job: Job) -> None:
        if job.attempts > ATTEMPTS:
            await self._fail(job, "interrupted", f"{ATTEMPTS} server processes ended while they worked on it")
            return
        desk = JobDesk(self._jobs, job.id, await self._jobs.parts(job.id))
        working = asyncio.create_task(kind.work(job, desk))
        try:
            async with asyncio.timeout(self._settings.longest_s):
                while not working.done():
                    await asyncio.wait([working], timeout=min(0.5, self._settings.lease_s / 3))
                    now_ms = self._now_ms()
                    if not await self._jobs.report(
                        job.id, self._owner, desk.done, now_ms, now_ms + self._lease_ms
                    ):
                        return
            result = await working
        except TimeoutError:
            await self._fail(job, "too_long", f"longer than {self._settings.longest_s:g} s (jobs.longest_s)")
            return
        except StoreUnavailable:
            raise
        except StreamsimError as error:
            if isinstance(error, Unavailable):
                await self._jobs.release_job(job.id, self._owner, self._now_ms())
                return
            await self._fail(job, error.code, error.message, error.detail)
            return
        finally:
            working.cancel()
            await asyncio.wait([working])
        if len(result) > RESULT_BYTES:
            await self._fail(job, "too_large", f"the result has {len(result)} bytes; at most {RESULT_BYTES}")
            return
        await self._jobs.finish_job(job.id, self._owner, "done", self._now_ms(), result=result)

    async def _fail(self, job: Job, code: str, message: str, detail: Any = None) -> None:
        error = {"code": code, "message": message} | ({} if detail is None else {"detail": detail})
        await self._jobs.finish_job(job.id, self._owner, "failed", self._now_ms(), error=values.dump(error))


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of coroutines that run at once; the first error ends all, and is raised as it is."""
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
