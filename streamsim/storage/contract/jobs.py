"""The storage contract of jobs: records that outlive the process which works on them.

A process owns a running job until `lease_ms`, and moves that date while it works. When it dies, the lease
runs out, and any process may claim the job and go on from the parts that were stored.

Dates are integers: milliseconds since 1970-01-01 UTC. `spec`, `result` and `error` are JSON text as bytes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol

import msgspec

State = Literal["waiting", "running", "done", "failed", "cancelled"]
UNFINISHED: tuple[State, ...] = ("waiting", "running")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job. `kind` says what is done for it; `done` of `total` is, in draws or runs.

    `experiment` is empty for a job that belongs to none; `attempts` counts the processes that worked on it.
    """

    id: str
    kind: str
    tenant: str
    experiment_id: str = ""
    state: State = "waiting"
    done: int = 0
    total: int
    attempts: int = 0
    owner: str = ""
    lease_ms: int = 0
    created_ms: int
    modified_ms: int
    spec: bytes
    result: bytes | None = None
    error: bytes | None = None


class JobStore(Protocol):
    """Jobs, in any backend."""

    async def create_job(self, job: Job) -> None:
        """Store a new job."""

    async def get_job(self, job: str) -> Job | None:
        """The job, or None."""

    async def list_jobs(
        self, tenant: str, experiment_id: str | None, *, limit: int, before: str = ""
    ) -> list[Job]:
        """Newest first, without specs, results and errors; those made before the job `before`.

        :param experiment: None: of all, and those that belong to none.
        """

    async def count_jobs(self, tenant: str) -> int:
        """How many unfinished jobs a tenant has."""

    async def claim_job(
        self, owner: str, now_ms: int, lease_ms: int, *, kind: str, but: Collection[str] = ()
    ) -> Job | None:
        """Take a job of a kind that waits, or whose lease has run out; running and ours then.

        Of the tenants that have one, it is the turn of the one whose last claim is longest ago, those without
        any first and of these the one whose job is oldest; of its jobs, the oldest is taken.

        :param but: tenants that get none.
        """

    async def report(self, job: str, owner: str, done: int, now_ms: int, lease_ms: int) -> bool:
        """Say how far a job is, and move the lease. False if it is no longer running and ours."""

    async def finish_job(
        self,
        job: str,
        owner: str | None,
        state: State,
        now_ms: int,
        *,
        result: bytes | None = None,
        error: bytes | None = None,
    ) -> bool:
        """Give an unfinished job its last state and drop its parts; only `owner`'s, if that is given.

        :returns: False if it is finished, unknown, or another's.
        """

    async def release_job(self, job: str, owner: str, now_ms: int) -> bool:
        """Let go of a job that is running and ours: it waits again, its parts stay."""

    async def put_part(self, job: str, number: int, data: bytes) -> None:
        """Store a finished part of a job; the first of a number stays."""

    async def parts(self, job: str) -> dict[int, bytes]:
        """The stored parts by number."""

    async def delete_job(self, tenant: str, job: str) -> bool:
        """Remove a job with everything of it."""
