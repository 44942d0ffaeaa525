"""Jobs in the SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from streamsim.storage.contract.jobs import Job, State
from streamsim.storage.sqlite.database import SMALL_BYTES, Database

_LISTED = (
    "id, kind, tenant, experiment, state, done, total, attempts, owner, lease_ms, created_ms, modified_ms"
)
_JOB = f"{_LISTED}, spec, result, error"
_UNFINISHED = "state IN ('waiting', 'running')"
_ANY = f"SELECT 1 FROM jobs INDEXED BY jobs_unfinished WHERE {_UNFINISHED} LIMIT 1"
_OURS = "id = ? AND owner = ? AND state = 'running'"


class SQLiteJobs:
    """A complete `JobStore` on the database of a `SQLiteStore`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create_job(self, job: Job) -> None:
        columns = job_columns(job)
        sql = f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        await self._write(sql, tuple(columns.values()))

    async def get_job(self, job: str) -> Job | None:
        rows = await self._read(f"SELECT {_JOB} FROM jobs WHERE id = ?", (job,))
        return _job(rows[0]) if rows else None

    async def list_jobs(
        self, tenant: str, experiment_id: str | None, *, limit: int, before: str = ""
    ) -> list[Job]:
        of = [] if experiment_id is None else [experiment_id]
        sql = (
            f"SELECT {_LISTED}, x'', NULL, NULL FROM jobs WHERE tenant = ?{' AND experiment = ?' * len(of)}"
            " AND (? = '' OR num < (SELECT num FROM jobs WHERE id = ?)) ORDER BY num DESC LIMIT max(?, 0)"
        )
        return [_job(row) for row in await self._read(sql, (tenant, *of, before, before, limit))]

    async def count_jobs(self, tenant: str) -> int:
        rows = await self._read(f"SELECT count(*) FROM jobs WHERE {_UNFINISHED} AND tenant = ?", (tenant,))
        return int(rows[0][0])

    async def claim_job(
        self, owner: str, now_ms: int, lease_ms: int, *, kind: str, but: Collection[str] = ()
    ) -> Job | None:
        sql = (
            "SELECT min(jobs.num) AS oldest, jobs.tenant FROM jobs"
            f" LEFT JOIN job_turns ON job_turns.tenant = jobs.tenant WHERE {_UNFINISHED} AND kind = ?"
            " AND (state = 'waiting' OR lease_ms <= ?)"
            " AND jobs.tenant NOT IN (SELECT value FROM json_each(?))"
            " GROUP BY jobs.tenant ORDER BY coalesce(job_turns.turn, 0), oldest LIMIT 1"
        )
        given = kind, now_ms, msgspec.json.encode(list(but)).decode()

        def find(db: sqlite3.Connection) -> Any:
            return db.execute(sql, given).fetchone()

        def work(db: sqlite3.Connection) -> Job | None:
            next_in_turn = find(db)
            if next_in_turn is None:
                return None
            num, tenant = next_in_turn
            db.execute("DELETE FROM job_turns WHERE tenant = ?", (tenant,))
            db.execute("INSERT INTO job_turns (tenant) VALUES (?)", (tenant,))
            found = db.execute(
                "UPDATE jobs SET state = 'running', owner = ?, lease_ms = ?, modified_ms = ?,"
                f" attempts = attempts + 1 WHERE num = ? RETURNING {_JOB}",
                (owner, lease_ms, now_ms, num),
            ).fetchall()
            return _job(found[0])

        # Most looks find nothing, and need not wait for their turn to write, nor decisions for them.
        if not await self._db.finds(_ANY) or await self._db.read(find) is None:
            return None
        return await self._db.write(work)

    async def report(self, job: str, owner: str, done: int, now_ms: int, lease_ms: int) -> bool:
        sql = f"UPDATE jobs SET done = ?, modified_ms = ?, lease_ms = ? WHERE {_OURS}"
        return await self._write(sql, (done, now_ms, lease_ms, job, owner)) > 0

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
        def work(db: sqlite3.Connection) -> bool:
            changed = db.execute(
                "UPDATE jobs SET state = ?, modified_ms = ?, result = ?, error = ?, lease_ms = 0, owner = '',"
                " done = CASE ? WHEN 'done' THEN total ELSE done END"
                f" WHERE id = ? AND {_UNFINISHED} AND (? IS NULL OR owner = ?)",
                (state, now_ms, result, error, state, job, owner, owner),
            ).rowcount
            if changed:
                db.execute("DELETE FROM job_parts WHERE job = ?", (job,))
            return changed > 0

        return await self._db.write(work)

    async def release_job(self, job: str, owner: str, now_ms: int) -> bool:
        sql = f"UPDATE jobs SET state = 'waiting', owner = '', lease_ms = 0, modified_ms = ? WHERE {_OURS}"
        return await self._write(sql, (now_ms, job, owner)) > 0

    async def put_part(self, job: str, number: int, data: bytes) -> None:
        sql = (
            "INSERT INTO job_parts (job, number, data) SELECT ?, ?, ? FROM jobs"
            f" WHERE id = ? AND {_UNFINISHED} ON CONFLICT DO NOTHING"
        )
        await self._write(sql, (job, number, data, job))

    async def parts(self, job: str) -> dict[int, bytes]:
        return dict(await self._read("SELECT number, data FROM job_parts WHERE job = ?", (job,)))

    async def delete_job(self, tenant: str, job: str) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            changed = db.execute("DELETE FROM jobs WHERE id = ? AND tenant = ?", (job, tenant)).rowcount
            if changed:
                db.execute("DELETE FROM job_parts WHERE job = ?", (job,))
            return changed > 0

        return await self._db.write(work)

    async def _read(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return await self._db.read(lambda db: db.execute(sql, parameters).fetchall())

    async def _write(self, sql: str, parameters: Sequence[Any]) -> int:
        """Write one row; how many were found."""
        size = sum(len(one) for one in parameters if isinstance(one, str | bytes))
        small = size <= SMALL_BYTES
        return await self._db.write(lambda db: db.execute(sql, parameters).rowcount, small=small)


def job_columns(job: Job) -> dict[str, Any]:
    """The columns of a job's row, by name."""
    fields = msgspec.structs.asdict(job)
    return {"experiment": fields.pop("experiment_id"), **fields}


def to_job(columns: Mapping[str, Any]) -> Job:
    """The job of a row's columns."""
    fields = dict(columns)
    return Job(experiment_id=fields.pop("experiment"), **fields)


def _job(row: Sequence[Any]) -> Job:
    return to_job(dict(zip((name.strip() for name in _JOB.split(",")), row, strict=True)))
