"""Simulation jobs: made by one process, worked on by whichever is free, continued by another when it dies.

Each replication is stored when it is finished, so that what goes on is only what is missing; the numbers are
those of an uninterrupted job, because every replication has a seed of its own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

import msgspec

from streamsim import values
from streamsim.config import Evaluation
from streamsim.dates import iso
from streamsim.decisions.wire import SimulationLoad
from streamsim.errors import Conflict, NotFound, StreamsimError, TooManyRequests, Unavailable
from streamsim.evaluation.compare import summary
from streamsim.evaluation.pools import Nest, Pool
from streamsim.evaluation.requests import Replications
from streamsim.evaluation.simulation import Curve, points_of, replication_seed, with_seed
from streamsim.storage.contract import Experiment, Store, StoreUnavailable
from streamsim.storage.job_contract import UNFINISHED, Job, JobStore

log = logging.getLogger(__name__)

ATTEMPTS: Final = 3
_curve = msgspec.msgpack.Decoder(Curve)


class Spec(msgspec.Struct, frozen=True):
    """What a job is asked for, with the code and theta of the moment it was made."""

    request: Replications
    load: SimulationLoad


_spec = msgspec.json.Decoder(Spec)


class Jobs:
    """The jobs of all tenants, and this process's share of the work on them."""

    def __init__(
        self, store: Store, jobs: JobStore, pool: Pool, settings: Evaluation, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._pool = pool
        self._settings = settings
        self._now_ms = now_ms
        self._owner = secrets.token_hex(8)
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- what clients do

    async def create(self, experiment: Experiment, load: SimulationLoad, request: Replications) -> Job:
        """A new job, which waits for a free process. :raises TooManyRequests: the user has too many."""
        if await self._jobs.count_jobs(experiment.tenant) >= self._settings.jobs:
            raise TooManyRequests(
                f"you have {self._settings.jobs} unfinished simulation jobs (evaluation.jobs): wait for one, "
                "or cancel it",
                retry_after_s=10,
            )
        now_ms = self._now_ms()
        job = Job(
            id=secrets.token_hex(16),
            tenant=experiment.tenant,
            experiment=experiment.id,
            total=request.draws * request.replications,
            created_ms=now_ms,
            modified_ms=now_ms,
            spec=msgspec.json.encode(Spec(request, load)),
        )
        await self._jobs.create_job(job)
        self.wake()
        return job

    async def get(self, tenant: str, experiment: str, job: str) -> Job:
        """:raises NotFound: the experiment has no such job."""
        found = await self._jobs.get_job(job)
        if found is None or found.tenant != tenant or found.experiment != experiment:
            raise NotFound("this experiment has no simulation of this id")
        return found

    async def page(self, tenant: str, experiment: str, *, limit: int, before: str) -> list[Job]:
        """Newest first."""
        return await self._jobs.list_jobs(tenant, experiment, limit=limit, before=before)

    async def cancel(self, tenant: str, experiment: str, job: str) -> str:
        """End an unfinished job, or remove a finished one; which of the two happened."""
        await self.get(tenant, experiment, job)
        if await self._jobs.finish_job(job, None, "cancelled", self._now_ms()):
            return "cancelled"
        if await self._jobs.delete_job(tenant, job):
            return "removed"
        raise Conflict("the simulation has just been removed")

    def shown(self, job: Job) -> dict[str, Any]:
        """A job as clients see it. A running job that nobody has reported on in time is interrupted."""
        interrupted = job.state == "running" and job.lease_ms <= self._now_ms()
        answer: dict[str, Any] = {
            "id": job.id,
            "experiment": job.experiment,
            "state": "interrupted" if interrupted else job.state,
            "progress": {"done": job.done, "total": job.total},
            "attempts": job.attempts,
            "created": iso(job.created_ms),
            "modified": iso(job.modified_ms),
        }
        if job.spec:
            request = _spec.decode(job.spec).request
            answer |= {
                "N": request.draws,
                "replications": request.replications,
                "seed": request.seed,
                "theta": request.theta,
            }
        if job.result is not None:
            answer["result"] = msgspec.Raw(job.result)
        if job.error is not None:
            answer["error"] = msgspec.Raw(job.error)
        return answer

    @staticmethod
    def finished(job: Job) -> bool:
        return job.state not in UNFINISHED

    # ---- the work

    def start(self, pause_s: float) -> None:
        """Take on jobs until `close`."""
        self._loop = asyncio.create_task(self._work(pause_s))

    def wake(self) -> None:
        """Look for work at once."""
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

    async def _work(self, pause_s: float) -> None:
        while True:
            self._woken.clear()
            try:
                while len(self._tasks) < self._settings.workers:
                    now_ms = self._now_ms()
                    job = await self._jobs.claim_job(self._owner, now_ms, now_ms + self._lease_ms)
                    if job is None:
                        break
                    task = asyncio.create_task(self._run(job))
                    self._tasks.add(task)
                    task.add_done_callback(self._ended)
            except StoreUnavailable as error:
                log.warning("simulation jobs: the store is away: %s", error)
            except Exception:
                log.exception("bug in the work on simulation jobs")
            try:
                # Not wait_for, which loses a cancellation that comes together with the event (Python 3.11).
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.wake()

    @property
    def _lease_ms(self) -> int:
        return int(self._settings.lease_s * 1000)

    async def _run(self, job: Job) -> None:
        """Work on a job that is ours until it is finished, or taken from us."""
        try:
            await self._finish(job)
        except asyncio.CancelledError:
            await self._jobs.release_job(job.id, self._owner, self._now_ms())
            raise
        except StoreUnavailable as error:
            log.warning("simulation job %s: the store is away: %s", job.id, error)
        except Exception:
            log.exception("bug in simulation job %s", job.id)
            await self._fail(job, "internal", "an error of the server")

    async def _finish(self, job: Job) -> None:
        if job.attempts > ATTEMPTS:
            await self._fail(job, "interrupted", f"{ATTEMPTS} server processes ended while they worked on it")
            return
        spec = _spec.decode(job.spec)
        request = spec.request
        curves = {number: _curve.decode(part) for number, part in (await self._jobs.parts(job.id)).items()}
        done = _Count(len(curves) * request.draws)
        working = asyncio.create_task(self._replicate(job, spec, curves, done))
        try:
            async with asyncio.timeout(self._settings.job_s):
                while not working.done():
                    await asyncio.wait([working], timeout=min(0.5, self._settings.lease_s / 3))
                    now_ms = self._now_ms()
                    if not await self._jobs.report(
                        job.id, self._owner, done.value, now_ms, now_ms + self._lease_ms
                    ):
                        return
            await working
        except TimeoutError:
            await self._fail(job, "too_long", f"longer than {self._settings.job_s:g} s (evaluation.job_s)")
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
        points = points_of(request.draws, request.points)
        found = summary(points, [curves[number] for number in range(request.replications)])
        result = {"points": points, "replications": request.replications, **msgspec.to_builtins(found)}
        await self._jobs.finish_job(
            job.id, self._owner, "done", self._now_ms(), result=msgspec.json.encode(result)
        )

    async def _replicate(self, job: Job, spec: Spec, curves: dict[int, Curve], done: _Count) -> None:
        request = spec.request
        points = points_of(request.draws, request.points)
        nest = Nest(self._store, job.tenant, current=request.theta == "current")
        missing = iter([number for number in range(request.replications) if number not in curves])

        async def some() -> None:
            for number in missing:
                load = with_seed(spec.load, replication_seed(request.seed, number))
                curve = await self._pool.replicate(
                    load, nest, points, identity=f"{job.tenant}/{job.experiment}", progress=done.add
                )
                await self._jobs.put_part(job.id, number, msgspec.msgpack.encode(curve))
                curves[number] = curve

        await together(some() for _ in range(min(self._pool.at_once, request.replications)))

    async def _fail(self, job: Job, code: str, message: str, detail: Any = None) -> None:
        error = {"code": code, "message": message} | ({} if detail is None else {"detail": detail})
        await self._jobs.finish_job(job.id, self._owner, "failed", self._now_ms(), error=values.dump(error))


class _Count:
    def __init__(self, value: int) -> None:
        self.value = value

    def add(self, more: int) -> None:
        self.value += more


async def together(coroutines: Any) -> list[Any]:
    """The results of coroutines that run at once; the first error ends all, and is raised as it is."""
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
